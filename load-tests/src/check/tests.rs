//! Small histories by hand: a clean one, and for each invariant some that violate it and nothing
//! else.

mod holds;
mod scene;

use super::{
    judge,
    load::History,
    verdict::Invariant::{self, I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11, I12},
};
use crate::history::{
    Effect, Record,
    call::{Answered, Asked, Durability, Short},
    ledger::{Entry, kind, state},
};
use scene::{A, B, SECOND, Scene, X, Y, line, moving, recorded, violated, wish};

/// Ten units of each item in the first shop, and a reservation that was given up.
fn opened() -> Scene {
    let mut scene = Scene::new();
    scene.receive("in-x", 0, (A, X), 10);
    scene.receive("in-y", 20_000, (A, Y), 10);
    let id = scene.reserve("first", 100_000, &[(X, 3), (Y, 1)]);
    scene.cancel("cancelled", 200_000, &id);
    scene
}

fn unknown() -> Answered {
    Answered::Unknown { why: "no answer".to_owned() }
}

fn ask(key: &str, location: i32, lines: &[(i32, i64)]) -> Asked {
    Asked::Reserve { key: key.to_owned(), promise: wish(location, lines), hold: String::new() }
}

fn short(wanted: i64) -> Answered {
    let (reason, sku) = ("INSUFFICIENT_STOCK".to_owned(), "x".to_owned());
    Answered::Refused { reason, short: Some(Short { sku, wanted, available: 0 }) }
}

/// That exactly this is violated.
fn expect(invariants: &[Invariant], scene: Scene) {
    let history = scene.finish();
    assert_eq!(violated(&history), invariants, "{}", judge(&history, 3).as_text());
}

#[test]
fn a_clean_history_is_judged_and_holds() {
    let mut scene = opened();
    scene.transfer("moved", 300_000, X, 2);
    let id = scene.reserve("to-expire", 400_000, &[(X, 4)]);
    scene.end("expire", 5_400_000, &id, state::EXPIRED);
    // Nobody knows how that ended, but it is there.
    scene.promise("open", 6 * SECOND, A, &[(X, 1), (Y, 1)]);
    scene.call(6 * SECOND, ask("open", A, &[(X, 1), (Y, 1)]), unknown());
    let (token, version) = (scene.token(A), 10);
    scene.read(8 * SECOND, 7, version).asked = Asked::Read { token: Some(token) };
    scene.call(9 * SECOND, ask("refused", A, &[(X, 5), (X, 4)]), short(9));
    let history = scene.finish();
    let verdicts = judge(&history, 3);
    assert_eq!(verdicts.violations(), 0, "{}", verdicts.as_text());
    for invariant in Invariant::ALL {
        assert!(verdicts.of(invariant).judged > 0, "{invariant:?} was not judged");
    }
}

#[test]
fn i1_promising_more_than_there_is_is_caught() {
    let mut scene = opened();
    scene.reserve("greedy", SECOND, &[(X, 11)]);
    expect(&[I1], scene);
}

#[test]
fn i2_an_acknowledged_effect_that_is_not_there_is_caught() {
    let lost = |durability: Durability, effect: Option<Effect>| {
        let mut scene = opened();
        let mut answered = recorded(A, 99, scene.token(A));
        if let Answered::Recorded { durability: told, .. } = &mut answered {
            *told = durability;
        }
        let lines = vec![line("lost", 1, (A, X), 1)];
        scene.call(SECOND, Asked::Movements { lines }, answered);
        effect.into_iter().for_each(|effect| scene.fault(effect));
        violated(&scene.finish())
    };
    assert_eq!(lost(Durability::Ledger, None), [I2]);
    assert_eq!(lost(Durability::Ledger, Some(Effect::PromotedReplicated)), [I2]);
    assert_eq!(lost(Durability::Replicated, Some(Effect::PromotedBehind)), [I2]);
    // One copy is gone together with its only owner.
    assert_eq!(lost(Durability::Ledger, Some(Effect::PromotedBehind)), []);
}

