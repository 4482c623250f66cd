//! Secrets, and who may not be called.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use stockroom::{
    api::proto::{
        DeleteWebhookRequest, EventType, GetWebhookRequest, ListWebhooksRequest, PutWebhookRequest,
        PutWebhookResponse, Webhook,
    },
    feed::deliver::{Delivery, Options},
};
use tonic::{Code, Status};

use crate::harness::{
    databases,
    errors::explained,
    movements::{receipt, sale},
    receiver::{Received, Receiver, Reply, quick, webhook},
    reservations::seconds,
    server::{Server, eventually},
};

const OUT: [EventType; 1] = [EventType::OutOfStock];
const GIVEN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn put(server: &Server, request: PutWebhookRequest) -> Result<PutWebhookResponse, Status> {
    Ok(server.events().put_webhook(request).await?.into_inner())
}

fn request(webhook: Webhook) -> PutWebhookRequest {
    PutWebhookRequest { webhook: Some(webhook), ..PutWebhookRequest::default() }
}

#[tokio::test]
async fn both_secrets_sign_while_one_takes_the_place_of_the_other() {
    let (server, receiver) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin"]).await;
    let hook = webhook("shop", &receiver.url, &OUT);
    let given = PutWebhookRequest { secret: GIVEN.to_owned(), ..request(hook.clone()) };
    assert_eq!(put(&server, given).await.unwrap().secret, "", "what was given is not told");
    let _delivery = server.deliver();
    let sell_out = async |sku: &str| {
        let (into, out) = (format!("{sku}r"), format!("{sku}s"));
        server.record(vec![receipt(&into, "berlin", sku, 1), sale(&out, "berlin", sku, 1)]).await;
    };
    sell_out("A").await;
    let received = receiver.wait_for(1).await;
    assert_eq!(received[0].signed_by(GIVEN), 1);
    let rotate = PutWebhookRequest { rotate_secret: true, ..request(hook.clone()) };
    let second = put(&server, rotate.clone()).await.unwrap().secret;
    assert!(second.starts_with("whsec_") && second.len() > 40);
    let both = signed(&receiver, &sell_out, "B", 2).await;
    assert_eq!((both.signed_by(GIVEN), both.signed_by(&second)), (1, 1));
    // A put that says nothing of the secret leaves it.
    assert_eq!(put(&server, request(hook)).await.unwrap().secret, "");
    let at_once = PutWebhookRequest { retired_secret_ttl: seconds(0), ..rotate };
    let third = put(&server, at_once).await.unwrap().secret;
    let one = signed(&receiver, &sell_out, "C", 1).await;
    assert_eq!((one.signed_by(GIVEN), one.signed_by(&second), one.signed_by(&third)), (0, 0, 1));
}

