//! What a policy says of single items and locations, and what it lets a channel see: the same for every
//! answer and every grant, with Redis and without.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use stockroom::api::proto::{
    Band, ChannelPolicy, CheckAvailabilityRequest, CreateReservationRequest,
    ExplainAvailabilityRequest, FindPickupLocationsRequest, HoldStockRequest, Line, Location,
    MoveReservationRequest, PolicyRule, PreviewChannelPolicyRequest, PreviewedChange,
    PutLocationRequest, UnansweredAction, Visibility, policy_rule::Buffer,
};
use tonic::{Code, Status};

use crate::harness::{
    availability::check,
    errors::explained,
    holds::hold,
    movements::{Became as _, receipt},
    policies::keep,
    redis::Redis,
    reservations::{create, line, pick},
    server::Server,
};

const BOTH: [Redis; 2] = [Redis::Real, Redis::Absent];

/// Two shops near each other with 20 jam and 20 tea each.
async fn shops(redis: Redis) -> Server {
    let server = Server::start_as(redis).await;
    for (number, shop) in ["north", "south"].into_iter().enumerate() {
        let location = Location {
            location_id: shop.to_owned(),
            latitude: Some(52.0),
            longitude: Some(13.0 + number as f64 / 10.0),
            pickup_enabled: true,
            ..Location::default()
        };
        let request = PutLocationRequest { location: Some(location) };
        server.network().put_location(request).await.unwrap();
        for sku in ["jam", "tea"] {
            server.record_one(receipt(sku, shop, sku, 20)).await.recorded();
        }
    }
    server.holds_kept("north", "jam").await;
    server
}

fn web() -> ChannelPolicy {
    ChannelPolicy { channel_id: "web".to_owned(), ..ChannelPolicy::default() }
}

fn held(key: &str, shop: &str, lines: Vec<Line>) -> HoldStockRequest {
    HoldStockRequest { channel_id: "web".to_owned(), ..hold(key, shop, lines) }
}

fn reserved(key: &str, shop: &str, lines: Vec<Line>) -> CreateReservationRequest {
    CreateReservationRequest { channel_id: "web".to_owned(), ..create(key, shop, lines) }
}

fn nearby(sku: &str, units: i64) -> FindPickupLocationsRequest {
    FindPickupLocationsRequest {
        channel_id: "web".to_owned(),
        lines: vec![line(sku, units)],
        latitude: Some(52.0),
        longitude: Some(13.0),
        include_incomplete: true,
        ..FindPickupLocationsRequest::default()
    }
}

/// Units that each shop near by lacks.
async fn missing(server: &Server, request: FindPickupLocationsRequest) -> Vec<(String, i64)> {
    let found = server.availability().find_pickup_locations(request).await.unwrap().into_inner();
    let missing = found.locations.into_iter().map(|location| {
        let units = location.missing.iter().map(|line| line.quantity).sum();
        (location.location_id, units)
    });
    missing.collect()
}

#[tokio::test]
async fn an_exception_binds_every_answer_and_every_grant() {
    for redis in BOTH {
        let server = shops(redis).await;
        let cap = PolicyRule { units_per_order_max: Some(6), ..keep("tea", "", 12) };
        let rules = vec![keep("", "north", 5), keep("jam", "north", 9), cap];
        server.put_policy(ChannelPolicy { rules, ..web() }).await.unwrap();
        for (shop, sku, available) in
            [("north", "jam", 11), ("north", "tea", 8), ("south", "jam", 20), ("south", "tea", 8)]
        {
            let told = server.available_to("web", shop, sku).await;
            assert_eq!(told, available, "{redis:?} {shop} {sku}");
        }
        let short = |refused: Status| {
            let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
            told["available"].clone()
        };
        let refused = server.hold(held("h1", "north", vec![line("jam", 12)])).await.unwrap_err();
        assert_eq!(short(refused), "11", "{redis:?}");
        let refused = server.create(reserved("k1", "north", vec![line("jam", 12)])).await;
        assert_eq!(short(refused.unwrap_err()), "11", "{redis:?}");
        assert_eq!(
            missing(&server, nearby("jam", 12)).await,
            [("north".to_owned(), 1), ("south".to_owned(), 0)],
            "{redis:?}"
        );
        let refused = server.hold(held("h2", "south", vec![line("tea", 7)])).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "UNITS_PER_ORDER_EXCEEDED");
        assert_eq!((&*told["sku"], &*told["units_max"]), ("tea", "6"), "{redis:?}");
        server.hold(held("h3", "north", vec![line("jam", 4), line("tea", 6)])).await.unwrap();
        server.create(reserved("k2", "north", vec![line("jam", 7)])).await.unwrap();
        assert_eq!(server.available_to("web", "north", "jam").await, 0, "{redis:?}");
        assert_eq!(server.available("north", "jam").await, 9, "{redis:?}: kept for the others");
    }
}