#[test]
fn i2_a_dead_timeline_that_goes_on_under_the_same_epoch_is_caught() {
    let mut scene = opened();
    let answered = recorded(A, 1, scene.token(A));
    let lines = vec![line("dead", 1, (A, X), 1)];
    scene.call(SECOND, Asked::Movements { lines }, answered);
    scene.fault(Effect::PromotedBehind);
    expect(&[I2], scene);
}

#[test]
fn i3_a_second_effect_of_a_key_is_caught() {
    let mut scene = opened();
    scene.post("in-x", SECOND, moving(1, (A, X), (6, 1), 3, 10));
    // It is also younger than what was asked after the first.
    expect(&[I3, I8], scene);

    let mut scene = opened();
    let (key, reason) = ("in-x".to_owned(), "KEY_REUSED".to_owned());
    let lines = vec![line(&key, 1, (A, X), 10)];
    let answered = Answered::Refused { reason, short: None };
    scene.call(SECOND, Asked::Movements { lines }, answered);
    expect(&[I3], scene);

    let mut scene = opened();
    for hold in ["h1", "h2"] {
        let (hold, durability) = (hold.to_owned(), Durability::Memory);
        let answered = Answered::Held { hold, expires_us: 9 * SECOND, durability };
        let (key, promise) = ("held".to_owned(), wish(A, &[(X, 1)]));
        scene.call(SECOND, Asked::Hold { key, promise, ttl_us: SECOND }, answered);
    }
    expect(&[I3], scene);
}

#[test]
fn i4_half_of_an_unanswered_request_is_caught() {
    let mut scene = opened();
    scene.promise("half", SECOND, A, &[(X, 1)]);
    scene.call(SECOND, ask("half", A, &[(X, 1), (Y, 1)]), unknown());
    expect(&[I4], scene);
}

#[test]
fn i4_an_effect_of_what_was_refused_is_caught() {
    let mut scene = opened();
    scene.promise("no", SECOND, A, &[(X, 20)]);
    scene.call(SECOND, ask("no", A, &[(X, 20)]), short(20));
    expect(&[I1, I4], scene);
}

#[test]
fn i5_half_of_what_was_acknowledged_is_caught() {
    let mut scene = opened();
    let (id, no) = scene.promise("half", SECOND, A, &[(X, 1)]);
    let promises = vec![wish(A, &[(X, 1)]), wish(B, &[(X, 1)])];
    let answered = scene.reserved(&[(&id, no)]);
    scene.call(SECOND, Asked::Basket { key: "half".to_owned(), promises }, answered);
    expect(&[I5], scene);
}

#[test]
fn i5_half_of_a_group_is_caught() {
    let mut scene = opened();
    for key in ["in-x", "missing"] {
        let mut line = line(key, 1, (A, X), 10);
        line.group = "group".to_owned();
        scene.call(SECOND, Asked::Movements { lines: vec![line] }, unknown());
    }
    scene.history.calls[0].asked = scene.history.calls[4].asked.clone();
    expect(&[I5], scene);
}

#[test]
fn i5_half_of_a_transfer_is_caught() {
    let mut scene = opened();
    scene.transfer("moved", SECOND, X, 2);
    for entry in &mut scene.history.entries {
        entry.counter_seq += i64::from(entry.location == B);
    }
    expect(&[I5], scene);
}

#[test]
fn i6_a_gap_in_the_sequence_is_caught() {
    let mut history = opened().finish();
    history.entries.retain(|entry| entry.key != "cancelled");
    assert_eq!(violated(&history), [I2, I6, I7]);
}

#[test]
fn i6_what_does_not_add_up_is_caught() {
    let spoilt = |spoil: fn(&mut History)| {
        let mut scene = opened();
        scene.reserve("stays", SECOND, &[(Y, 2)]);
        let mut history = scene.finish();
        spoil(&mut history);
        violated(&history)
    };
    assert_eq!(spoilt(|_| ()), []);
    assert_eq!(spoilt(|history| history.entries[1].sellable_after += 1), [I6]);
    assert_eq!(spoilt(|history| history.entries[2].reserved_after -= 1), [I6]);
    assert_eq!(spoilt(|history| history.positions[0].balances[2] += 1), [I6]);
    assert_eq!(spoilt(|history| history.positions[0].seq += 1), [I6]);
    assert_eq!(spoilt(|history| history.reservations[1].lines[0].2 += 1), [I6]);
    assert_eq!(spoilt(|history| history.heads[0].seq += 1), [I6]);
    assert_eq!(spoilt(|history| history.positions.truncate(1)), [I6]);
}