/// Sells items out until one was told with so many signatures, which is returned: a change of a webhook
/// takes a moment to reach who sends.
async fn signed(
    receiver: &Receiver,
    sell_out: &impl AsyncFn(&str),
    name: &str,
    signatures: usize,
) -> Received {
    for number in 0.. {
        let sku = format!("{name}{number}");
        sell_out(&sku).await;
        let subject = format!("berlin/{sku}");
        let is_it = |received: &&Received| received.event["subject"] == *subject;
        let received = receiver
            .wait_until("the event", |received| received.iter().any(|one| is_it(&one)))
            .await;
        let told = received.iter().find(is_it).unwrap();
        if told.signature.split(' ').count() == signatures {
            return told.clone();
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_secret_is_told_once_and_never_read() {
    let server = Server::start().await;
    let secret = server.put_webhook(webhook("shop", "http://127.0.0.1:9/", &OUT)).await;
    let get = GetWebhookRequest { webhook_id: "shop".to_owned() };
    let got = server.events().get_webhook(get).await.unwrap().into_inner();
    let list = server.events().list_webhooks(ListWebhooksRequest::default()).await.unwrap();
    let seen = format!("{got:?} {:?} {:?}", list.into_inner(), server.ledger.webhook("shop").await);
    let bytes = secret.strip_prefix("whsec_").unwrap();
    assert!(!seen.contains(bytes), "{seen}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (server, elsewhere) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin"]).await;
    let to = elsewhere.url.clone();
    let receiver = Receiver::start_as(move |_| Reply {
        headers: vec![("location", to.clone())],
        ..Reply::status(307)
    })
    .await;
    server.put_webhook(webhook("shop", &receiver.url, &OUT)).await;
    let _delivery = server.deliver();
    server.record(vec![receipt("r", "berlin", "A", 1), sale("s", "berlin", "A", 1)]).await;
    let progress = eventually("it is given up", || async {
        let progress = server.progress("shop").await;
        (progress.dead_letters == 1).then_some(progress)
    })
    .await;
    assert_eq!(progress.failed_status, 307);
    assert_eq!(progress.failure, "redirects are not followed");
    assert_eq!(receiver.received().len(), 3);
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn private_addresses_are_not_called() {
    let (server, receiver) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin"]).await;
    // One that was put when that was allowed, and one that somebody wrote past the service.
    server.put_webhook(webhook("shop", &receiver.url, &OUT)).await;
    let port = receiver.url.split(':').nth(2).unwrap().split('/').next().unwrap();
    server.put_webhook(webhook("named", "http://example.com/", &OUT)).await;
    let set =
        format!("update webhook set url = 'https://localhost:{port}/' where webhook_id = 'named'");
    databases::execute(&server.database_url, &set).await;
    let options = Options { allow_private: false, ..quick() };
    let _delivery = Delivery::start(server.ledger.clone(), options).unwrap();
    server.record(vec![receipt("r", "berlin", "A", 1), sale("s", "berlin", "A", 1)]).await;
    for webhook_id in ["shop", "named"] {
        let progress = eventually("it is given up", || async {
            let progress = server.progress(webhook_id).await;
            (progress.dead_letters == 1).then_some(progress)
        })
        .await;
        assert_eq!(progress.failure, "the URL is not allowed");
    }
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test]
async fn a_webhook_that_is_malformed_is_refused_by_field() {
    let server = Server::start().await;
    let good = || webhook("shop", "https://example.com/hook", &OUT);
    let hook = |change: fn(&mut Webhook)| {
        let mut hook = good();
        change(&mut hook);
        request(hook)
    };
    let with = |secret: &str| PutWebhookRequest { secret: secret.to_owned(), ..request(good()) };
    for (request, reason, field) in [
        (hook(|hook| hook.webhook_id.clear()), "IDENTIFIER_INVALID", "webhook.webhook_id"),
        (hook(|hook| hook.webhook_id = "nats".into()), "IDENTIFIER_INVALID", "webhook.webhook_id"),
        (hook(|hook| hook.url = "ftp://example.com".into()), "URL_INVALID", "webhook.url"),
        (hook(|hook| hook.url.clear()), "URL_INVALID", "webhook.url"),
        (hook(|hook| hook.event_types = vec![0]), "FIELD_INVALID", "webhook.event_types"),
        (hook(|hook| hook.event_types = vec![99]), "FIELD_INVALID", "webhook.event_types"),
        (hook(|hook| hook.event_types = vec![1; 19]), "FIELD_INVALID", "webhook.event_types"),
        (hook(|hook| hook.low_stock_units = -1), "FIELD_INVALID", "webhook.low_stock_units"),
        (hook(|hook| hook.skus = vec![" ".into()]), "FIELD_INVALID", "webhook.skus"),
        (
            hook(|hook| hook.location_ids = vec!["a".into(); 1_001]),
            "FIELD_INVALID",
            "webhook.location_ids",
        ),
        (with("secret"), "SECRET_INVALID", "secret"),
        (with("whsec_dG9vIHNob3J0"), "SECRET_INVALID", "secret"),
        (PutWebhookRequest { rotate_secret: true, ..with(GIVEN) }, "SECRET_INVALID", "secret"),
        (
            PutWebhookRequest { retired_secret_ttl: seconds(604_801), ..request(good()) },
            "FIELD_INVALID",
            "retired_secret_ttl",
        ),
    ] {
        let status = put(&server, request).await.unwrap_err();
        let metadata = explained(&status, Code::InvalidArgument, reason);
        assert_eq!(metadata["field"], field, "{status:?}");
        assert!(!status.message().contains("whsec_dG9v"), "{status:?}");
    }
    let channel = put(&server, hook(|hook| hook.channel_id = "web".into())).await.unwrap_err();
    explained(&channel, Code::NotFound, "CHANNEL_UNKNOWN");
    let gone = DeleteWebhookRequest { webhook_id: "shop".to_owned() };
    let unknown = server.events().delete_webhook(gone.clone()).await.unwrap_err();
    explained(&unknown, Code::NotFound, "WEBHOOK_UNKNOWN");
    put(&server, request(good())).await.unwrap();
    server.events().delete_webhook(gone).await.unwrap();
    let left = "select count(*) from event_cursor";
    assert_eq!(databases::number(&server.database_url, left).await, 0);
}
