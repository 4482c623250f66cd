//! What goes wrong in shops, by its number.

use super::*;

#[test]
fn f1_what_is_not_found_is_rejected_and_doubtful_until_it_is_counted() {
    let mut shops = Shops::with(&[(0, 0, 3)]);
    let made = shops.reserve(0, vec![units(0, 2)]).unwrap();
    let rejected = shops.change(made.id, found(0, 0, ShortCause::NotFound)).unwrap();
    assert_eq!((rejected.state, &*rejected.reason), (State::Rejected, "not_found"));
    assert_eq!(shops.stock(0, 0), [1, 0, 0], "written off");
    assert!(shops.is_doubtful(0, 0));
    shops.later(60);
    shops.fact(0, Draft { quantity: 4, ..draft(Kind::Count, 0) });
    assert!(!shops.is_doubtful(0, 0));
    assert_eq!(shops.stock(0, 0), [4, 0, 0]);
}

#[test]
fn f1_what_is_not_found_goes_elsewhere_where_the_channel_wants_that() {
    let mut shops = Shops::with(&[(0, 0, 3), (2, 0, 2)]);
    let made = shops.reserve(0, vec![units(0, 2)]).unwrap();
    let nothing = |location| match found(0, 0, ShortCause::Mismatch) {
        Change::ReportPick { lines, .. } => {
            Change::ReportPick { lines, elsewhere: Some(elsewhere(location)) }
        }
        other => other,
    };
    let moved = shops.change(made.id, nothing(2)).unwrap();
    assert_eq!((moved.state, moved.predecessor), (State::Reserved, Some(made.id)));
    assert_eq!((shops.stock(0, 0), shops.stock(2, 0)), ([3, 0, 0], [2, 0, 2]));
    let rejected = shops.change(moved.id, nothing(3)).unwrap();
    assert_eq!((rejected.id, rejected.state), (moved.id, State::Rejected), "there is none");
}

#[test]
fn f2_the_reservation_shrinks_to_what_was_found() {
    let causes = [
        (ShortCause::NotFound, [2, 3, 0]),
        (ShortCause::Damaged, [2, 3, 0]),
        (ShortCause::Mismatch, [4, 3, 0]),
    ];
    for (cause, stock) in causes {
        let mut shops = Shops::with(&[(0, 0, 7)]);
        let made = shops.reserve(0, vec![units(0, 5)]).unwrap();
        let picked = shops.change(made.id, found(0, 3, cause)).unwrap();
        assert_eq!((picked.state, line(&picked)), (State::Picking, [3, 3, 0, 0]));
        assert_eq!(shops.stock(0, 0), stock, "{cause:?}");
        assert!(shops.is_doubtful(0, 0));
        let all = shops.change(made.id, collect(Vec::new())).unwrap();
        assert_eq!((all.state, line(&all)), (State::Collected, [3, 3, 3, 0]));
    }
}

#[test]
fn f3_what_the_store_does_not_answer_in_time_is_rejected_or_goes_elsewhere() {
    let mut shops = Shops::with(&[(0, 0, 5), (2, 0, 9)]);
    // The channel gives the store a minute and a half.
    let promise = create(vec![units(0, 1)], Some(WEB));
    let rejected = shops.create(0, promise.clone()).unwrap().id;
    let moved = shops.create(0, promise.clone()).unwrap().id;
    let begun = shops.create(0, promise).unwrap().id;
    let late = |elsewhere| Change::Unanswered { elsewhere };
    shops.later(89);
    assert_eq!(shops.change(rejected, late(None)), Err(Refusal::NotDue));
    shops.change(begun, Change::StartPicking).unwrap();
    shops.later(1);
    assert_eq!(shops.change(begun, late(None)), wrong_state("PICKING"));
    let rejected = shops.change(rejected, late(None)).unwrap();
    assert_eq!((rejected.state, &*rejected.reason), (State::Rejected, "unanswered"));
    let successor = shops.change(moved, late(Some(elsewhere(2)))).unwrap();
    assert_eq!((successor.id.place, successor.predecessor), (LOCATIONS[2].1, Some(moved)));
    assert_eq!((shops.stock(0, 0), shops.stock(2, 0)), ([5, 0, 1], [9, 0, 1]));
}

#[test]
fn f4_units_of_a_no_show_stay_aside_until_they_are_returned_to_the_shelf() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let made = shops.ready(0, 0, 2, 600);
    shops.later(599);
    assert_eq!(shops.change(made.id, Change::Expire), Err(Refusal::NotDue), "never early");
    shops.later(1);
    let expired = shops.change(made.id, Change::Expire).unwrap();
    assert_eq!((expired.state, &*expired.reason), (State::Expired, "expired"));
    assert_eq!(shops.stock(0, 0), [3, 2, 0]);
    let shelved = shops.change(made.id, Change::ReturnToShelf).unwrap();
    assert_eq!((shelved.state, line(&shelved)), (State::Expired, [2, 2, 0, 2]));
    assert_eq!(shops.stock(0, 0), [5, 0, 0]);
    assert_eq!(shops.change(made.id, Change::ReturnToShelf), Err(Refusal::NothingAside));
}

