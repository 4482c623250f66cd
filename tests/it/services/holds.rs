//! Holds as clients see them: the same with Redis, where they live in memory, and without, where the
//! ledger keeps them.

use stockroom::api::proto::{
    ChannelPolicy, CreateReservationRequest, Durability, Hold, HoldStockRequest, LinePolicy,
    PutChannelPolicyRequest, ReplaceHoldRequest, channel_policy::Buffer,
};
use tonic::Code;

use crate::harness::{
    errors::{explained, short_lines},
    holds::{hold, replace},
    movements::{Became as _, receipt},
    redis::Redis,
    reservations::{create, line, micros, seconds},
    server::Server,
};

const BOTH: [Redis; 2] = [Redis::Real, Redis::Absent];

/// A shop with 10 jam and 2 tea, once holds are taken where they should be.
async fn shop(redis: Redis) -> (Server, Durability) {
    let server = Server::start_as(redis).await;
    server.put_locations(&["shop", "other"]).await;
    for movement in [receipt("r1", "shop", "jam", 10), receipt("r2", "shop", "tea", 2)] {
        server.record_one(movement).await.recorded();
    }
    let kept = server.holds_kept("shop", "tea").await;
    (server, kept)
}

async fn put_policy(server: &Server, policy: ChannelPolicy) {
    server.put_channel("web").await;
    let policy = ChannelPolicy { channel_id: "web".to_owned(), ..policy };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
}

fn through_web(request: HoldStockRequest) -> HoldStockRequest {
    HoldStockRequest { channel_id: "web".to_owned(), ..request }
}

fn lines(held: &Hold) -> Vec<(&str, i64)> {
    let mut lines: Vec<_> = held.lines.iter().map(|line| (&*line.sku, line.quantity)).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_hold_takes_all_its_lines_or_none() {
    for redis in BOTH {
        let (server, kept) = shop(redis).await;
        let request = hold("h1", "shop", vec![line("jam", 4), line("tea", 2), line("jam", 2)]);
        let (held, durability) = server.hold(request.clone()).await.unwrap();
        assert_eq!(durability, kept, "{redis:?}");
        assert_eq!((lines(&held), &*held.location_id), (vec![("jam", 6), ("tea", 2)], "shop"));
        assert_eq!(server.available("shop", "jam").await, 4, "{redis:?}: lines are summed");
        assert_eq!(server.available("shop", "tea").await, 0, "{redis:?}");
        assert_eq!(server.hold(request).await.unwrap().0, held, "{redis:?}: the first answer");
        let other = server.hold_one("h1", "shop", "jam", 1).await.unwrap_err();
        explained(&other, Code::AlreadyExists, "KEY_REUSED");

        let greedy = hold("h2", "shop", vec![line("jam", 5), line("tea", 1)]);
        let refused = server.hold(greedy).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!((&*told["sku"], &*told["available"], &*told["wanted"]), ("jam", "4", "5"));
        assert_eq!(short_lines(&refused), ["jam", "tea"], "{redis:?}: every short line");
        assert_eq!(server.available("shop", "jam").await, 4, "{redis:?}: nothing was taken");
        let unheard = hold("h4", "shop", vec![line("tea", 3), line("gin", 1)]);
        let refused = server.hold(unheard).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(short_lines(&refused), ["tea", "gin"], "{redis:?}: of nothing there is enough");
        let summed = hold("h3", "shop", vec![line("jam", 2), line("jam", 3)]);
        let refused = server.hold(summed).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(told["wanted"], "5", "{redis:?}: 2 + 3");
    }
}

#[tokio::test]
async fn per_line_holds_what_is_there() {
    for redis in BOTH {
        let (server, _) = shop(redis).await;
        let per_line = LinePolicy::PerLine as i32;
        let request = hold("h1", "shop", vec![line("jam", 4), line("tea", 3), line("gin", 1)]);
        let request = HoldStockRequest { line_policy: per_line, ..request };
        let (held, _) = server.hold(request.clone()).await.unwrap();
        assert_eq!(lines(&held), [("jam", 4)], "{redis:?}");
        assert_eq!(server.hold(request).await.unwrap().0, held, "{redis:?}: the first answer");
        let request = hold("h2", "shop", vec![line("tea", 3), line("gin", 1)]);
        let nothing = HoldStockRequest { line_policy: per_line, ..request };
        let refused = server.hold(nothing).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(short_lines(&refused), ["tea", "gin"], "{redis:?}");
        // What nobody has heard of must not carry the rest past other people's holds.
        let request = hold("h3", "shop", vec![line("jam", 7), line("gin", 1)]);
        let past = HoldStockRequest { line_policy: per_line, ..request };
        let refused = server.hold(past).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(short_lines(&refused), ["jam", "gin"], "{redis:?}");
        let request = create("k1", "shop", vec![line("jam", 7), line("gin", 1)]);
        let past = CreateReservationRequest { line_policy: per_line, ..request };
        let refused = server.create(past).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(short_lines(&refused), ["jam", "gin"], "{redis:?}");
    }
}

#[tokio::test]
async fn a_hold_gets_other_lines_while_it_is_scanned() {
    for redis in BOTH {
        let (server, kept) = shop(redis).await;
        let (held, _) = server.hold_one("h1", "shop", "jam", 8).await.unwrap();
        // Its own 8 do not count against the 10.
        let more = replace("k1", &held, vec![line("jam", 10), line("tea", 1)]);
        let (more_held, durability) = server.replace_hold(more.clone()).await.unwrap();
        assert_eq!((&more_held.hold_id, durability), (&held.hold_id, kept), "{redis:?}");
        assert_eq!(lines(&more_held), [("jam", 10), ("tea", 1)], "{redis:?}");
        assert_eq!(more_held.expires_at, held.expires_at, "{redis:?}: its end stays");
        assert_eq!(server.replace_hold(more.clone()).await.unwrap().0, more_held);
        let other = ReplaceHoldRequest { lines: vec![line("jam", 1)], ..more };
        let refused = server.replace_hold(other).await.unwrap_err();
        explained(&refused, Code::AlreadyExists, "KEY_REUSED");

        let too_many = replace("k2", &held, vec![line("jam", 1), line("tea", 3)]);
        let refused = server.replace_hold(too_many).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(short_lines(&refused), ["tea"], "{redis:?}");
        assert_eq!(server.available("shop", "jam").await, 0, "{redis:?}: the old lines stand");
        let fewer = replace("k3", &held, vec![line("tea", 2)]);
        let fewer = ReplaceHoldRequest { ttl: seconds(1_200), ..fewer };
        let (fewer, _) = server.replace_hold(fewer).await.unwrap();
        assert!(micros(fewer.expires_at) > micros(held.expires_at) + 500_000_000, "{redis:?}");
        assert_eq!(server.available("shop", "jam").await, 10, "{redis:?}");
        assert_eq!(server.available("shop", "tea").await, 0, "{redis:?}");
        let (first, _) = server.hold_one("h1", "shop", "jam", 8).await.unwrap();
        assert_eq!(first, held, "{redis:?}: the first answer to the first request");
        server.release_hold("k4", &held.hold_id).await.unwrap();
        let late = replace("k5", &held, vec![line("jam", 1)]);
        let refused = server.replace_hold(late).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "HOLD_ENDED");
    }
}

