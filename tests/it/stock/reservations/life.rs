//! From a promise to the goods.

use super::*;

#[test]
fn a_reservation_is_promised_picked_made_ready_and_collected() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let made = shops.reserve(0, vec![units(0, 3)]).unwrap();
    assert_eq!((made.state, shops.stock(0, 0)), (State::Reserved, [5, 0, 3]));
    let picking = shops.change(made.id, Change::StartPicking).unwrap();
    assert_eq!((picking.state, shops.stock(0, 0)), (State::Picking, [5, 0, 3]));
    let ready = shops.change(made.id, Change::MarkReady).unwrap();
    assert_eq!((ready.state, shops.stock(0, 0)), (State::Ready, [2, 3, 0]));
    let collected = shops.change(made.id, collect(Vec::new())).unwrap();
    assert_eq!((collected.state, shops.stock(0, 0)), (State::Collected, [2, 0, 0]));
    for change in [Change::StartPicking, Change::MarkReady, Change::Expire] {
        assert_eq!(shops.change(made.id, change), wrong_state("COLLECTED"));
    }
}

#[test]
fn staff_may_hand_over_what_is_not_picked_yet_and_only_a_part() {
    let mut shops = Shops::with(&[(0, 0, 5), (0, 1, 5)]);
    let made = shops.reserve(0, vec![units(0, 3), units(1, 1)]).unwrap();
    let wrong_code = Change::Collect { lines: Vec::new(), code_fits: false };
    assert_eq!(shops.change(made.id, wrong_code), Err(Refusal::PickupCodeWrong));
    let part = shops.change(made.id, collect(vec![units(0, 2)])).unwrap();
    assert_eq!((part.state, line(&part)), (State::Reserved, [3, 2, 2, 0]));
    assert_eq!(shops.stock(0, 0), [3, 0, 1]);
    let (sku, left) = ("i0".to_owned(), 1);
    let refused = shops.change(made.id, collect(vec![units(0, 2)]));
    assert_eq!(refused, Err(Refusal::LineExceeded { sku, left }));
    let refused = shops.change(made.id, collect(vec![units(0, 9), units(2, 1)]));
    assert_eq!(refused, Err(Refusal::LineUnknown { sku: "i2".to_owned() }));
    let all = shops.change(made.id, collect(Vec::new())).unwrap();
    assert_eq!((all.state, shops.stock(0, 0)), (State::Collected, [2, 0, 0]));
}

#[test]
fn a_refusal_names_every_short_line_and_what_is_available() {
    let mut shops = Shops::with(&[(0, 0, 2), (0, 1, 5)]);
    let lines = vec![units(0, 3), units(1, 5), units(2, 1)];
    let both = [("i0".to_owned(), 3, 2), ("i2".to_owned(), 1, 0)];
    assert_eq!(short(shops.reserve(0, lines.clone())), both);
    let per_line = |lines| Create { per_line: true, ..create(lines, None) };
    let made = shops.create(0, per_line(lines)).unwrap();
    assert_eq!((made.lines.len(), line(&made)), (1, [5, 0, 0, 0]));
    let nothing = shops.create(0, per_line(vec![units(1, 1)]));
    assert_eq!(short(nothing), [("i1".to_owned(), 1, 0)]);
    let service = shops.reserve(0, vec![units(4, 1)]);
    assert_eq!(service, Err(Refusal::NotAStockItem));
}

#[test]
fn a_channel_keeps_its_buffer_back() {
    // One unit and a tenth of what is there.
    let mut shops = Shops::with(&[(0, 0, 11)]);
    let order = |quantity| create(vec![units(0, quantity)], Some(WEB));
    shops.create(0, order(5)).unwrap();
    assert_eq!(short(shops.create(0, order(4))), [("i0".to_owned(), 4, 3)]);
    shops.create(0, order(3)).unwrap();
    shops.reserve(0, vec![units(0, 3)]).unwrap();
    assert_eq!(shops.stock(0, 0), [11, 0, 11]);
}

#[test]
fn a_given_end_can_be_moved_and_a_payment_brings_the_rule_back() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let ttl = Some(60 * SECOND);
    let made = Create { ttl, ..create(vec![units(0, 1)], None) };
    let made = shops.create(0, made).unwrap();
    assert_eq!(made.expires_at, Timestamp(NOW.0 + 60 * SECOND));
    let sooner = shops.change(made.id, extend(30)).unwrap();
    assert_eq!(sooner.expires_at, Timestamp(NOW.0 + 30 * SECOND));
    let by_rule = shops.reserve(0, vec![units(0, 1)]).unwrap();
    let pay = || Change::ConfirmPayment { terms: terms(None) };
    let paid = shops.change(made.id, pay()).unwrap();
    assert_eq!((paid.paid_at, paid.expires_at), (Some(NOW), by_rule.expires_at));
    assert_eq!(shops.change(made.id, pay()), wrong_state("RESERVED"), "once");
}

#[test]
fn what_the_store_declines_is_rejected_and_later_cancelled() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let by = CancelledBy::Store;
    let made = shops.reserve(0, vec![units(0, 1)]).unwrap();
    let declined = shops.change(made.id, Change::Cancel { by }).unwrap();
    assert_eq!((declined.state, declined.cancelled_by), (State::Rejected, Some(by)));
    let made = shops.ready(0, 0, 1, 600);
    let cancelled = shops.change(made.id, Change::Cancel { by }).unwrap();
    assert_eq!((cancelled.state, shops.stock(0, 0)), (State::Cancelled, [4, 1, 0]));
}