#[tokio::test]
async fn nothing_is_promised_where_the_channel_is_not_eligible() {
    for redis in BOTH {
        let server = shops(redis).await;
        let made = server.create(reserved("k0", "north", vec![line("jam", 2)])).await;
        explained(&made.unwrap_err(), Code::NotFound, "CHANNEL_UNKNOWN");
        server.put_policy(web()).await.unwrap();
        let made = server.create(reserved("k0", "north", vec![line("jam", 2)])).await.unwrap();
        let south = vec!["south".to_owned()];
        let unanswered = UnansweredAction::Move as i32;
        let policy = ChannelPolicy { eligible_location_ids: south, unanswered, ..web() };
        server.put_policy(policy).await.unwrap();
        assert_eq!(server.available_to("web", "north", "jam").await, 0, "{redis:?}");
        assert_eq!(server.available_to("web", "south", "jam").await, 20, "{redis:?}");
        assert_eq!(server.available("north", "jam").await, 18, "{redis:?}: for the others");
        let refused = |status: Status| {
            explained(&status, Code::FailedPrecondition, "LOCATION_NOT_ELIGIBLE");
        };
        // Whatever there is: it is not said that stock is short.
        for units in [1, 100] {
            let (h, k) = (format!("h{units}"), format!("k{units}"));
            let lines = || vec![line("jam", units)];
            refused(server.hold(held(&h, "north", lines())).await.unwrap_err());
            refused(server.create(reserved(&k, "north", lines())).await.unwrap_err());
        }
        let id = &made.reservation_id;
        refused(server.amend("a1", id, vec![line("jam", 3)]).await.unwrap_err());
        server.amend("a2", id, vec![line("jam", 1)]).await.unwrap();
        let there = server.create(reserved("k9", "south", vec![line("jam", 1)])).await.unwrap();
        let back = MoveReservationRequest {
            request_id: "m1".to_owned(),
            reservation_id: there.reservation_id.clone(),
            location_id: "north".to_owned(),
            ..MoveReservationRequest::default()
        };
        refused(server.reservations().move_reservation(back).await.unwrap_err());
        assert_eq!(missing(&server, nearby("tea", 1)).await, [("south".to_owned(), 0)]);
        // What the shop cannot give goes nowhere, as nobody else may give it.
        server.caught_up().await;
        let told = server.pick(pick("p1", &there.reservation_id, &[("jam", 0, "")])).await.unwrap();
        assert_eq!(told.reservation.unwrap().location_id, "south", "{redis:?}");
        assert_eq!(told.proposed_locations, [], "{redis:?}");
        let request = ExplainAvailabilityRequest {
            channel_id: "web".to_owned(),
            location_id: "north".to_owned(),
            sku: "tea".to_owned(),
        };
        let told = server.availability().explain_availability(request).await.unwrap().into_inner();
        let last = told.terms.last().unwrap();
        assert_eq!((&*last.term, last.quantity, told.available), ("not_eligible", -20, 0));
    }
}

