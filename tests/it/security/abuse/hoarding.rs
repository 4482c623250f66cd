//! Who holds more than is good for others.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures::future::join_all;
use stockroom::{
    api::{
        guard::AbuseLimits,
        proto::{CreateReservationRequest, Hold, HoldStockRequest, Movement},
    },
    writer::hold::HoldCaps,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    credentials::Guard,
    databases,
    errors::explained,
    holds::{hold, replace},
    movements::{Became as _, receipt, sale},
    raw_redis::Raw,
    redis::Redis,
    reservations::{create, line, seconds},
    server::{PARTITIONS, Server, eventually, migrated_database, prefix_of},
};

/// A server with such caps, with 100 units of each of two items.
async fn shop(caps: HoldCaps) -> Server {
    let server = start_on(&migrated_database().await, caps).await;
    server.put_locations(&["berlin"]).await;
    server.put_channel("web").await;
    for sku in ["jam", "tea"] {
        server.record_one(receipt(sku, "berlin", sku, 100)).await.recorded();
    }
    server.holds_kept("berlin", "jam").await;
    server
}

async fn start_on(url: &str, caps: HoldCaps) -> Server {
    let redis = Redis::honest().reach(&databases::redis_url().await).await;
    // What is refused here is refused by a cap.
    let limits = AbuseLimits { holds_in_vain_max: 0, ..AbuseLimits::default() };
    let set = |api: stockroom::api::Api| api.with_hold_caps(caps).with_abuse_limits(limits);
    Server::start_with_set(url, url, redis, &Guard::default(), set).await
}

/// For a customer, through a channel.
fn wanted(key: &str, customer: &str, channel: &str, sku: &str, units: i64) -> HoldStockRequest {
    HoldStockRequest {
        customer_ref: customer.to_owned(),
        channel_id: channel.to_owned(),
        ..hold(key, "berlin", vec![line(sku, units)])
    }
}

fn is_capped(status: &Status, of: &str, units_max: &str) {
    let metadata = explained(status, Code::FailedPrecondition, "HOLDS_EXCEEDED");
    assert_eq!((&*metadata["of"], &*metadata["units_max"]), (of, units_max));
}

async fn take(server: &Server, request: HoldStockRequest) -> Hold {
    server.hold(request).await.unwrap().0
}

#[tokio::test]
async fn a_customer_holds_so_many_units_and_more_when_a_hold_has_ended() {
    let server = shop(HoldCaps { customer_units_max: 5, ..HoldCaps::default() }).await;
    let of = |key: &str, sku: &str, units: i64| wanted(key, "anna", "", sku, units);
    let first = take(&server, of("a", "jam", 3)).await;
    is_capped(&server.hold(of("b", "tea", 3)).await.unwrap_err(), "customer", "5");
    take(&server, wanted("c", "bert", "", "jam", 5)).await;
    take(&server, wanted("d", "", "", "jam", 50)).await;
    let again = take(&server, of("a", "jam", 3)).await;
    assert_eq!(again.hold_id, first.hold_id, "a replay holds nothing more");

    let more = replace("e", &first, vec![line("jam", 6)]);
    is_capped(&server.replace_hold(more).await.unwrap_err(), "customer", "5");
    server.replace_hold(replace("f", &first, vec![line("jam", 2)])).await.unwrap();
    server.extend_hold("g", &first.hold_id, 900).await.unwrap();
    let second = take(&server, of("h", "tea", 3)).await;
    is_capped(&server.hold(of("i", "tea", 1)).await.unwrap_err(), "customer", "5");

    server.release_hold("j", &second.hold_id).await.unwrap();
    let short = HoldStockRequest { ttl: seconds(1), ..of("k", "tea", 3) };
    take(&server, short).await;
    is_capped(&server.hold(of("l", "tea", 1)).await.unwrap_err(), "customer", "5");
    eventually("it expires", || async { server.hold(of("m", "tea", 3)).await.ok() }).await;

    let mut reserve = create("n", "berlin", Vec::new());
    reserve.hold_id = first.hold_id;
    server.create(reserve).await.unwrap();
    take(&server, of("o", "jam", 2)).await;
    is_capped(&server.hold(of("p", "jam", 1)).await.unwrap_err(), "customer", "5");
    server.caught_up().await;
}