#[test]
fn amended_quantities_keep_what_was_picked() {
    let mut shops = Shops::with(&[(0, 0, 5), (0, 1, 5)]);
    let made = shops.reserve(0, vec![units(0, 3), units(1, 1)]).unwrap();
    shops.change(made.id, collect(vec![units(0, 2)])).unwrap();
    let (sku, left) = ("i0".to_owned(), 1);
    let refused = shops.change(made.id, amend(vec![units(0, 1), units(1, 1)]));
    assert_eq!(refused, Err(Refusal::LineExceeded { sku, left }));
    let more = shops.change(made.id, amend(vec![units(0, 5), units(1, 1)])).unwrap();
    assert_eq!((line(&more), shops.stock(0, 0)), ([5, 2, 2, 0], [3, 0, 3]));
    let done = shops.change(made.id, amend(vec![units(0, 2)])).unwrap();
    assert_eq!(done.state, State::Collected, "all that is left of it was handed over");
    assert_eq!((shops.stock(0, 0), shops.stock(0, 1)), ([3, 0, 0], [5, 0, 0]));
}

#[test]
fn a_line_of_which_nothing_was_found_stays_and_says_so() {
    let mut shops = Shops::with(&[(0, 0, 5), (0, 1, 5)]);
    let made = shops.reserve(0, vec![units(0, 3), units(1, 1)]).unwrap();
    shops.change(made.id, found(0, 0, ShortCause::Mismatch)).unwrap();
    let amended = shops.change(made.id, amend(vec![units(1, 2)])).unwrap();
    assert_eq!((amended.lines.len(), line(&amended)), (2, [0, 0, 0, 0]));
}

#[test]
fn a_repeated_request_gets_its_first_answer_whatever_became_of_it() {
    let mut shops = Shops::with(&[(0, 0, 5), (2, 0, 5)]);
    let ask = |action: Action| step("same", LOCATIONS[0].1, action);
    let create = || Action::Create(Box::new(create(vec![units(0, 2)], None)));
    let made = shops.take(ask(create())).unwrap();
    let other = Step { fingerprint: 1, ..ask(create()) };
    assert_eq!(shops.take(other), Err(Refusal::KeyReused { field: "request" }));
    shops.change(made.id, found(0, 1, ShortCause::Mismatch)).unwrap();
    let target = Target::Reservation(made.id);
    let moves = step("moves", made.id.place, Action::Change(target, Change::Move(elsewhere(2))));
    let moved = shops.take(moves.clone()).unwrap();
    let shelve = step("shelves", made.id.place, Action::Change(target, Change::ReturnToShelf));
    let shelved = shops.take(shelve.clone()).unwrap();
    shops.change(moved.id, Change::StartPicking).unwrap();
    let entries = shops.memory.entries().count();
    assert_eq!(shops.take(ask(create())), Ok(made));
    assert_eq!(shops.take(moves), Ok(moved));
    assert_eq!(shops.take(shelve), Ok(shelved));
    assert_eq!(shops.memory.entries().count(), entries);
}

#[test]
fn a_sale_takes_what_is_aside_first_then_what_is_promised_then_the_rest() {
    let mut shops = Shops::with(&[(0, 0, 9)]);
    let made = shops.reserve(0, vec![units(0, 2)]).unwrap();
    shops.change(made.id, found(0, 2, ShortCause::NotFound)).unwrap();
    let made = shops.change(made.id, amend(vec![units(0, 4)])).unwrap();
    assert_eq!(shops.stock(0, 0), [7, 2, 2]);
    assert_eq!(shops.sell(0, 1, &made), Flags::default());
    assert_eq!(shops.stock(0, 0), [7, 1, 2], "one that was aside");
    assert_eq!(shops.sell(0, 4, &made), Flags::default());
    assert_eq!(shops.stock(0, 0), [4, 0, 0], "one aside, two promised, one more");
    assert_eq!(shops.change(made.id, Change::StartPicking), wrong_state("COLLECTED"));
}

#[test]
fn a_late_sale_takes_its_promise_once_and_the_count_stands() {
    let mut shops = Shops::with(&[(0, 0, 9)]);
    let made = shops.reserve(0, vec![units(0, 3)]).unwrap();
    shops.change(made.id, found(0, 3, ShortCause::NotFound)).unwrap();
    let made = shops.change(made.id, amend(vec![units(0, 5)])).unwrap();
    assert_eq!(shops.stock(0, 0), [6, 3, 2]);
    shops.later(600);
    shops.fact(0, Draft { quantity: 4, ..draft(Kind::Count, 0) });
    shops.later(600);
    // Before the count, which did not find what was aside or sold.
    let late = Draft {
        quantity: 5,
        occurred_at: Some(Timestamp(NOW.0 + 300 * SECOND)),
        reservation_id: made.id.to_string(),
        ..draft(Kind::Sale, 0)
    };
    assert_eq!(shops.fact(0, late), Flags::BEFORE_COUNT);
    assert_eq!(shops.stock(0, 0), [4, 0, 0]);
}

#[test]
fn every_code_is_another_one() {
    let mut shops = Shops::with(&[(0, 0, 9)]);
    let [one, other] = [1, 1]
        .map(|units_wanted| shops.reserve(0, vec![units(0, units_wanted)]).unwrap().code_hash);
    assert!(one != 0 && other != 0 && one != other);
    let hold = shops.hold(0, vec![units(0, 1)], 60);
    assert_eq!(shops.change_hold(hold, extend(60)).unwrap().code_hash, 0, "nobody collects a hold");
}