#[test]
fn i6_a_late_fact_that_changes_what_was_counted_is_caught() {
    let counted = |neutral: bool| {
        let mut scene = opened();
        let count = Entry { quantity: 10, ..moving(kind::COUNT, (A, X), (0, 0), 0, 10) };
        scene.post("count", 2 * SECOND, count);
        let late = scene.history.run.began_at_us + SECOND;
        let sold = moving(3, (A, X), (1, 6), 3, 4);
        scene.post("late", 3 * SECOND, Entry { effective_at_us: late, ..sold });
        if neutral {
            let variance = moving(kind::COUNT_VARIANCE, (A, X), (6, 1), 3, 4);
            let flags = Entry::SECONDARY;
            scene.post("late", 3 * SECOND, Entry { effective_at_us: late, flags, ..variance });
        }
        violated(&scene.finish())
    };
    assert_eq!(counted(true), []);
    assert_eq!(counted(false), [I6]);
}

#[test]
fn i7_a_step_that_is_not_legal_is_caught() {
    let mut scene = opened();
    let id = scene.history.reservations[0].id();
    scene.history.reservations[0].state = state::PICKING;
    scene.post("revived", SECOND, scene::step(&id, state::PICKING, A, X));
    // What is picked again is not promised.
    expect(&[I6, I7], scene);
}

#[test]
fn i7_an_end_before_its_time_is_caught() {
    let mut scene = opened();
    let id = scene.reserve("early", SECOND, &[(X, 1)]);
    scene.end("expire", 6 * SECOND - 1, &id, state::EXPIRED);
    expect(&[I7], scene);
}

#[test]
fn i8_an_order_that_nobody_saw_is_caught() {
    let mut scene = opened();
    scene.receive("later", 2 * SECOND, (A, X), 1);
    scene.receive("earlier", 3 * SECOND, (A, X), 1);
    let [.., later, earlier] = &mut *scene.history.calls else { unreachable!() };
    (later.start_us, later.end_us) = (5 * SECOND, 5 * SECOND);
    (earlier.start_us, earlier.end_us) = (4 * SECOND, 4 * SECOND);
    expect(&[I8], scene);
}

#[test]
fn i9_a_read_of_what_never_was_is_caught() {
    let read = |available, version| {
        let mut scene = opened();
        scene.read(300_000, available, version);
        violated(&scene.finish())
    };
    assert_eq!(read(10, 5), []);
    assert_eq!(read(7, 3), []);
    assert_eq!(read(11, 5), [I9]);
    assert_eq!(read(10, 4), [I9], "an entry of another item");
    // Less than there is, by what the reservation may still have claimed.
    assert_eq!(read(7, 5), []);
    assert_eq!(read(6, 5), [I9]);
}

#[test]
fn i9_a_read_that_goes_back_or_does_not_cover_its_token_is_caught() {
    let mut scene = opened();
    scene.read(300_000, 10, 5);
    scene.read(320_000, 7, 3);
    expect(&[I9], scene);

    let mut scene = opened();
    let token = Some(scene.token(A));
    scene.read(300_000, 7, 3).asked = Asked::Read { token };
    expect(&[I9], scene);
}

#[test]
fn i10_a_stale_read_is_caught_unless_it_says_so() {
    let read = |at, degraded, effect: Option<Effect>| {
        let mut scene = opened();
        let call = scene.read(at, 7, 3);
        if let Answered::Read { degraded: told, .. } = &mut call.answered {
            *told = degraded;
        }
        effect.into_iter().for_each(|effect| scene.fault(effect));
        violated(&scene.finish())
    };
    assert_eq!(read(1_200_000, false, None), []);
    assert_eq!(read(1_220_000, false, None), [I10]);
    assert_eq!(read(1_220_000, true, None), []);
    assert_eq!(read(3_500_000, false, None), [I10]);
    assert_eq!(read(3_500_000, false, Some(Effect::RedisLies)), []);
}