#[tokio::test]
async fn a_hold_is_extended_and_never_shortened() {
    for redis in BOTH {
        let (server, kept) = shop(redis).await;
        let (held, _) = server.hold_one("h1", "shop", "jam", 8).await.unwrap();
        let (same, durability) = server.extend_hold("k1", &held.hold_id, 1).await.unwrap();
        assert_eq!((&same, durability), (&held, kept), "{redis:?}: asking takes no time away");
        let (later, _) = server.extend_hold("k2", &held.hold_id, 1_800).await.unwrap();
        let gained = micros(later.expires_at) - micros(held.expires_at);
        assert!((1_195_000_000..1_260_000_000).contains(&gained), "{redis:?}: {gained}");
        let (again, _) = server.extend_hold("k2", &held.hold_id, 1_800).await.unwrap();
        assert_eq!(again, later, "{redis:?}: the first answer");
        let refused = server.extend_hold("k2", &held.hold_id, 1_900).await.unwrap_err();
        explained(&refused, Code::AlreadyExists, "KEY_REUSED");
    }
}

#[tokio::test]
async fn a_hold_becomes_a_reservation_of_its_lines() {
    for redis in BOTH {
        let (server, _) = shop(redis).await;
        let request = hold("h1", "shop", vec![line("jam", 10), line("tea", 1)]);
        let (held, _) = server.hold(request).await.unwrap();
        let consume = CreateReservationRequest {
            hold_id: held.hold_id.clone(),
            ..create("k1", "shop", Vec::new())
        };
        let made = server.create(consume.clone()).await.unwrap();
        let mut told: Vec<_> = made.lines.iter().map(|line| (&*line.sku, line.quantity)).collect();
        told.sort_unstable();
        assert_eq!(told, [("jam", 10), ("tea", 1)], "{redis:?}: the lines of the hold");
        assert_eq!(made.hold_id, held.hold_id);
        assert_eq!(server.balances("shop", "jam").await, (10, 0, 10), "{redis:?}");
        assert_eq!(server.available("shop", "tea").await, 1, "{redis:?}: it counts once");
        assert_eq!(server.create(consume).await.unwrap(), made, "{redis:?}: the first answer");

        let twice = CreateReservationRequest {
            hold_id: held.hold_id.clone(),
            ..create("k2", "shop", vec![line("tea", 1)])
        };
        let refused = server.create(twice).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "HOLD_CONSUMED");
        let refused = server.extend_hold("k3", &held.hold_id, 60).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "HOLD_CONSUMED");
        let (again, _) = server
            .hold(hold("h1", "shop", vec![line("jam", 10), line("tea", 1)]))
            .await
            .expect("a replay is answered whatever happened since");
        assert_eq!(again, held, "{redis:?}");
        let (free, _) = server.hold_one("h2", "shop", "tea", 1).await.unwrap();
        let elsewhere = CreateReservationRequest {
            hold_id: free.hold_id.clone(),
            ..create("k4", "other", vec![line("tea", 1)])
        };
        let refused = server.create(elsewhere).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "HOLD_ELSEWHERE");
        let unheard = free.hold_id.replace(char::is_alphabetic, "0").replacen('0', "h", 1);
        let unheard =
            CreateReservationRequest { hold_id: unheard, ..create("k5", "shop", Vec::new()) };
        let refused = server.create(unheard).await.unwrap_err();
        explained(&refused, Code::NotFound, "HOLD_UNKNOWN");
    }
}

