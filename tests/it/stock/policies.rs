//! What a channel may promise of a position, and what a policy may say.

use proptest::prelude::*;
use stockroom::stock::{
    channel_policy::{Band, Policy, RESERVATION_TTL_MAX, Rule, Shown, Unanswered, Visibility},
    ids::{ItemNo, LocationNo, Partition, Place, PositionKey},
    policy::{Buffer, available, unserved},
    reservation::Settlement,
    time::SECOND,
};

const fn units(units: i64) -> Buffer {
    Buffer { units, percent: 0 }
}

const fn percent(percent: i64) -> Buffer {
    Buffer { units: 0, percent }
}

#[test]
fn what_is_promised_held_and_kept_back_is_not_available() {
    for (sellable, reserved, held, buffer, expected) in [
        (10, 0, 0, units(0), 10),
        (10, 3, 2, units(0), 5),
        (10, 3, 2, units(4), 1),
        (10, 3, 2, units(6), 0),
        (10, 12, 0, units(0), 0),
        (0, 0, 0, percent(100), 0),
        (-5, 0, 0, percent(10), 0),
        (1, 0, 0, percent(1), 0),
        (10, 0, 0, percent(10), 9),
        (11, 0, 0, percent(10), 9),
        (100, 1, 0, percent(1), 98),
        (10, 0, 0, percent(100), 0),
        (i64::MAX, 0, 0, percent(1), i64::MAX - 92_233_720_368_547_759),
        (i64::MAX, i64::MIN, i64::MIN, units(0), i64::MAX),
        (i64::MIN, i64::MAX, i64::MAX, units(i64::MAX), 0),
    ] {
        let found = available(sellable, reserved, held, buffer);
        assert_eq!(found, expected, "{sellable} {reserved} {held} {buffer:?}");
    }
}

proptest! {
    #[test]
    fn a_buffer_is_never_less_than_its_share_and_never_a_unit_more(
        sellable in 0..1_i64 << 53,
        share in 0..=100_i64,
    ) {
        let kept = sellable - available(sellable, 0, 0, percent(share));
        let exact = i128::from(sellable) * i128::from(share);
        prop_assert!(i128::from(kept) * 100 >= exact);
        prop_assert!((i128::from(kept) - 1) * 100 < exact);
    }
}

#[test]
fn a_policy_out_of_bounds_names_the_field() {
    let good = Policy::default;
    assert_eq!(good().flaw(), None);
    let day = 86_400 * SECOND;
    let cases = [
        (Policy { buffer: units(-1), ..good() }, "buffer_units"),
        (Policy { buffer: units(1_000_000_001), ..good() }, "buffer_units"),
        (Policy { buffer: percent(101), ..good() }, "buffer_percent"),
        (Policy { buffer: Buffer { units: 1, percent: 1 }, ..good() }, "buffer_percent"),
        (Policy { units_per_order_max: -1, ..good() }, "units_per_order_max"),
        (Policy { units_per_order_max: 1_000_000_001, ..good() }, "units_per_order_max"),
        (Policy { hold_ttl_max: 3_600 * SECOND + 1, ..good() }, "hold_ttl_max"),
        (Policy { hold_ttl_max: SECOND - 1, ..good() }, "hold_ttl_max"),
        (Policy { hold_ttl_default: SECOND - 1, ..good() }, "hold_ttl_default"),
        (Policy { hold_ttl_max: 60 * SECOND, ..good() }, "hold_ttl_default"),
        (Policy { reservation_ttl_max: 31 * day + 1, ..good() }, "reservation_ttl_max"),
        (Policy { reservation_ttl_max: 0, ..good() }, "reservation_ttl_max"),
        (Policy { collect_days_paid_online: 32, ..good() }, "collect_days_paid_online"),
        (Policy { collect_days_pay_in_store: 32, ..good() }, "collect_days_pay_in_store"),
        (Policy { few_left_max: -1, ..good() }, "few_left_max"),
        (Policy { few_left_max: 1_000_000_001, ..good() }, "few_left_max"),
        (Policy { answer_timeout: Some(0), ..good() }, "answer_timeout"),
        (Policy { answer_timeout: Some(RESERVATION_TTL_MAX + 1), ..good() }, "answer_timeout"),
    ];
    for (policy, field) in cases {
        assert_eq!(policy.flaw(), Some(field), "{policy:?}");
    }
    let narrow = Policy {
        buffer: percent(100),
        units_per_order_max: 1,
        hold_ttl_default: SECOND,
        hold_ttl_max: SECOND,
        reservation_ttl_max: SECOND,
        collect_days_paid_online: 0,
        collect_days_pay_in_store: 0,
        answer_timeout: Some(SECOND),
        unanswered: Unanswered::Move,
        visibility: Visibility::Band,
        few_left_max: 1_000_000_000,
        version: 1,
        ..good()
    };
    assert_eq!(narrow.flaw(), None);
    assert_eq!(good().collect_days(Settlement::PaidOnline), 7);
    assert_eq!(good().collect_days(Settlement::PayInStore), 2);
}