#[test]
fn f5_who_comes_after_expiry_gets_what_is_still_aside() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let [late, too_late] = [2, 1].map(|quantity| shops.ready(0, 0, quantity, 60));
    let never_picked = Create { ttl: Some(60 * SECOND), ..create(vec![units(0, 1)], None) };
    let never_picked = shops.create(0, never_picked).unwrap();
    shops.later(60);
    for id in [late.id, too_late.id, never_picked.id] {
        shops.change(id, Change::Expire).unwrap();
    }
    let part = shops.change(late.id, collect(vec![units(0, 1)])).unwrap();
    assert_eq!((part.state, line(&part)), (State::Expired, [2, 2, 1, 0]));
    let all = shops.change(late.id, collect(Vec::new())).unwrap();
    assert_eq!((all.state, line(&all)), (State::Collected, [2, 2, 2, 0]));
    shops.change(too_late.id, Change::ReturnToShelf).unwrap();
    for id in [too_late.id, never_picked.id] {
        assert_eq!(shops.change(id, collect(Vec::new())), Err(Refusal::NothingAside));
    }
}

#[test]
fn f6_of_customer_and_picker_exactly_one_wins() {
    let cancel = || Change::Cancel { by: CancelledBy::Customer };
    let mut shops = Shops::with(&[(0, 0, 5)]);
    let made = shops.reserve(0, vec![units(0, 2)]).unwrap();
    shops.change(made.id, cancel()).unwrap();
    assert_eq!(shops.change(made.id, Change::StartPicking), wrong_state("CANCELLED"));
    assert_eq!(shops.change(made.id, found(0, 2, ShortCause::NotFound)), wrong_state("CANCELLED"));
    let made = shops.reserve(0, vec![units(0, 2)]).unwrap();
    shops.change(made.id, found(0, 1, ShortCause::Mismatch)).unwrap();
    let cancelled = shops.change(made.id, cancel()).unwrap();
    assert_eq!(cancelled.cancelled_by, Some(CancelledBy::Customer));
    assert_eq!(shops.stock(0, 0), [4, 1, 0], "what was picked is still aside");
    shops.change(made.id, Change::ReturnToShelf).unwrap();
    assert_eq!(shops.stock(0, 0), [5, 0, 0]);
    assert_eq!(shops.change(made.id, cancel()), wrong_state("CANCELLED"));
}

#[test]
fn f7_a_channel_caps_what_one_order_may_have() {
    let mut shops = Shops::with(&[(0, 0, 81_000)]);
    let (sku, units_max) = ("i0".to_owned(), UNITS_MAX);
    let above = Err(Refusal::UnitsPerOrderExceeded { sku, units_max });
    let order = |quantity, channel| create(vec![units(0, quantity)], channel);
    assert_eq!(shops.create(0, order(80_995, Some(WEB))), above);
    let made = shops.create(0, order(UNITS_MAX, Some(WEB))).unwrap();
    let more = Change::Amend {
        lines: vec![units(0, UNITS_MAX + 1)],
        more: Vec::new(),
        ttl: None,
        terms: terms(Some(WEB)),
    };
    assert_eq!(shops.change(made.id, more), above);
    let mistake = shops.create(0, order(80_000, None)).unwrap();
    shops.later(720);
    shops.change(mistake.id, Change::Cancel { by: CancelledBy::Store }).unwrap();
    assert_eq!(shops.stock(0, 0), [81_000, 0, UNITS_MAX], "exactly reversed");
    let both = shops.memory.entries().filter(|entry| entry.quantity == 80_000);
    assert_eq!(both.map(|entry| entry.kind).collect::<Vec<_>>(), [Kind::Reserve, Kind::Release]);
}

#[test]
fn f8_one_item_is_released_and_another_reserved_in_one_step() {
    let mut shops = Shops::with(&[(0, 0, 2), (0, 1, 1)]);
    let made = shops.reserve(0, vec![units(0, 2)]).unwrap();
    let instead = |quantity| amend(vec![units(1, quantity)]);
    let refused = shops.change(made.id, instead(2));
    assert_eq!(short(refused), [("i1".to_owned(), 2, 1)]);
    assert_eq!((shops.stock(0, 0), shops.stock(0, 1)), ([2, 0, 2], [1, 0, 0]), "it stands");
    shops.change(made.id, Change::StartPicking).unwrap();
    let amended = shops.change(made.id, instead(1)).unwrap();
    assert_eq!((amended.lines.len(), amended.lines[0].item), (1, ITEMS[1].1));
    assert_eq!((shops.stock(0, 0), shops.stock(0, 1)), ([2, 0, 0], [1, 0, 1]));
}

