//! ReservationService.

use prost_types::Duration;
use stockroom::api::proto::{
    BatchCreateReservationsRequest, CancelledBy, ChannelPolicy, CollectReservationRequest,
    CreateReservationRequest, LinePolicy, MarkReadyRequest, MovementKind, PutChannelPolicyRequest,
    ReservationDraft, ReservationState, Settlement, StockState, channel_policy::Buffer,
};
use tonic::Code;

use crate::harness::{
    errors::{explained, short_lines},
    holds::hold,
    movements::{Became as _, receipt},
    reservations::{basket, collection, create, line, micros, seconds},
    server::{Server, eventually},
};

/// A shop with 10 jam and 2 tea, and another one with 3 jam.
async fn shops() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["shop", "other", "third"]).await;
    for (location, sku, units) in [("shop", "jam", 10), ("shop", "tea", 2), ("other", "jam", 3)] {
        server.record_one(receipt(sku, location, sku, units)).await.recorded();
    }
    server.caught_up().await;
    server
}

async fn put_policy(server: &Server, policy: ChannelPolicy) {
    server.put_channel(&policy.channel_id).await;
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
}

#[tokio::test]
async fn a_reservation_is_picked_made_ready_and_collected() {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    server.record(vec![receipt("r", "shop", "jam", 5)]).await;
    let made = server.reserve("k1", "shop", "jam", 3).await.unwrap();
    assert_eq!(made.state(), ReservationState::Reserved);
    let again = server.reserve("k1", "shop", "jam", 3).await.unwrap();
    assert_eq!(again, made);
    assert_eq!(server.position("shop", "jam").await.reserved, 3);
    let id = &made.reservation_id;
    server.start_picking("k2", id).await.unwrap();
    let ready = server.mark_ready("k3", id).await.unwrap();
    assert_eq!(ready.state(), ReservationState::Ready);
    let position = server.position("shop", "jam").await;
    assert_eq!((position.sellable, position.staged, position.reserved), (2, 3, 0));
    let collected = server.collect("k4", id).await.unwrap();
    assert_eq!(collected.state(), ReservationState::Collected);
    assert_eq!(server.reserve("k1", "shop", "jam", 3).await.unwrap(), made, "the first answer");
    assert_eq!(server.mark_ready("k3", id).await.unwrap(), ready, "the first answer");
    let position = server.position("shop", "jam").await;
    assert_eq!((position.sellable, position.staged, position.reserved), (2, 0, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_reservation_ends_at_its_deadline_and_not_before() {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    server.record(vec![receipt("r", "shop", "jam", 1)]).await;
    let ttl = Some(Duration { seconds: 1, nanos: 0 });
    let request = CreateReservationRequest { ttl, ..create("k1", "shop", vec![line("jam", 1)]) };
    let made = server.create(request).await.unwrap();
    let refused = server.reserve("k2", "shop", "jam", 1).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let again = eventually("the units are free", || async {
        server.reserve("k2", "shop", "jam", 1).await.ok()
    })
    .await;
    let ended = server.get(&made.reservation_id).await;
    assert_eq!(ended.state(), ReservationState::Expired);
    let (deadline, ended_at) = (micros(made.expires_at), micros(ended.changed_at));
    assert!(ended_at >= deadline, "{ended_at} is before {deadline}");
    assert!(ended_at < deadline + 250_000, "{ended_at} is long after {deadline}");
    assert!(micros(again.created_at) >= ended_at);
    server.stop().await;
}

#[tokio::test]
async fn per_line_promises_what_is_there() {
    let server = shops().await;
    let request = create("k1", "shop", vec![line("jam", 4), line("tea", 3), line("gin", 1)]);
    let refused = server.create(request.clone()).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!(short_lines(&refused), ["tea", "gin"], "every short line, and no other");
    let line_policy = LinePolicy::PerLine as i32;
    let request = CreateReservationRequest { line_policy, ..request };
    let made = server.create(request.clone()).await.unwrap();
    assert_eq!((made.lines.len(), &*made.lines[0].sku, made.lines[0].quantity), (1, "jam", 4));
    assert_eq!(server.create(request).await.unwrap(), made, "the first answer");
    let request = create("k2", "shop", vec![line("tea", 3), line("gin", 1)]);
    let nothing = CreateReservationRequest { line_policy, ..request };
    let refused = server.create(nothing).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!(short_lines(&refused), ["tea", "gin"]);
}

#[tokio::test]
async fn a_basket_over_several_shops_is_made_whole_or_not_at_all() {
    let server = shops().await;
    server.record_one(receipt("jam", "third", "jam", 1)).await.recorded();
    server.caught_up().await;
    let short = basket("k1", &[("shop", "jam", 11), ("other", "jam", 1), ("third", "jam", 2)]);
    let refused = server.batch(short).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!(short_lines(&refused), ["jam", "jam"], "of two shops");
    assert_eq!(server.balances("other", "jam").await, (3, 0, 0));

    let (held, _) = server.hold(hold("h1", "other", vec![line("jam", 3)])).await.unwrap();
    let good = basket("k1", &[("shop", "jam", 10), ("other", "jam", 3)]);
    let refused = server.batch(good.clone()).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let [first, second] = <[ReservationDraft; 2]>::try_from(good.reservations.clone()).unwrap();
    let second = ReservationDraft { hold_id: held.hold_id.clone(), ..second };
    let good = BatchCreateReservationsRequest {
        reservations: vec![first, second],
        order_ref: "order-1".to_owned(),
        ..good
    };
    let made = server.batch(good.clone()).await.unwrap();
    let told: Vec<_> = made.iter().map(|made| (&*made.location_id, &*made.order_ref)).collect();
    assert_eq!(told, [("shop", "order-1"), ("other", "order-1")], "in the order of the request");
    assert_eq!(made[1].hold_id, held.hold_id);
    assert_eq!(server.balances("shop", "jam").await, (10, 0, 10));
    assert_eq!(server.balances("other", "jam").await, (3, 0, 3));
    server.cancel("k2", &made[0].reservation_id).await.unwrap();
    assert_eq!(server.batch(good.clone()).await.unwrap(), made, "the first answer");
    let other = BatchCreateReservationsRequest { order_ref: "order-2".to_owned(), ..good };
    let refused = server.batch(other).await.unwrap_err();
    explained(&refused, Code::AlreadyExists, "KEY_REUSED");
}

#[tokio::test]
async fn the_channel_s_buffer_cap_and_times_bind_what_is_granted_and_what_is_told() {
    let server = shops().await;
    let units = ChannelPolicy {
        channel_id: "web".to_owned(),
        buffer: Some(Buffer::BufferUnits(3)),
        units_per_order_max: 8,
        reservation_ttl_max: seconds(3_600),
        ..ChannelPolicy::default()
    };
    put_policy(&server, units).await;
    let percent = ChannelPolicy {
        channel_id: "app".to_owned(),
        buffer: Some(Buffer::BufferPercent(25)),
        ..ChannelPolicy::default()
    };
    put_policy(&server, percent).await;
    for (channel, available) in [("web", 7), ("app", 7), ("", 10)] {
        // 25 % of 10, rounded up to whole units, are 3.
        assert_eq!(server.available_to(channel, "shop", "jam").await, available, "{channel}");
        let ask = |units| CreateReservationRequest {
            channel_id: channel.to_owned(),
            ..create(&format!("{channel}-{units}"), "shop", vec![line("jam", units)])
        };
        let refused = server.create(ask(available + 1)).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
        assert_eq!(told["available"], available.to_string(), "{channel}");
        let made = server.create(ask(available)).await.unwrap();
        assert_eq!(made.channel_id, channel);
        assert_eq!(server.available_to(channel, "shop", "jam").await, 0, "{channel}");
        server.cancel(&format!("c-{channel}"), &made.reservation_id).await.unwrap();
        server.caught_up().await;
    }
    let web = |ttl, units| CreateReservationRequest {
        channel_id: "web".to_owned(),
        ttl,
        ..create("k1", "shop", vec![line("jam", units)])
    };
    let refused = server.create(web(seconds(3_601), 9)).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "TTL_EXCEEDED");
    assert_eq!(told["ttl_max_ms"], "3600000");
    let refused = server.create(web(seconds(3_600), 9)).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "UNITS_PER_ORDER_EXCEEDED");
    let made = server.create(web(seconds(3_600), 1)).await.unwrap();
    let refused = server.amend("k2", &made.reservation_id, vec![line("jam", 9)]).await;
    explained(&refused.unwrap_err(), Code::FailedPrecondition, "UNITS_PER_ORDER_EXCEEDED");
    let refused = server.extend("k3", &made.reservation_id, 3_601).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "TTL_EXCEEDED");
}