#[tokio::test]
async fn a_band_does_not_leak_the_number() {
    for redis in BOTH {
        let server = shops(redis).await;
        server.record_one(receipt("more", "north", "jam", 7_731 - 20)).await.recorded();
        let visibility = Visibility::Band as i32;
        let rules = vec![keep("tea", "south", 20)];
        let policy = ChannelPolicy { visibility, few_left_max: 30, rules, ..web() };
        server.put_policy(policy).await.unwrap();
        server.caught_up().await;
        for (shop, sku, band, least) in [
            ("north", "jam", Band::InStock, 31),
            ("north", "tea", Band::FewLeft, 1),
            ("south", "tea", Band::Out, 0),
            ("south", "never heard of", Band::Out, 0),
        ] {
            let channel_id = "web".to_owned();
            let request = CheckAvailabilityRequest { channel_id, ..check(shop, sku) };
            let told = server.check(request).await.unwrap();
            assert_eq!((told.band(), told.available), (band, least), "{redis:?} {shop} {sku}");
        }
        let told = server.check(check("north", "jam")).await.unwrap();
        assert_eq!((told.band(), told.available), (Band::Unspecified, 7_731), "no channel");
        let request = ExplainAvailabilityRequest {
            channel_id: "web".to_owned(),
            location_id: "north".to_owned(),
            sku: "jam".to_owned(),
        };
        let explained_to_it = server.availability().explain_availability(request).await.unwrap();
        let explained_to_it = explained_to_it.into_inner();
        assert_eq!(explained_to_it.band(), Band::InStock);
        let refusals = [
            server.hold(held("h1", "north", vec![line("jam", 7_740)])).await.unwrap_err(),
            server.create(reserved("k1", "north", vec![line("jam", 7_740)])).await.unwrap_err(),
        ];
        for refused in &refusals {
            let told = explained(refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
            assert_eq!((&*told["available"], &*told["band"]), ("31", "IN_STOCK"), "{redis:?}");
            assert!(!format!("{refused:?}").contains("7731"), "{redis:?}: {refused:?}");
        }
        let near = server.availability().find_pickup_locations(nearby("jam", 7_740)).await.unwrap();
        assert_eq!(missing(&server, nearby("jam", 7_740)).await[0], ("north".to_owned(), 7_709));
        let near = format!("{:?} {explained_to_it:?}", near.into_inner().locations);
        assert!(!near.contains("7731"), "{redis:?}: {near}");
        let tea = missing(&server, nearby("tea", 20)).await;
        assert_eq!(tea[0], ("north".to_owned(), 0), "{redis:?}: a hold would say the same");
    }
}

#[tokio::test]
async fn a_preview_says_what_would_change_and_changes_nothing() {
    for redis in BOTH {
        let server = shops(redis).await;
        server.create(create("k", "south", vec![line("jam", 5)])).await.unwrap();
        let rules = vec![keep("", "north", 5)];
        server.put_policy(ChannelPolicy { rules, ..web() }).await.unwrap();
        server.caught_up().await;
        let rules = vec![keep("jam", "", 15), keep("tea", "south", 1)];
        let preview = |policy, skus: &[&str], location_ids: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let (skus, location_ids) = (names(skus), names(location_ids));
            PreviewChannelPolicyRequest { policy: Some(policy), skus, location_ids }
        };
        let ask = async |request| server.network().preview_channel_policy(request).await;
        let policy = ChannelPolicy { rules, visibility: Visibility::Band as i32, ..web() };
        let request = preview(policy.clone(), &["jam", "tea", "never heard of"], &[]);
        let told = ask(request).await.unwrap().into_inner();
        let change = |change: &PreviewedChange| {
            let (now, then) = (change.available_now, change.available_then);
            (format!("{} {}", change.location_id, change.sku), now, then)
        };
        let changes: Vec<_> = told.changes.iter().map(change).collect();
        let expected = [
            ("north jam".to_owned(), 15, 5),
            ("north tea".to_owned(), 15, 20),
            ("south jam".to_owned(), 15, 0),
            ("south tea".to_owned(), 20, 19),
        ];
        assert_eq!(changes, expected, "{redis:?}");
        let totals = (told.pairs, told.pairs_to_zero, told.units_more, told.units_less);
        assert_eq!((totals, told.version), ((6, 1, 5, 26), 1), "{redis:?}");
        assert_eq!(server.available_to("web", "north", "jam").await, 15, "{redis:?}");
        let elsewhere = vec!["south".to_owned()];
        let elsewhere = ChannelPolicy { eligible_location_ids: elsewhere, ..web() };
        let request = preview(elsewhere, &[], &["north"]);
        let told = ask(request).await.unwrap().into_inner();
        let totals = (told.pairs, told.pairs_to_zero, told.units_more, told.units_less);
        assert_eq!(totals, (2, 2, 0, 30), "{redis:?}: all that the shop has");
        for (request, reason) in [
            (preview(policy.clone(), &[], &[]), "FIELD_INVALID"),
            (preview(ChannelPolicy { few_left_max: -1, ..web() }, &["jam"], &[]), "FIELD_INVALID"),
            (preview(rules_of(keep("nothing", "", 1)), &["jam"], &[]), "FIELD_INVALID"),
            (preview(policy.clone(), &["j  m"], &[]), "SKU_INVALID"),
        ] {
            explained(&ask(request).await.unwrap_err(), Code::InvalidArgument, reason);
        }
        let nobody = ChannelPolicy { channel_id: "nobody".to_owned(), ..web() };
        let refused = ask(preview(nobody, &["jam"], &[])).await.unwrap_err();
        explained(&refused, Code::NotFound, "CHANNEL_UNKNOWN");
    }
}

