//! F14, F21, F22: facts that break promises, and promises that stand in nobody's own way.

use stockroom::api::proto::{
    CheckAvailabilityRequest, CreateReservationRequest, EntryFlag, HoldStockRequest, Movement,
    MovementKind, ReservationState,
};
use tonic::Code;

use crate::harness::{
    availability::check,
    errors::explained,
    holds::hold,
    movements::{Became as _, at, count, movement, receipt, sale, seconds_from_now},
    redis::Redis,
    reservations::{create, line, micros, seconds},
    server::{Server, eventually},
};

async fn shop(redis: Redis, units: i64) -> Server {
    let server = Server::start_as(redis).await;
    server.put_locations(&["shop", "other"]).await;
    server.record_one(receipt("r", "shop", "jam", units)).await.recorded();
    server.caught_up().await;
    server
}

#[tokio::test]
async fn f14_late_sales_break_the_newest_promises_and_these_are_named() {
    let server = shop(Redis::honest(), 6).await;
    let mut names = Vec::new();
    for number in 0..3 {
        let made = server.reserve(&format!("k{number}"), "shop", "jam", 2).await.unwrap();
        names.push(made.reservation_id);
    }
    assert_eq!(server.unserved("shop", "jam").await, []);
    // A till that was offline since before the promises, and sends everything twice.
    let late = |key: &str, units| Movement {
        occurred_at: Some(seconds_from_now(-7_200)),
        ..sale(key, "shop", "jam", units)
    };
    for _ in 0..2 {
        server.record(vec![late("s2", 2), late("s1", 1)]).await;
    }
    server.caught_up().await;
    let position = server.position("shop", "jam").await;
    assert_eq!((position.sellable, position.reserved, position.shortfall), (3, 6, 3));
    let told = server.explain("shop", "jam").await;
    assert_eq!((told.sum, told.available, told.shortfall), (-3, 0, 3));
    let unserved = server.unserved("shop", "jam").await;
    assert_eq!(unserved, [(names[2].clone(), 2), (names[1].clone(), 1)], "newest first");
    let refused = server.reserve("k9", "shop", "jam", 1).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");

    // What the store does about one of them helps the others.
    server.cancel("c1", &names[2]).await.unwrap();
    assert_eq!(server.unserved("shop", "jam").await, [(names[1].clone(), 1)]);
    // Whoever picks first has his units; the rest is still promised to nobody else.
    server.start_picking("p1", &names[1]).await.unwrap();
    server.mark_ready("p2", &names[1]).await.unwrap();
    assert_eq!(server.unserved("shop", "jam").await, [(names[0].clone(), 1)]);
    server.record_one(receipt("r2", "shop", "jam", 1)).await.recorded();
    assert_eq!(server.unserved("shop", "jam").await, []);
}

#[tokio::test]
async fn f14_a_late_sale_that_names_its_reservation_breaks_no_other() {
    let server = shop(Redis::honest(), 4).await;
    let mine = server.reserve("k1", "shop", "jam", 2).await.unwrap();
    server.reserve("k2", "shop", "jam", 2).await.unwrap();
    let late = Movement {
        occurred_at: Some(at("2026-01-02T12:00:00Z")),
        reservation_id: mine.reservation_id.clone(),
        ..sale("s", "shop", "jam", 2)
    };
    server.record_one(late.clone()).await.recorded();
    server.record_one(late).await.duplicate();
    assert_eq!(server.balances("shop", "jam").await, (2, 0, 2));
    assert_eq!(server.unserved("shop", "jam").await, []);
    let collected = server.get(&mine.reservation_id).await;
    assert_eq!(collected.state(), ReservationState::Collected);
}

#[tokio::test]
async fn f14_a_count_that_finds_less_breaks_promises_too() {
    let server = shop(Redis::honest(), 4).await;
    let old = server.reserve("k1", "shop", "jam", 2).await.unwrap();
    let new = server.reserve("k2", "shop", "jam", 2).await.unwrap();
    server.record_one(count("c", "shop", "jam", 1)).await.recorded();
    let unserved = server.unserved("shop", "jam").await;
    assert_eq!(unserved, [(new.reservation_id, 2), (old.reservation_id, 1)]);
}

#[tokio::test]
async fn f21_the_last_unit_goes_to_whom_it_was_held_for() {
    for redis in [Redis::Real, Redis::Absent] {
        let server = shop(redis, 1).await;
        server.holds_kept("shop", "jam").await;
        let (held, _) = server.hold_one("h1", "shop", "jam", 1).await.unwrap();
        assert_eq!(server.available("shop", "jam").await, 0, "{redis:?}: to everybody else");
        let own =
            CheckAvailabilityRequest { hold_id: held.hold_id.clone(), ..check("shop", "jam") };
        assert_eq!(server.check(own).await.unwrap().available, 1, "{redis:?}: to its owner");
        let refused = server.reserve("k1", "shop", "jam", 1).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        let own = create("k2", "shop", vec![line("jam", 1)]);
        let own = CreateReservationRequest { hold_id: held.hold_id.clone(), ..own };
        let made = server.create(own.clone()).await.expect("its own hold is in nobody's way");
        assert_eq!(made.hold_id, held.hold_id);
        assert_eq!(server.create(own).await.unwrap(), made, "{redis:?}: the first answer");
        assert_eq!(server.available("shop", "jam").await, 0);
        let reservation_id = made.reservation_id.clone();
        let own = CheckAvailabilityRequest { reservation_id, ..check("shop", "jam") };
        assert_eq!(server.check(own).await.unwrap().available, 1, "{redis:?}: to its owner");

        // The customer changes channel, and buys it at the till of the same shop.
        let till =
            Movement { reservation_id: made.reservation_id.clone(), ..sale("s", "shop", "jam", 1) };
        server.record_one(till).await.recorded();
        assert_eq!(server.balances("shop", "jam").await, (0, 0, 0), "{redis:?}");
        assert_eq!(server.position("shop", "jam").await.shortfall, 0);
        let collected = server.get(&made.reservation_id).await;
        assert_eq!(collected.state(), ReservationState::Collected);
    }
}