#[tokio::test]
async fn a_reservation_is_amended_extended_and_paid() {
    let server = shops().await;
    let request = create("k1", "shop", vec![line("jam", 4), line("tea", 1)]);
    let settlement = Settlement::PayInStore as i32;
    let request = CreateReservationRequest { settlement, ttl: seconds(600), ..request };
    let made = server.create(request.clone()).await.unwrap();
    let id = &made.reservation_id;
    assert_eq!(micros(made.collect_by) - micros(made.created_at), 600_000_000);
    let amended = server.amend("k2", id, vec![line("tea", 2), line("jam", 3)]).await.unwrap();
    let mut lines: Vec<_> = amended.lines.iter().map(|line| (&*line.sku, line.quantity)).collect();
    lines.sort_unstable();
    assert_eq!(lines, [("jam", 3), ("tea", 2)]);
    assert_eq!(server.balances("shop", "jam").await, (10, 0, 3));
    assert_eq!(server.balances("shop", "tea").await, (2, 0, 2));
    let extended = server.extend("k3", id, 86_400).await.unwrap();
    let lasts = micros(extended.expires_at) - micros(extended.changed_at);
    assert_eq!(lasts, 86_400_000_000, "counted from now");
    assert_eq!(extended.collect_by, extended.expires_at);
    let paid = server.confirm_payment("k4", id).await.unwrap();
    assert_eq!(paid.paid_at, paid.changed_at);
    assert!(micros(paid.expires_at) >= micros(extended.expires_at), "a later end stands");
    let refused = server.confirm_payment("k5", id).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "RESERVATION_STATE");

    // What was picked cannot be amended away.
    server.start_picking("k6", id).await.unwrap();
    server.report_pick("k7", id, &[("jam", 3, "")]).await.unwrap();
    let refused = server.amend("k8", id, vec![line("jam", 2)]).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "LINE_EXCEEDED");
    let fewer = server.amend("k8", id, vec![line("jam", 4)]).await.unwrap();
    assert_eq!((fewer.lines.len(), fewer.lines[0].quantity, fewer.lines[0].picked), (1, 4, 3));
    assert_eq!(server.balances("shop", "jam").await, (7, 3, 1));
    assert_eq!(server.balances("shop", "tea").await, (2, 0, 0));
    server.mark_ready("k9", id).await.unwrap();
    let refused = server.amend("k10", id, vec![line("jam", 4)]).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "RESERVATION_STATE");
    server.collect("k11", id).await.unwrap();

    // Every step answers a second time as it did the first, whatever happened since.
    assert_eq!(server.create(request).await.unwrap(), made);
    let again = server.amend("k2", id, vec![line("tea", 2), line("jam", 3)]).await.unwrap();
    assert_eq!(again, amended);
    assert_eq!(server.extend("k3", id, 86_400).await.unwrap(), extended);
    assert_eq!(server.confirm_payment("k4", id).await.unwrap(), paid);
    let other = server.extend("k3", id, 86_401).await.unwrap_err();
    explained(&other, Code::AlreadyExists, "KEY_REUSED");
}

