//! F4 to F9: customers who do not come, come late, change their mind, or should never have been
//! promised so much.

use futures::future::join;
use stockroom::api::proto::{
    CancelledBy, ChannelPolicy, CreateReservationRequest, ListReservationsRequest, MovementKind,
    PutChannelPolicyRequest, Reservation, ReservationState,
};
use tonic::Code;

use crate::harness::{
    errors::explained,
    movements::{Became as _, correction, receipt, sale},
    reservations::{collection, create, line, micros, pick, seconds},
    server::{SOURCE, Server, eventually},
};

async fn shop(units: i64) -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["shop", "other"]).await;
    server.record_one(receipt("r", "shop", "jam", units)).await.recorded();
    server
}

/// Three units that wait for the customer, for `ttl` seconds from the beginning.
async fn ready(server: &Server, ttl: i64) -> Reservation {
    let request = create("made", "shop", vec![line("jam", 3)]);
    let request = CreateReservationRequest { ttl: seconds(ttl), ..request };
    let made = server.create(request).await.unwrap();
    server.start_picking("begun", &made.reservation_id).await.unwrap();
    server.mark_ready("ready", &made.reservation_id).await.unwrap()
}

async fn expired(server: &Server, id: &str) -> Reservation {
    eventually("it expires", || async {
        let made = server.get(id).await;
        (made.state() == ReservationState::Expired).then_some(made)
    })
    .await
}

#[tokio::test]
async fn f4_a_no_show_expires_and_its_units_stay_aside_until_they_are_returned() {
    let server = shop(5).await;
    let made = ready(&server, 1).await;
    let id = &made.reservation_id;
    let ended = expired(&server, id).await;
    assert!(micros(ended.changed_at) >= micros(made.collect_by), "never early");
    assert_eq!(ended.reason, "expired");
    assert_eq!(server.balances("shop", "jam").await, (2, 3, 0));
    assert_eq!(server.available("shop", "jam").await, 2, "what is aside cannot be promised");
    let returned = server.return_to_shelf("k1", id).await.unwrap();
    assert_eq!((returned.state(), returned.lines[0].shelved), (ReservationState::Expired, 3));
    assert_eq!(server.balances("shop", "jam").await, (5, 0, 0));
    assert_eq!(server.available("shop", "jam").await, 5);
    assert_eq!(server.return_to_shelf("k1", id).await.unwrap(), returned, "the first answer");
    let refused = server.return_to_shelf("k2", id).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "NOTHING_ASIDE");
}

#[tokio::test]
async fn f5_who_comes_late_gets_what_is_still_aside() {
    let server = shop(5).await;
    let made = ready(&server, 1).await;
    let id = &made.reservation_id;
    expired(&server, id).await;
    let by_code = ListReservationsRequest {
        location_id: "shop".to_owned(),
        pickup_code: made.pickup_code.clone(),
        ..ListReservationsRequest::default()
    };
    let found = server.list(by_code).await.unwrap().reservations;
    let found: Vec<_> = found.iter().map(|found| (&*found.reservation_id, found.state())).collect();
    assert_eq!(found, [(&**id, ReservationState::Expired)], "the code is all that they bring");
    let one = stockroom::api::proto::CollectReservationRequest {
        lines: vec![line("jam", 1)],
        ..collection("k1", id, &made.pickup_code)
    };
    let partly = server.hand_over(one).await.unwrap();
    assert_eq!((partly.state(), partly.lines[0].collected), (ReservationState::Expired, 1));
    let collected = server.hand_over(collection("k2", id, &made.pickup_code)).await.unwrap();
    assert_eq!(collected.state(), ReservationState::Collected);
    assert_eq!(server.balances("shop", "jam").await, (2, 0, 0));
}

#[tokio::test]
async fn f5_who_comes_too_late_is_told_so() {
    let server = shop(3).await;
    let made = ready(&server, 1).await;
    let id = &made.reservation_id;
    expired(&server, id).await;
    server.return_to_shelf("k1", id).await.unwrap();
    server.caught_up().await;
    server.reserve("k2", "shop", "jam", 3).await.unwrap();
    let refused = server.collect("k3", id).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "NOTHING_ASIDE");
    assert_eq!(server.balances("shop", "jam").await, (3, 0, 3), "nothing was taken from the other");
    // Nobody had picked it: nothing is aside either.
    let never = CreateReservationRequest { ttl: seconds(1), ..create("k4", "shop", Vec::new()) };
    server.record_one(receipt("r2", "shop", "tea", 1)).await.recorded();
    let never = CreateReservationRequest { lines: vec![line("tea", 1)], ..never };
    let never = server.create(never).await.unwrap();
    expired(&server, &never.reservation_id).await;
    let refused = server.collect("k5", &never.reservation_id).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "NOTHING_ASIDE");
}

