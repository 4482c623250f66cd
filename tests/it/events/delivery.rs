//! From an entry to a receiver.

use stockroom::{
    api::proto::EventType,
    feed::deliver::signature::{secret_of, signatures, text_of},
};

use crate::harness::{
    movements::{receipt, sale},
    receiver::{Receiver, webhook},
    server::{Server, eventually},
};

#[tokio::test]
async fn what_is_sold_out_is_told_and_signed() {
    let (server, receiver) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin"]).await;
    server.record(vec![receipt("r1", "berlin", "A", 2)]).await;
    let wanted = [EventType::OutOfStock, EventType::BackInStock];
    let secret = server.put_webhook(webhook("shop", &receiver.url, &wanted)).await;
    let _delivery = server.deliver();
    server.record(vec![sale("s1", "berlin", "A", 1), sale("s2", "berlin", "A", 1)]).await;
    server.record(vec![sale("s3", "berlin", "A", 1)]).await;
    server.record(vec![receipt("r2", "berlin", "A", 5)]).await;
    let received = receiver.wait_for(2).await;
    assert_eq!(receiver.kinds(), ["availability.out_of_stock", "availability.back_in_stock"]);
    let [out, back] = &received[..] else { panic!("{received:?}") };
    assert_eq!(out.signed_by(&secret), 1, "{out:?}");
    assert_eq!(out.content_type, "application/cloudevents+json; charset=utf-8");
    assert_eq!(out.event["specversion"], "1.0");
    assert_eq!(out.event["id"], out.id);
    assert_eq!(out.event["source"], "/stockroom");
    assert_eq!(out.event["subject"], "berlin/A");
    assert_eq!(out.data()["available"], 0);
    assert_eq!(out.data()["available_before"], 1);
    assert_eq!(out.data()["entry"]["key"], "s2");
    assert_eq!(out.data()["entry"]["source"], "till-1");
    assert_eq!(back.data()["available"], 4);
    assert_eq!(back.data()["level"], "in_stock");
    assert_ne!(out.id, back.id);
    eventually("nothing is behind", || async {
        (server.progress("shop").await.entries_behind == 0).then_some(())
    })
    .await;
}

#[test]
fn a_signature_is_the_one_of_the_specification() {
    let secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(signatures([&secret], id, 1_614_265_330, body), signature);
    assert_eq!(signatures([&secret, &secret], id, 1_614_265_330, body), [signature; 2].join(" "));
    assert_eq!(text_of(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
}