#[tokio::test]
async fn both_sides_may_give_up_and_each_is_told_apart() {
    let server = shops().await;
    let mut by = Vec::new();
    for (number, begun) in [false, true, false, true].into_iter().enumerate() {
        let key = |what: &str| format!("{what}-{number}");
        let made = server.reserve(&key("made"), "shop", "jam", 2).await.unwrap();
        let id = &made.reservation_id;
        if begun {
            server.start_picking(&key("begun"), id).await.unwrap();
        }
        let who = if number < 2 { CancelledBy::Customer } else { CancelledBy::Store };
        let ended = server.cancel_by(who, "too_late", &key("ended"), id).await.unwrap();
        assert_eq!((&*ended.reason, ended.cancelled_by()), ("too_late", who));
        let again = server.cancel_by(who, "too_late", &key("ended"), id).await.unwrap();
        assert_eq!(again, ended);
        let refused = server.cancel_by(who, "too_late", &key("other"), id).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "RESERVATION_STATE");
        by.push(ended.state());
    }
    let cancelled = ReservationState::Cancelled;
    assert_eq!(by, [cancelled, cancelled, ReservationState::Rejected, cancelled]);
    assert_eq!(server.balances("shop", "jam").await, (10, 0, 0));
}

#[tokio::test]
async fn goods_are_handed_over_whole_or_in_parts_to_whoever_has_the_code() {
    let server = shops().await;
    let request = create("k1", "shop", vec![line("jam", 4), line("tea", 2)]);
    let made = server.create(request).await.unwrap();
    let id = &made.reservation_id;
    let other = server.reserve("k2", "shop", "jam", 1).await.unwrap();
    assert_eq!(made.pickup_code.len(), 8);
    assert_ne!(made.pickup_code, other.pickup_code);
    // What only separates the groups of a code is a wrong code, and not none.
    for wrong in [&*other.pickup_code, "-", "--- -"] {
        let refused = server.hand_over(collection("k3", id, wrong)).await.unwrap_err();
        explained(&refused, Code::FailedPrecondition, "PICKUP_CODE_WRONG");
    }
    let lines = |lines| CollectReservationRequest {
        lines,
        actor: "clerk-7".to_owned(),
        ..collection("k3", id, &made.pickup_code.to_lowercase())
    };
    let refused = server.hand_over(lines(vec![line("gin", 1)])).await.unwrap_err();
    assert_eq!(explained(&refused, Code::FailedPrecondition, "LINE_UNKNOWN")["sku"], "gin");
    let refused = server.hand_over(lines(vec![line("jam", 5)])).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "LINE_EXCEEDED");
    assert_eq!((&*told["sku"], &*told["left"]), ("jam", "4"));
    let part = lines(vec![line("jam", 3)]);
    let partly = server.hand_over(part.clone()).await.unwrap();
    assert_eq!(partly.state(), ReservationState::Reserved, "the rest still stands");
    assert_eq!((partly.lines[0].collected, partly.lines[1].collected), (3, 0));
    assert_eq!(server.balances("shop", "jam").await, (7, 0, 2));
    assert_eq!(server.hand_over(part).await.unwrap(), partly, "the first answer");
    // People write codes in groups.
    let (left, right) = made.pickup_code.split_at(4);
    let whole = server.hand_over(collection("k4", id, &format!("{left} {right}"))).await.unwrap();
    assert_eq!(whole.state(), ReservationState::Collected);
    assert_eq!(server.balances("shop", "jam").await, (6, 0, 1));
    assert_eq!(server.balances("shop", "tea").await, (0, 0, 0));
    let refused = server.collect("k5", id).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "RESERVATION_STATE");
    assert_eq!(told["state"], "COLLECTED");
}