#[tokio::test]
async fn f6_of_cancelling_and_collecting_exactly_one_wins() {
    let server = shop(100).await;
    let (mut cancelled, mut collected) = (0, 0);
    for round in 0..20 {
        let key = |what: &str| format!("{what}-{round}");
        let made = server.reserve(&key("made"), "shop", "jam", 2).await.unwrap();
        let id = &made.reservation_id;
        let (cancel, collect) = (key("cancel"), key("collect"));
        let (gave_up, got) = match round % 2 {
            0 => join(server.cancel(&cancel, id), server.collect(&collect, id)).await,
            _ => {
                let (got, gave_up) =
                    join(server.collect(&collect, id), server.cancel(&cancel, id)).await;
                (gave_up, got)
            }
        };
        let (lost, state) = match (gave_up, got) {
            (Ok(_), Err(lost)) => (lost, ReservationState::Cancelled),
            (Err(lost), Ok(_)) => (lost, ReservationState::Collected),
            other => panic!("not exactly one: {other:?}"),
        };
        explained(&lost, Code::FailedPrecondition, "RESERVATION_STATE");
        assert_eq!(server.get(id).await.state(), state);
        match state {
            ReservationState::Cancelled => cancelled += 1,
            _ => collected += 1,
        }
    }
    assert_eq!(cancelled + collected, 20);
    assert_eq!(server.balances("shop", "jam").await, (100 - 2 * collected, 0, 0));
}

#[tokio::test]
async fn f6_what_was_picked_meanwhile_becomes_a_task_for_the_shelf() {
    let server = shop(100).await;
    let mut shelved = 0;
    for round in 0..10 {
        let key = |what: &str| format!("{what}-{round}");
        let made = server.reserve(&key("made"), "shop", "jam", 2).await.unwrap();
        let id = &made.reservation_id;
        let (cancel, scan) = (key("cancel"), pick(&key("scan"), id, &[("jam", 2, "")]));
        let (gave_up, scanned) = join(server.cancel(&cancel, id), server.pick(scan)).await;
        let ended = gave_up.expect("nobody but the customer ends it");
        assert_eq!(ended.state(), ReservationState::Cancelled);
        assert_eq!(ended.cancelled_by(), CancelledBy::Customer);
        match scanned {
            Ok(_) => {
                assert_eq!(server.position("shop", "jam").await.staged, 2);
                server.return_to_shelf(&key("shelf"), id).await.unwrap();
                shelved += 1;
            }
            Err(late) => {
                explained(&late, Code::FailedPrecondition, "RESERVATION_STATE");
                let refused = server.return_to_shelf(&key("shelf"), id).await.unwrap_err();
                explained(&refused, Code::FailedPrecondition, "NOTHING_ASIDE");
            }
        }
        assert_eq!(server.balances("shop", "jam").await, (100, 0, 0), "after {shelved} of {round}");
    }
}

#[tokio::test]
async fn f7_a_cap_per_order_stops_80_995_units_and_without_it_the_reversal_is_exact() {
    let server = shop(100_000).await;
    server.put_channel("web").await;
    let policy = ChannelPolicy {
        channel_id: "web".to_owned(),
        units_per_order_max: 1_000,
        ..ChannelPolicy::default()
    };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
    let order = create("k1", "shop", vec![line("jam", 80_000), line("jam", 995)]);
    let web = CreateReservationRequest { channel_id: "web".to_owned(), ..order.clone() };
    let refused = server.create(web).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "UNITS_PER_ORDER_EXCEEDED");
    assert_eq!((&*told["sku"], &*told["units_max"]), ("jam", "1000"));
    assert_eq!(server.balances("shop", "jam").await, (100_000, 0, 0));

    let made = server.create(order).await.expect("a refusal uses up no key");
    assert_eq!(server.balances("shop", "jam").await, (100_000, 0, 80_995));
    server.cancel_by(CancelledBy::Store, "mistake", "k2", &made.reservation_id).await.unwrap();
    assert_eq!(server.balances("shop", "jam").await, (100_000, 0, 0));
    let entries = server.entries_of("shop", "jam").await;
    let told: Vec<_> =
        entries.iter().map(|entry| (entry.kind(), entry.reserved_change, &*entry.reason)).collect();
    assert_eq!(
        told[1..],
        [(MovementKind::Reserve, 80_995, ""), (MovementKind::Release, -80_995, "mistake")]
    );
    // The same as sales: the mistake and its exact inverse stay side by side.
    server.record_one(sale("s", "shop", "jam", 80_995)).await.recorded();
    server.record_one(correction("c", "shop", "jam", (SOURCE, "s"))).await.recorded();
    assert_eq!(server.balances("shop", "jam").await, (100_000, 0, 0));
    let entries = server.entries_of("shop", "jam").await;
    let [.., sold, corrected] = &*entries else { panic!("{entries:?}") };
    assert_eq!((sold.from_state, sold.to_state), (corrected.to_state, corrected.from_state));
    assert_eq!((sold.quantity, corrected.quantity), (80_995, 80_995));
    assert_eq!(corrected.refers_to_seq, sold.seq);
}

