//! Holds that the ledger keeps while the reservation layer is away.

use super::*;

fn made_from(hold: HoldId, quantity: i64) -> Create {
    Create { hold: Some(hold), ..create(vec![units(0, quantity)], None) }
}

#[test]
fn a_hold_never_blocks_its_owner_and_is_consumed_once() {
    let mut shops = Shops::with(&[(0, 0, 3)]);
    let hold = shops.hold(0, vec![units(0, 3)], 600);
    assert_eq!(short(shops.reserve(0, vec![units(0, 1)])), [("i0".to_owned(), 1, 0)]);
    let refused = shops.create(0, made_from(hold, 4));
    assert_eq!(short(refused), [("i0".to_owned(), 4, 3)]);
    assert_eq!(shops.create(1, made_from(hold, 1)), Err(Refusal::HoldElsewhere));
    let made = shops.create(0, made_from(hold, 2)).unwrap();
    assert_eq!((made.state, made.hold), (State::Reserved, Some(hold.digest)));
    assert_eq!(shops.stock(0, 0), [3, 0, 2], "what it held beyond that is free");
    assert_eq!(shops.create(0, made_from(hold, 1)), Err(Refusal::HoldConsumed));
    assert_eq!(shops.change_hold(hold, extend(600)), Err(Refusal::HoldConsumed));
}

#[test]
fn a_hold_that_has_ended_helps_no_more_and_does_not_hurt() {
    let mut shops = Shops::with(&[(0, 0, 3)]);
    let hold = shops.hold(0, vec![units(0, 2)], 60);
    shops.later(60);
    shops.change_hold(hold, Change::Expire).unwrap();
    assert_eq!(shops.stock(0, 0), [3, 0, 0]);
    assert_eq!(shops.change_hold(hold, extend(60)), Err(Refusal::HoldEnded));
    assert_eq!(short(shops.create(0, made_from(hold, 4))), [("i0".to_owned(), 4, 3)]);
    shops.create(0, made_from(hold, 3)).unwrap();
    let nobody = HoldId::of("cart", LOCATIONS[0].1, "nobody");
    let hold_id = nobody.to_string();
    assert_eq!(shops.change_hold(nobody, extend(60)), Err(Refusal::HoldUnknown { hold_id }));
}

#[test]
fn releasing_again_changes_nothing_and_is_no_error() {
    let mut shops = Shops::with(&[(0, 0, 3)]);
    let hold = shops.hold(0, vec![units(0, 2)], 60);
    let released = shops.change_hold(hold, Change::Release).unwrap();
    assert_eq!((released.state, shops.stock(0, 0)), (State::Released, [3, 0, 0]));
    let entries = shops.memory.entries().count();
    assert_eq!(shops.change_hold(hold, Change::Release).unwrap(), released);
    assert_eq!(shops.memory.entries().count(), entries);
}

#[test]
fn a_hold_is_extended_and_never_cut_short() {
    let mut shops = Shops::with(&[(0, 0, 3)]);
    let hold = shops.hold(0, vec![units(0, 2)], 600);
    let end = Timestamp(NOW.0 + 600 * SECOND);
    assert_eq!(shops.change_hold(hold, extend(60)).unwrap().expires_at, end);
    shops.later(60);
    let end = Timestamp(NOW.0 + 660 * SECOND);
    assert_eq!(shops.change_hold(hold, extend(600)).unwrap().expires_at, end);
    let ttl_max_ms = 3_600_000;
    assert_eq!(shops.change_hold(hold, extend(3_601)), Err(Refusal::TtlExceeded { ttl_max_ms }));
}

#[test]
fn a_hold_gets_other_lines_all_or_none() {
    let mut shops = Shops::with(&[(0, 0, 3), (0, 1, 2)]);
    let hold = shops.hold(0, vec![units(0, 3)], 600);
    let refused = shops.change_hold(hold, amend(vec![units(0, 1), units(1, 3)]));
    assert_eq!(short(refused), [("i1".to_owned(), 3, 2)]);
    assert_eq!((shops.stock(0, 0), shops.stock(0, 1)), ([3, 0, 3], [2, 0, 0]));
    shops.change_hold(hold, amend(vec![units(0, 1), units(1, 2)])).unwrap();
    assert_eq!((shops.stock(0, 0), shops.stock(0, 1)), ([3, 0, 1], [2, 0, 2]));
}

#[test]
fn sales_consume_the_hold_that_they_name() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let hold = shops.hold(0, vec![units(0, 3)], 600);
    let mut sell = |quantity, hold: HoldId| {
        let hold_id = hold.to_string();
        let flags = shops.fact(0, Draft { quantity, hold_id, ..draft(Kind::Sale, 0) });
        (flags, shops.stock(0, 0))
    };
    assert_eq!(sell(1, hold), (Flags::default(), [4, 0, 2]));
    assert_eq!(sell(3, hold), (Flags::default(), [1, 0, 0]), "one more than was left of it");
    assert_eq!(sell(1, hold), (Flags::PROMISE_UNKNOWN, [0, 0, 0]), "it is finished");
    let elsewhere = HoldId::of("cart", LOCATIONS[0].1, "in the reservation layer");
    assert_eq!(sell(1, elsewhere), (Flags::default(), [-1, 0, 0]));
}

#[test]
fn a_hold_of_which_all_was_sold_is_consumed_however_it_came_to_that() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let hold = shops.hold(0, vec![units(0, 3)], 600);
    let hold_id = hold.to_string();
    shops.fact(0, Draft { quantity: 2, hold_id, ..draft(Kind::Sale, 0) });
    let amended = shops.change_hold(hold, amend(vec![units(0, 2)])).unwrap();
    assert_eq!((amended.state, shops.stock(0, 0)), (State::Consumed, [3, 0, 0]));
}