#[tokio::test]
async fn every_step_is_in_the_ledger_with_who_and_why() {
    let server = shops().await;
    server.put_channel("web").await;
    let request = create("k1", "shop", vec![line("jam", 4)]);
    let request = CreateReservationRequest { channel_id: "web".to_owned(), ..request };
    let made = server.create(request).await.unwrap();
    let id = &made.reservation_id;
    server.start_picking("k2", id).await.unwrap();
    let request = MarkReadyRequest {
        request_id: "k3".to_owned(),
        reservation_id: id.clone(),
        actor: "clerk-7".to_owned(),
    };
    let ready = server.reservations().mark_ready(request).await.unwrap().into_inner();
    server.extend("k4", id, 3_600).await.unwrap();
    server.cancel_by(CancelledBy::Store, "till_broken", "k5", id).await.unwrap();
    server.return_to_shelf("k6", id).await.unwrap();
    let mut entries = server.entries_of("shop", "jam").await;
    entries.retain(|entry| entry.reservation_id == *id);
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (&*entry.key, entry.kind(), entry.quantity, entry.reservation_state()))
        .collect();
    assert_eq!(
        told,
        [
            ("k1", MovementKind::Reserve, 4, ReservationState::Reserved),
            ("k2", MovementKind::Step, 0, ReservationState::Picking),
            ("k3", MovementKind::Pick, 4, ReservationState::Ready),
            ("k4", MovementKind::Step, 0, ReservationState::Ready),
            ("k5", MovementKind::Step, 0, ReservationState::Cancelled),
            ("k6", MovementKind::Unpick, 4, ReservationState::Cancelled),
        ]
    );
    assert!(entries.iter().all(|entry| entry.channel_id == "web"), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.source == "anonymous"), "{entries:?}");
    assert_eq!((&*entries[2].actor, &*entries[4].reason), ("clerk-7", "till_broken"));
    let moved = (entries[2].from_state(), entries[2].to_state());
    assert_eq!(moved, (StockState::Sellable, StockState::Staged));
    assert_eq!(ready.reservation.unwrap().version, entries[2].seq, "a version is an entry");
}