#[test]
fn f14_a_shortfall_hits_the_newest_promises_as_far_as_it_reaches() {
    let promises = || [("new", 2), ("old", 3), ("oldest", 1)];
    let cases = [
        (0, vec![]),
        (-1, vec![]),
        (1, vec![("new", 1)]),
        (2, vec![("new", 2)]),
        (3, vec![("new", 2), ("old", 1)]),
        (9, promises().to_vec()),
    ];
    for (shortfall, expected) in cases {
        assert_eq!(unserved(shortfall, promises()), expected, "{shortfall}");
    }
}

fn key(location: i32, item: i32) -> PositionKey {
    let place = Place { partition: Partition(0), location: LocationNo(location) };
    PositionKey { place, item: ItemNo(item) }
}

/// A rule for an item and a location; 0: any.
fn rule(item: i32, location: i32, buffer: Option<Buffer>, cap: Option<i64>) -> Rule {
    Rule {
        item: Some(ItemNo(item)).filter(|_| item > 0),
        location: Some(LocationNo(location)).filter(|_| location > 0),
        buffer,
        units_per_order_max: cap,
    }
}

#[test]
fn an_item_at_a_location_goes_before_the_item_and_that_before_the_location() {
    let rules = [
        rule(1, 1, Some(units(11)), None),
        rule(1, 0, Some(percent(1)), Some(10)),
        rule(0, 1, Some(units(1)), Some(1)),
        rule(2, 1, None, Some(21)),
        rule(3, 0, Some(units(0)), Some(0)),
    ];
    let policy = Policy {
        buffer: units(7),
        units_per_order_max: 70,
        rules: rules.into_iter().collect(),
        ..Policy::default()
    };
    for (location, item, buffer, cap) in [
        (1, 1, units(11), 10),
        (2, 1, percent(1), 10),
        (1, 2, units(1), 21),
        (1, 3, units(0), 0),
        (2, 3, units(0), 0),
        (1, 4, units(1), 1),
        (2, 2, units(7), 70),
        (2, 4, units(7), 70),
    ] {
        let at = key(location, item);
        assert_eq!((policy.buffer_at(at), policy.cap_at(at)), (buffer, cap), "{at:?}");
        let left = available(50, 3, 2, buffer);
        assert_eq!(policy.available(at, 50, 3, 2), left, "{at:?}");
    }
}

#[test]
fn nothing_is_available_where_a_channel_may_not_promise() {
    let policy = Policy { eligible: [LocationNo(2)].into_iter().collect(), ..Policy::default() };
    assert_eq!(policy.available(key(1, 1), 50, 0, 0), 0);
    assert_eq!(policy.available(key(2, 1), 50, 0, 0), 50);
    assert_eq!(Policy::default().available(key(1, 1), 50, 0, 0), 50, "none named: all");
}

#[test]
fn a_band_tells_the_least_that_lies_in_it() {
    let exact = Policy::default();
    let bands = Policy { visibility: Visibility::Band, few_left_max: 3, ..Policy::default() };
    let no_few = Policy { few_left_max: 0, ..bands.clone() };
    let told = |available, band| Shown { available, band: Some(band) };
    for units in [0, 1, 3, 4, 1_000] {
        assert_eq!(exact.shown(units), Shown { available: units, band: None });
        let band = match units {
            0 => told(0, Band::Out),
            1..=3 => told(1, Band::FewLeft),
            _ => told(4, Band::InStock),
        };
        assert_eq!(bands.shown(units), band, "{units}");
        let band = if units == 0 { told(0, Band::Out) } else { told(1, Band::InStock) };
        assert_eq!(no_few.shown(units), band, "{units}");
    }
}