#[test]
fn i10_a_hold_in_memory_says_nothing_of_when_the_ledger_has_it() {
    let held = |durability| {
        let mut scene = opened();
        let (hold, promise) = ("h1".to_owned(), wish(A, &[(X, 1)]));
        let answered = Answered::Held { hold, expires_us: 9 * SECOND, durability };
        let (key, ttl_us) = ("held".to_owned(), 8 * SECOND);
        scene.call(SECOND, Asked::Hold { key, promise, ttl_us }, answered);
        scene.read(3 * SECOND, 10, 5);
        // An earlier attempt, which was given up.
        scene.promise("held", 4 * SECOND, A, &[(X, 1)]);
        violated(&scene.finish())
    };
    assert_eq!(held(Durability::Memory), []);
    assert!(held(Durability::Ledger).contains(&I10));
}

#[test]
fn i11_a_refusal_without_a_reason_is_caught() {
    let refused = |wanted, told| {
        let mut scene = opened();
        // By then nothing is claimed by those who came before.
        scene.call(20 * SECOND, ask("refused", A, &[(X, wanted)]), short(told));
        violated(&scene.finish())
    };
    assert_eq!(refused(20, 20), []);
    assert_eq!(refused(20, 11), [I11], "not what was wanted");

    // What somebody holds himself never counts against him, what others hold does.
    let held = |own: bool| {
        let mut scene = opened();
        let (key, promise) = ("held".to_owned(), wish(A, &[(X, 8)]));
        let (hold, durability) = ("h1".to_owned(), Durability::Memory);
        let answered = Answered::Held { hold: hold.clone(), expires_us: 23 * SECOND, durability };
        scene.call(20 * SECOND, Asked::Hold { key, promise, ttl_us: 3 * SECOND }, answered);
        let (key, promise) = ("refused".to_owned(), wish(A, &[(X, 8)]));
        let hold = if own { hold } else { String::new() };
        scene.call(21 * SECOND, Asked::Reserve { key, promise, hold }, short(8));
        violated(&scene.finish())
    };
    assert_eq!(held(false), []);
    assert_eq!(held(true), [I11]);

    // Nor does a batch that is not decided yet: it is waited for.
    let mut scene = opened();
    scene.call(20 * SECOND, ask("open", A, &[(X, 8)]), unknown());
    scene.call(21 * SECOND, ask("refused", A, &[(X, 8)]), short(8));
    expect(&[I11], scene);

    let mut scene = opened();
    let read = Asked::Step {
        key: "moved".to_owned(),
        step: "move".to_owned(),
        reservation: "r1.1.7.1".to_owned(),
        to_location: "a".to_owned(),
    };
    scene.call(20 * SECOND, read, short(10));
    expect(&[I11], scene);
}

#[test]
fn i12_what_does_not_heal_is_caught() {
    let healed = |spoil: fn(&mut crate::history::Healing)| {
        let mut scene = opened();
        scene.history.healing.as_mut().into_iter().for_each(spoil);
        violated(&scene.finish())
    };
    assert_eq!(healed(|_| ()), []);
    assert_eq!(healed(|healing| healing.equal_after_us = Some(10_000_001)), [I12]);
    assert_eq!(healed(|healing| healing.goodput_after_us = None), [I12]);
    assert_eq!(healed(|healing| healing.stale_holds = 1), [I12]);
    assert_eq!(healed(|healing| healing.difference = "a row".to_owned()), [I12]);
}

#[test]
fn a_history_that_was_cut_off_is_none() {
    let run = serde_json::to_string(&Record::Run(Default::default())).unwrap();
    let end = |records| serde_json::to_string(&Record::End { records }).unwrap();
    let read = |text: String| History::read(text.as_bytes()).is_ok();
    assert!(read(format!("{run}\n{}\n", end(1))));
    assert!(!read(format!("{run}\n")));
    assert!(!read(format!("{run}\n{}\n", end(2))));
    assert!(!read(format!("{run}\nnonsense\n{}\n", end(2))));
}