#[tokio::test]
async fn f21_a_sale_may_consume_the_hold_of_the_last_unit() {
    for redis in [Redis::Real, Redis::Absent] {
        for kind in [MovementKind::Sale, MovementKind::ShipOut] {
            let server = shop(redis, 1).await;
            server.holds_kept("shop", "jam").await;
            let (held, _) = server.hold_one("h1", "shop", "jam", 1).await.unwrap();
            let sold =
                Movement { hold_id: held.hold_id.clone(), ..movement(kind, "s", "shop", "jam", 1) };
            let entry = server.record_one(sold).await.recorded();
            assert_eq!(entry.flags, Vec::<i32>::new(), "{redis:?} {kind:?}: its hold is known");
            assert_eq!(server.balances("shop", "jam").await, (0, 0, 0), "{redis:?} {kind:?}");
            // The hold is gone with it: it weighs on nothing that arrives.
            server.record_one(receipt("r2", "shop", "jam", 1)).await.recorded();
            server.caught_up().await;
            assert_eq!(server.available("shop", "jam").await, 1, "{redis:?} {kind:?}");
            let again = create("k1", "shop", vec![line("jam", 1)]);
            let again = CreateReservationRequest { hold_id: held.hold_id.clone(), ..again };
            server.create(again).await.expect("a hold that has ended does not hurt");
        }
    }
}

#[tokio::test]
async fn f21_a_sale_of_what_is_ready_takes_what_is_aside() {
    let server = shop(Redis::honest(), 3).await;
    let made = server.reserve("k1", "shop", "jam", 2).await.unwrap();
    let id = &made.reservation_id;
    server.start_picking("k2", id).await.unwrap();
    server.mark_ready("k3", id).await.unwrap();
    let one = Movement { reservation_id: id.clone(), ..sale("s1", "shop", "jam", 1) };
    server.record_one(one).await.recorded();
    assert_eq!(server.balances("shop", "jam").await, (1, 1, 0));
    assert_eq!(server.get(id).await.state(), ReservationState::Ready);
    let ship = movement(MovementKind::ShipOut, "s2", "shop", "jam", 1);
    let rest = Movement { reservation_id: id.clone(), ..ship };
    server.record_one(rest).await.recorded();
    assert_eq!(server.balances("shop", "jam").await, (1, 0, 0));
    let collected = server.get(id).await;
    assert_eq!(collected.state(), ReservationState::Collected);
    // One more than was promised: a fact all the same, and the entry says so.
    let more = Movement { reservation_id: id.clone(), ..sale("s3", "shop", "jam", 1) };
    let entry = server.record_one(more).await.recorded();
    assert_eq!(entry.flags, [EntryFlag::PromiseUnknown as i32]);
    let unheard = Movement { reservation_id: "r1".into(), ..sale("s4", "shop", "jam", 1) };
    let entry = server.record_one(unheard).await.recorded();
    assert_eq!(entry.flags, [EntryFlag::PromiseUnknown as i32]);
    assert_eq!(server.balances("shop", "jam").await, (-1, 0, 0));
    assert_eq!(server.get(id).await, collected);
}

#[tokio::test]
async fn f22_a_hold_is_free_when_it_is_released_however_often() {
    for redis in [Redis::Real, Redis::Absent] {
        let server = shop(redis, 2).await;
        server.holds_kept("shop", "jam").await;
        let (held, _) = server.hold_one("h1", "shop", "jam", 2).await.unwrap();
        for key in ["k1", "k1", "k2"] {
            server.release_hold(key, &held.hold_id).await.unwrap();
            assert_eq!(server.available("shop", "jam").await, 2, "{redis:?}");
        }
        let (again, _) = server.hold_one("h1", "shop", "jam", 2).await.unwrap();
        assert_eq!(again, held, "{redis:?}: the first answer, and no second hold");
        assert_eq!(server.available("shop", "jam").await, 2, "{redis:?}");
        let refused = server.extend_hold("k3", &held.hold_id, 60).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "HOLD_ENDED");
        let refused = server.release_hold("k4", "h1.1.0").await.unwrap_err();
        explained(&refused, Code::NotFound, "HOLD_UNKNOWN");
    }
}

#[tokio::test]
async fn f22_a_hold_that_nobody_releases_ends_by_itself_and_not_before() {
    for redis in [Redis::Real, Redis::Absent] {
        let server = shop(redis, 2).await;
        server.holds_kept("shop", "jam").await;
        let short = hold("h1", "shop", vec![line("jam", 2)]);
        let short = HoldStockRequest { ttl: seconds(1), ..short };
        let (held, _) = server.hold(short).await.unwrap();
        let number = std::sync::atomic::AtomicU32::new(0);
        let freed = eventually("its units are free", || async {
            let key = format!("h{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 2);
            let taken = server.hold_one(&key, "shop", "jam", 2).await;
            taken.ok().map(|_| micros(Some(seconds_from_now(0))))
        })
        .await;
        let expires_at = micros(held.expires_at);
        assert!(freed >= expires_at, "{redis:?}: {freed} is before {expires_at}");
        assert!(freed < expires_at + 1_000_000, "{redis:?}: {freed} is long after {expires_at}");
        server.release_hold("k1", &held.hold_id).await.expect("what has expired is no error");
        let refused = server.extend_hold("k2", &held.hold_id, 60).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "HOLD_ENDED");
    }
}