/// Part of the hold is enough; the rest is free again.
#[tokio::test]
async fn a_reservation_takes_less_or_more_than_its_hold() {
    for redis in BOTH {
        let (server, _) = shop(redis).await;
        for (number, units, left) in [(1, 3, 7), (2, 7, 0)] {
            let key = format!("h{number}");
            let (held, _) = server.hold_one(&key, "shop", "jam", 5).await.unwrap();
            let consume = CreateReservationRequest {
                hold_id: held.hold_id,
                ..create(&key.replace('h', "k"), "shop", vec![line("jam", units)])
            };
            server.create(consume).await.unwrap();
            assert_eq!(server.available("shop", "jam").await, left, "{redis:?}: {units} of 5");
        }
    }
}

#[tokio::test]
async fn the_policy_of_the_channel_limits_holds() {
    for redis in BOTH {
        let (server, _) = shop(redis).await;
        let policy = ChannelPolicy {
            hold_ttl_default: seconds(30),
            hold_ttl_max: seconds(60),
            units_per_order_max: 4,
            buffer: Some(Buffer::BufferUnits(7)),
            ..ChannelPolicy::default()
        };
        put_policy(&server, policy).await;
        let ask = |key: &str, units, ttl| {
            let request = through_web(hold(key, "shop", vec![line("jam", units)]));
            server.hold(HoldStockRequest { ttl, ..request })
        };
        let refused = ask("h1", 1, seconds(61)).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "TTL_EXCEEDED");
        assert_eq!(told["ttl_max_ms"], "60000", "{redis:?}");
        let refused = ask("h1", 5, None).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "UNITS_PER_ORDER_EXCEEDED");
        assert_eq!((&*told["sku"], &*told["units_max"]), ("jam", "4"), "{redis:?}");
        let refused = ask("h1", 4, None).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(told["available"], "3", "{redis:?}: 10 less the buffer of 7");
        let before = micros(Some(crate::harness::movements::seconds_from_now(0)));
        let (held, _) = ask("h1", 3, None).await.unwrap();
        let lasts = micros(held.expires_at) - before;
        assert!((29_000_000..36_000_000).contains(&lasts), "{redis:?}: {lasts}");
        // Whatever the policy says by now.
        let policy = ChannelPolicy { units_per_order_max: 1, ..ChannelPolicy::default() };
        put_policy(&server, policy).await;
        assert_eq!(ask("h1", 3, None).await.unwrap().0, held, "{redis:?}: the first answer");
        let refused = ask("h1", 2, None).await.unwrap_err();
        explained(&refused, Code::AlreadyExists, "KEY_REUSED");
        let refused = ask("h2", 2, None).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "UNITS_PER_ORDER_EXCEEDED");
    }
}

#[tokio::test]
async fn holds_are_promises_to_everybody_who_reserves() {
    for redis in BOTH {
        let (server, _) = shop(redis).await;
        server.hold_one("h1", "shop", "jam", 7).await.unwrap();
        let refused = server.reserve("k1", "shop", "jam", 4).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(told["available"], "3", "{redis:?}");
        let made = server.reserve("k2", "shop", "jam", 3).await.unwrap();
        server.caught_up().await;
        let refused = server.hold_one("h2", "shop", "jam", 1).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        let refused =
            server.amend("k3", &made.reservation_id, vec![line("jam", 4)]).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        let told = server.explain("shop", "jam").await;
        assert_eq!((told.sum, told.available), (0, 0), "{redis:?}");
        let held: i64 = told
            .terms
            .iter()
            .flat_map(|term| &term.causes)
            .filter(|cause| cause.kind == "hold")
            .map(|cause| cause.quantity)
            .sum();
        assert_eq!(held, -7, "{redis:?}: whoever keeps it, it is told as a hold");
    }
}