#[test]
fn f9_the_old_promise_stands_if_the_new_one_fails() {
    // In the same partition, and in another.
    for to in [1, 2] {
        let mut shops = Shops::with(&[(0, 0, 5), (to, 0, 3)]);
        let made = shops.reserve(0, vec![units(0, 4)]).unwrap();
        let refused = shops.change(made.id, Change::Move(elsewhere(to)));
        assert_eq!(short(refused), [("i0".to_owned(), 4, 3)]);
        assert_eq!((shops.stock(0, 0), shops.stock(to, 0)), ([5, 0, 4], [3, 0, 0]));
        let same = shops.change(made.id, Change::Move(elsewhere(0)));
        assert_eq!(same, Err(Refusal::SameLocation));
        // One is collected and one aside: three are wanted elsewhere.
        shops.change(made.id, found(0, 2, ShortCause::Mismatch)).unwrap();
        shops.change(made.id, amend(vec![units(0, 4)])).unwrap();
        shops.change(made.id, collect(vec![units(0, 1)])).unwrap();
        let successor = shops.change(made.id, Change::Move(elsewhere(to))).unwrap();
        assert_eq!((successor.state, line(&successor)), (State::Reserved, [3, 0, 0, 0]));
        assert_eq!((shops.stock(0, 0), shops.stock(to, 0)), ([3, 1, 0], [3, 0, 3]));
        let successor_id = successor.id.to_string();
        let refused = shops.change(made.id, collect(Vec::new()));
        assert_eq!(refused, Err(Refusal::ReservationMoved { successor_id }));
        let shelved = shops.change(made.id, Change::ReturnToShelf).unwrap();
        assert_eq!((shelved.state, line(&shelved)), (State::Moved, [4, 2, 1, 1]));
        assert_eq!(shops.stock(0, 0), [4, 0, 0]);
    }
}

#[test]
fn f21_the_last_unit_is_sold_to_the_one_who_reserved_it() {
    let mut shops = Shops::with(&[(0, 0, 1)]);
    let made = shops.reserve(0, vec![units(0, 1)]).unwrap();
    assert_eq!(short(shops.reserve(0, vec![units(0, 1)])), [("i0".to_owned(), 1, 0)]);
    assert_eq!(shops.sell(0, 1, &made), Flags::default());
    assert_eq!(shops.stock(0, 0), [0, 0, 0]);
    assert_eq!(shops.change(made.id, collect(Vec::new())), wrong_state("COLLECTED"));
    assert_eq!(shops.sell(0, 1, &made), Flags::PROMISE_UNKNOWN, "recorded all the same");
    assert_eq!(shops.stock(0, 0), [-1, 0, 0]);
}

#[test]
fn f33_what_one_request_wants_of_an_item_is_judged_as_a_whole() {
    let mut shops = Shops::with(&[(0, 0, 5)]);
    assert_eq!(short(shops.reserve(0, vec![units(0, 4 + 4)])), [("i0".to_owned(), 8, 5)]);
    assert_eq!(shops.stock(0, 0), [5, 0, 0]);
}

#[test]
fn f34_every_location_promises_its_own_units_and_all_of_them_or_none() {
    let mut shops = Shops::with(&[(0, 0, 10), (2, 0, 15)]);
    let basket = |shops: &mut Shops, first, second| {
        shops.requests += 1;
        let key = format!("basket-{}", shops.requests);
        let part = |(location, quantity): (usize, i64)| {
            let create = create(vec![units(0, quantity)], None);
            step(&key, LOCATIONS[location].1, Action::Create(Box::new(create)))
        };
        let command = Command::Basket(vec![part((0, first)), part((2, second))]);
        shops.memory.record(shops.now, &[command])
    };
    for outcome in basket(&mut shops, 13, 16) {
        let Outcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            short(Err(refusal)),
            [("i0".to_owned(), 13, 10), ("i0".to_owned(), 16, 15)],
            "every short line is named"
        );
    }
    assert_eq!((shops.stock(0, 0), shops.stock(2, 0)), ([10, 0, 0], [15, 0, 0]));
    let made = basket(&mut shops, 10, 3);
    assert!(made.iter().all(|outcome| matches!(outcome, Outcome::Stepped(_))), "{made:?}");
    assert_eq!((shops.stock(0, 0), shops.stock(2, 0)), ([10, 0, 10], [15, 0, 3]));
}