#[tokio::test]
async fn a_channel_and_an_item_have_caps_of_their_own() {
    let caps = HoldCaps { channel_units_max: 10, item_units_max: 12, ..HoldCaps::default() };
    let server = shop(caps).await;
    take(&server, wanted("a", "anna", "web", "jam", 6)).await;
    let beyond = server.hold(wanted("b", "bert", "web", "tea", 5)).await.unwrap_err();
    is_capped(&beyond, "channel", "10");
    take(&server, wanted("c", "bert", "web", "tea", 4)).await;
    take(&server, wanted("d", "", "", "jam", 6)).await;
    is_capped(&server.hold(wanted("e", "", "", "jam", 1)).await.unwrap_err(), "item", "12");
}

#[tokio::test]
async fn many_holds_at_once_over_two_servers_do_not_go_beyond_a_cap() {
    let caps = HoldCaps { customer_units_max: 7, ..HoldCaps::default() };
    let server = shop(caps).await;
    let other = start_on(&server.database_url, caps).await;
    let calls = (0..40).map(|number| {
        let server = if number % 2 == 0 { &server } else { &other };
        server.hold(wanted(&format!("k{number}"), "anna", "", "jam", 1))
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7);
    answers.iter().filter_map(|it| it.as_ref().err()).for_each(|it| is_capped(it, "customer", "7"));
}

#[tokio::test]
async fn what_is_held_still_counts_after_a_rebuild_and_is_given_back() {
    let server = shop(HoldCaps { customer_units_max: 5, ..HoldCaps::default() }).await;
    let held = take(&server, wanted("a", "anna", "", "jam", 5)).await;
    lose(&server, "checkpoint").await;
    server.holds_kept("berlin", "jam").await;
    is_capped(&server.hold(wanted("b", "anna", "", "jam", 1)).await.unwrap_err(), "customer", "5");
    server.release_hold("c", &held.hold_id).await.unwrap();
    take(&server, wanted("d", "anna", "", "jam", 5)).await;
}

#[tokio::test]
async fn what_was_counted_wrong_for_a_customer_or_a_channel_is_counted_again() {
    let caps = HoldCaps { customer_units_max: 5, channel_units_max: 5, ..HoldCaps::default() };
    let server = shop(caps).await;
    let of = |key: &str, units| wanted(key, "anna", "", "jam", units);
    let through = |key: &str, units| wanted(key, "", "web", "jam", units);
    take(&server, of("a", 3)).await;
    take(&server, through("b", 3)).await;
    is_capped(&server.hold(of("c", 5)).await.unwrap_err(), "customer", "5");
    is_capped(&server.hold(through("d", 5)).await.unwrap_err(), "channel", "5");

    // The holds are lost, and what they counted is not.
    lose(&server, "holds").await;
    let held = eventually("nobody holds anything", || async { server.hold(of("c", 5)).await.ok() });
    held.await;
    eventually("nor a channel", || async { server.hold(through("d", 5)).await.ok() }).await;

    // What they counted is lost, and the holds are not.
    lose(&server, "held").await;
    refused_again(&server, of("e", 1)).await;
    refused_again(&server, through("f", 1)).await;
}

/// Loses one of the keys of Redis, of every partition.
async fn lose(server: &Server, name: &str) {
    let redis = Raw::new(&server.redis.url);
    for partition in 0..PARTITIONS {
        let key = format!("{}:{{p{partition}}}:{name}", prefix_of(&server.database_url));
        redis.command(&["DEL", &key]).await;
    }
}

/// Waits until it is refused for a cap: what is granted before is given back.
async fn refused_again(server: &Server, request: HoldStockRequest) {
    let attempts = AtomicU32::new(0);
    eventually("it is refused", || async {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("{}{attempt}", request.request_id);
        match server.hold(HoldStockRequest { request_id, ..request.clone() }).await {
            Ok((held, _)) => {
                server.release_hold(&format!("r{attempt}"), &held.hold_id).await.unwrap();
                None
            }
            Err(_) => Some(()),
        }
    })
    .await;
}

/// A server that limits who takes so many holds in vain.
async fn watchful(limits: AbuseLimits) -> Server {
    let server = Server::start_set(|api| api.with_abuse_limits(limits)).await;
    server.put_locations(&["berlin"]).await;
    server.record_one(receipt("r", "berlin", "jam", 1_000)).await.recorded();
    server.holds_kept("berlin", "jam").await;
    server
}

/// Takes a hold and gives it back.
async fn in_vain(server: &Server, number: usize) -> Result<(), Status> {
    let (held, _) = server.hold_one(&format!("v{number}"), "berlin", "jam", 1).await?;
    server.release_hold(&format!("w{number}"), &held.hold_id).await
}

/// Takes holds in vain until it may take no more.
async fn until_limited(server: &Server) -> usize {
    for number in 0..200 {
        if let Err(status) = in_vain(server, number).await {
            explained(&status, Code::ResourceExhausted, "HOLDS_LIMITED");
            let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
            assert!(!wait.is_zero() && wait <= Duration::from_secs(6), "{wait:?}");
            return number;
        }
    }
    panic!("it is never limited")
}

#[tokio::test]
async fn whose_holds_come_to_nothing_takes_few_and_may_do_all_else() {
    let limits = AbuseLimits { holds_in_vain_max: 30, ..AbuseLimits::default() };
    let server = watchful(limits).await;
    let held = take(&server, wanted("cart", "", "", "jam", 2)).await;
    let many = until_limited(&server).await;
    assert!((30..=45).contains(&many), "{many}");
    server.extend_hold("x", &held.hold_id, 900).await.expect("it goes on with what it has");
    server.replace_hold(replace("y", &held, vec![line("jam", 1)])).await.unwrap();
    server.reserve("k", "berlin", "jam", 1).await.expect("a reservation is none");
    let mut bought = create("z", "berlin", Vec::new());
    bought.hold_id = held.hold_id;
    server.create(bought).await.unwrap();
    server.caught_up().await;
}

#[tokio::test]
async fn who_sells_is_not_limited_however_many_carts_are_left_behind() {
    let limits = AbuseLimits { holds_in_vain_max: 30, ..AbuseLimits::default() };
    let server = watchful(limits).await;
    for number in 0..150 {
        in_vain(&server, number).await.expect("a cart that is left behind");
        let cart = || wanted(&format!("c{number}"), "", "", "jam", 1);
        if number % 10 == 0 {
            let hold_id = take(&server, cart()).await.hold_id;
            let bought = create(&format!("b{number}"), "berlin", Vec::new());
            server.create(CreateReservationRequest { hold_id, ..bought }).await.unwrap();
        }
    }

    let till = watchful(limits).await;
    for number in 0..150 {
        in_vain(&till, number).await.expect("a basket that is put back");
        if number % 10 == 0 {
            let request = wanted(&format!("c{number}"), "", "", "jam", 1);
            let hold_id = take(&till, request).await.hold_id;
            let sold = sale(&format!("s{number}"), "berlin", "jam", 1);
            till.record_one(Movement { hold_id, ..sold }).await.recorded();
        }
    }
}

#[tokio::test]
async fn what_came_to_nothing_is_forgotten() {
    let limits = AbuseLimits {
        holds_in_vain_max: 30,
        span: Duration::from_secs(10),
        ..AbuseLimits::default()
    };
    let server = watchful(limits).await;
    until_limited(&server).await;
    // While it is limited it takes ten at once, and one more each tenth of a second.
    eventually("it takes holds as it likes", || async {
        let keys: Vec<_> = (0..40).map(|number| format!("f{number}")).collect();
        let holds = keys.iter().map(|key| server.hold_one(key, "berlin", "jam", 1));
        join_all(holds).await.iter().all(Result::is_ok).then_some(())
    })
    .await;
}