#[tokio::test]
async fn f8_a_substitute_is_promised_in_the_step_that_gives_the_first_choice_back() {
    let server = shop(3).await;
    server.record_one(receipt("r2", "shop", "honey", 2)).await.recorded();
    let made = server.reserve("k1", "shop", "jam", 2).await.unwrap();
    let id = &made.reservation_id;
    let refused = server.amend("k2", id, vec![line("honey", 3)]).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!((&*told["sku"], &*told["available"], &*told["wanted"]), ("honey", "2", "3"));
    assert_eq!(server.get(id).await, made, "the first choice still stands");
    let amended = server.amend("k3", id, vec![line("honey", 2)]).await.unwrap();
    let lines: Vec<_> = amended.lines.iter().map(|line| (&*line.sku, line.quantity)).collect();
    assert_eq!((amended.state(), lines), (ReservationState::Reserved, vec![("honey", 2)]));
    assert_eq!(server.balances("shop", "jam").await, (3, 0, 0));
    assert_eq!(server.balances("shop", "honey").await, (2, 0, 2));
    let entries = server.entries().await;
    let step: Vec<_> = entries.iter().filter(|entry| entry.key == "k3").collect();
    let told: Vec<_> = step.iter().map(|entry| (&*entry.sku, entry.reserved_change)).collect();
    assert_eq!(told, [("jam", -2), ("honey", 2)]);
    assert_eq!(step[0].seq + 1, step[1].seq, "one step");
    assert_eq!(step[0].reason, "customer_wish");
}

#[tokio::test]
async fn f9_a_reservation_moves_in_one_step_and_stands_where_it_cannot() {
    let server = shop(4).await;
    server.record_one(receipt("r2", "other", "jam", 2)).await.recorded();
    let made = server.reserve("k1", "shop", "jam", 3).await.unwrap();
    let id = &made.reservation_id;
    let refused = server.move_to("k2", id, "other").await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!(server.get(id).await, made, "the old promise stands");
    assert_eq!(server.balances("other", "jam").await, (2, 0, 0));
    let refused = server.move_to("k2", id, "shop").await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "SAME_LOCATION");

    server.record_one(receipt("r3", "other", "jam", 5)).await.recorded();
    server.caught_up().await;
    let successor = server.move_to("k2", id, "other").await.unwrap();
    assert_eq!((&*successor.location_id, &*successor.predecessor_id), ("other", &**id));
    assert_ne!(successor.pickup_code, made.pickup_code);
    assert_eq!(server.balances("shop", "jam").await, (4, 0, 0));
    assert_eq!(server.balances("other", "jam").await, (7, 0, 3));
    let old = server.get(id).await;
    assert_eq!((old.state(), &*old.reason), (ReservationState::Moved, "closer_to_home"));
    assert_eq!(old.successor_id, successor.reservation_id);
    let refused = server.collect("k3", id).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "RESERVATION_MOVED");
    assert_eq!(told["successor_id"], successor.reservation_id);
    // A replay is answered as it was, though the goods are gone.
    server.collect("k4", &successor.reservation_id).await.unwrap();
    server.record_one(sale("s", "other", "jam", 4)).await.recorded();
    server.caught_up().await;
    assert_eq!(server.move_to("k2", id, "other").await.unwrap(), successor);
}

/// Units already picked stay behind, to be returned; the successor is promised all that was left.
#[tokio::test]
async fn f9_what_was_picked_before_the_move_goes_back_to_the_shelf() {
    let server = shop(4).await;
    server.record_one(receipt("r2", "other", "jam", 3)).await.recorded();
    let made = ready(&server, 3_600).await;
    let id = &made.reservation_id;
    let successor = server.move_to("k1", id, "other").await.unwrap();
    assert_eq!((successor.lines[0].quantity, successor.lines[0].picked), (3, 0));
    assert_eq!(server.balances("shop", "jam").await, (1, 3, 0));
    assert_eq!(server.balances("other", "jam").await, (3, 0, 3));
    let returned = server.return_to_shelf("k2", id).await.unwrap();
    assert_eq!((returned.state(), returned.lines[0].shelved), (ReservationState::Moved, 3));
    assert_eq!(server.return_to_shelf("k2", id).await.unwrap(), returned, "the first answer");
    assert_eq!(server.balances("shop", "jam").await, (4, 0, 0));
}