fn rules_of(rule: PolicyRule) -> ChannelPolicy {
    ChannelPolicy { rules: vec![rule], ..web() }
}

#[tokio::test]
async fn rules_and_locations_are_returned_by_name_in_order() {
    let server = shops(Redis::Absent).await;
    let percent = PolicyRule { buffer: Some(Buffer::BufferPercent(5)), ..keep("jam", "south", 0) };
    let cap = PolicyRule { buffer: None, units_per_order_max: Some(0), ..keep("tea", "", 0) };
    let rules = vec![cap.clone(), percent.clone(), keep("jam", "", 3), keep("", "south", 0)];
    let eligible_location_ids = vec!["south".to_owned(), "north".to_owned()];
    let put = ChannelPolicy { rules, eligible_location_ids, ..web() };
    let stored = server.put_policy(put).await.unwrap();
    assert_eq!(stored.rules, [keep("", "south", 0), keep("jam", "", 3), percent, cap]);
    assert_eq!(stored.eligible_location_ids, ["north", "south"]);
    let request = stockroom::api::proto::GetChannelPolicyRequest { channel_id: "web".into() };
    let read = server.network().get_channel_policy(request).await.unwrap().into_inner();
    assert_eq!(read.policy.unwrap(), stored);
    let put = server.put_policy(ChannelPolicy { few_left_max: 1, ..web() }).await.unwrap();
    assert_eq!((put.version, put.rules, put.eligible_location_ids), (2, vec![], vec![]));
}

#[tokio::test]
async fn rules_out_of_bounds_are_refused_by_field() {
    let server = shops(Redis::Absent).await;
    let rules = |rules: &[PolicyRule]| ChannelPolicy { rules: rules.to_vec(), ..web() };
    let percent = |percent| PolicyRule {
        buffer: Some(Buffer::BufferPercent(percent)),
        ..keep("jam", "north", 0)
    };
    let cap = |cap| PolicyRule {
        units_per_order_max: Some(cap),
        buffer: None,
        ..keep("jam", "north", 0)
    };
    let many: Vec<_> = (0..1_001).map(|number| keep(&format!("i{number}"), "", 1)).collect();
    let eligible = |ids: &[&str]| ChannelPolicy {
        eligible_location_ids: ids.iter().map(|&id| id.to_owned()).collect(),
        ..web()
    };
    let good = keep("jam", "", 1);
    for (policy, field) in [
        (rules(&many), "policy.rules"),
        (rules(&[keep("", "", 1)]), "policy.rules[0].sku"),
        (rules(&[good.clone(), keep("j  m", "", 1)]), "policy.rules[1].sku"),
        (rules(&[keep("jam", "no rth", 1)]), "policy.rules[0].location_id"),
        (rules(&[good.clone(), keep("tea", "", 1), good.clone()]), "policy.rules[2].sku"),
        (rules(&[keep("jam", "", -1)]), "policy.rules[0].buffer_units"),
        (rules(&[percent(101)]), "policy.rules[0].buffer_percent"),
        (rules(&[cap(-1)]), "policy.rules[0].units_per_order_max"),
        (rules(&[PolicyRule { buffer: None, ..good.clone() }]), "policy.rules[0].buffer"),
        (rules(&[good.clone(), keep("unheard of", "", 1)]), "policy.rules[1].sku"),
        (rules(&[keep("jam", "nowhere", 1)]), "policy.rules[0].location_id"),
        (eligible(&["a b"]), "policy.eligible_location_ids"),
        (eligible(&["north", "north"]), "policy.eligible_location_ids"),
        (eligible(&["north", "nowhere"]), "policy.eligible_location_ids[1]"),
    ] {
        let status = server.put_policy(policy).await.expect_err(field);
        assert_eq!(explained(&status, Code::InvalidArgument, "FIELD_INVALID")["field"], field);
    }
}
