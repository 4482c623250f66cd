//! Each rule once, as a table: what is sent, what becomes of it, and SELLABLE there afterwards.

use stockroom::stock::{
    book::Book,
    draft::Draft,
    entry::Flags,
    ids::PositionKey,
    kind::Kind,
    machine::{Outcome, apply},
    movement::Command,
    time::Timestamp,
};

use super::{
    invariants,
    memory::Memory,
    network::{ITEMS, LOCATIONS, Sent, command, grouped, resolve},
    strategy::{NOW, SLOT},
};

/// Sends the lines one by one, a minute apart; neighbours of a group together.
fn run(table: &[(Draft, &str)]) -> Memory {
    let mut memory = Memory::default();
    let lines: Vec<_> = table.iter().map(|(draft, _)| sent(draft)).collect();
    let same = |a: &Sent, b: &Sent| !a.draft.group.is_empty() && a.draft.group == b.draft.group;
    let mut answers = table.iter();
    for (n, group) in lines.chunk_by(same).enumerate() {
        let group: Vec<_> =
            group.iter().map(|sent| (sent.clone(), resolve(sent, &memory))).collect();
        let commands: Vec<_> = grouped(&group).into_iter().filter_map(command).collect();
        let now = Timestamp(NOW.0 + n as i64 * SLOT);
        let outcomes = memory.record(now, &commands);
        assert_eq!(outcomes.len(), group.len());
        for outcome in outcomes {
            let (draft, answer) = answers.next().unwrap();
            assert_eq!(told(&memory, draft, &outcome), *answer, "{:?}", sent(draft));
        }
    }
    memory
}

fn told(memory: &Memory, draft: &Draft, outcome: &Outcome) -> String {
    let flags = [
        (Flags::OVER_RETURN, " over return"),
        (Flags::AWAITS_ORIGINAL, " awaits original"),
        (Flags::PROMISE_UNKNOWN, " promise unknown"),
        (Flags::BEFORE_COUNT, " before count"),
    ];
    let sellable = balances(memory, &draft.location_id)[0];
    match outcome {
        Outcome::Recorded(posted) => {
            let set = flags.iter().filter(|(flag, _)| posted.flags.has(*flag));
            let set: String = set.map(|(_, name)| *name).collect();
            format!("{sellable}{set}")
        }
        Outcome::Duplicate(posted) => format!("duplicate of {}", posted.at.seq),
        Outcome::Stepped(_) => "a step".to_owned(),
        Outcome::Refused(refusal) => {
            let metadata = refusal.metadata();
            let values: String = metadata.iter().map(|(_, value)| format!(" {value}")).collect();
            format!("{}{values}", refusal.reason())
        }
    }
}

/// SELLABLE, STAGED, BLOCKED, IN_TRANSIT, EXPECTED of the item at a location.
fn balances(memory: &Memory, location_id: &str) -> [i64; 5] {
    let place = LOCATIONS.iter().find(|(id, _)| *id == location_id).unwrap().1;
    let key = PositionKey { place, item: ITEMS[0].1 };
    invariants::balances(memory).get(&key).copied().unwrap_or_default()
}

/// Kinds and quantities of all entries, by partition.
fn log(memory: &Memory) -> Vec<(Kind, i64)> {
    memory.entries().map(|entry| (entry.kind, entry.quantity)).collect()
}

/// A fact of a moment between noon (0) and the first recording (60).
fn fact(kind: Kind, key: &str, quantity: i64, minute: i64) -> Draft {
    Draft {
        key: key.to_owned(),
        kind: kind as i32,
        location_id: "s0".to_owned(),
        sku: "i0".to_owned(),
        quantity,
        occurred_at: Some(Timestamp(NOW.0 + (minute - 60) * SLOT)),
        ..Draft::default()
    }
}

fn receipt(key: &str, quantity: i64, minute: i64) -> Draft {
    fact(Kind::Receipt, key, quantity, minute)
}

fn sale(key: &str, quantity: i64, minute: i64) -> Draft {
    fact(Kind::Sale, key, quantity, minute)
}

fn count(key: &str, quantity: i64, minute: i64) -> Draft {
    fact(Kind::Count, key, quantity, minute)
}

fn correct(key: &str, original: &str) -> Draft {
    let reason = "did_not_occur".to_owned();
    Draft { reason, original: Some(named(original)), ..fact(Kind::Correct, key, 0, 59) }
}

fn returned(key: &str, quantity: i64, original: &str) -> Draft {
    Draft { original: Some(named(original)), ..fact(Kind::Return, key, quantity, 58) }
}

fn named(key: &str) -> (String, String) {
    ("t0".to_owned(), key.to_owned())
}

fn at(location_id: &str, draft: Draft) -> Draft {
    Draft { location_id: location_id.to_owned(), ..draft }
}

fn grouped_as(group: &str, draft: Draft) -> Draft {
    Draft { group: group.to_owned(), ..draft }
}

fn announced(line: u32, draft: Draft) -> Draft {
    Draft { document: "asn".to_owned(), document_line: line, ..draft }
}

fn shipped(key: &str, quantity: i64, to: &str) -> Draft {
    Draft { to_location_id: to.to_owned(), ..fact(Kind::TransferShip, key, quantity, 30) }
}

fn sent(draft: &Draft) -> Sent {
    Sent { source: "t0", draft: draft.clone(), broken: None }
}

#[test]
fn f15_late_sale_does_not_change_a_count() {
    let memory = run(&[
        (receipt("r", 100, 0), "100"),
        (count("c", 95, 30), "95"),
        (sale("a", 1, 20), "95 before count"),
        (sale("b", 4, 21), "95 before count"),
        (sale("d", 2, 40), "93"),
    ]);
    let late = [(Kind::Sale, 1), (Kind::CountVariance, 1), (Kind::Sale, 4)];
    assert_eq!(log(&memory)[3..6], late);
}

#[test]
fn a_late_count_is_laid_under_what_happened_later() {
    run(&[
        (receipt("r", 100, 0), "100"),
        (sale("a", 5, 20), "95"),
        (sale("b", 3, 40), "92"),
        (count("c", 90, 30), "87"),
        (count("d", 50, 10), "87"),
        (sale("e", 7, 25), "87 before count"),
    ]);
}

#[test]
fn a_corrected_count_leaves_no_trace_in_the_sum() {
    run(&[
        (receipt("r", 100, 0), "100"),
        (count("c", 90, 10), "90"),
        (sale("a", 5, 5), "90 before count"),
        (count("d", 70, 20), "70"),
        (sale("b", 1, 15), "70 before count"),
        (correct("x", "d"), "89"),
        (correct("y", "c"), "94"),
        (correct("z", "c"), "ALREADY_CORRECTED"),
    ]);
}

#[test]
fn both_last_counts_can_be_corrected_in_one_batch() {
    let memory = run(&[
        (receipt("r", 100, 0), "100"),
        (count("c", 90, 10), "90"),
        (count("d", 80, 20), "80"),
        (grouped_as("g", correct("x", "c")), "100"),
        (grouped_as("g", correct("y", "d")), "100"),
    ]);
    assert_eq!(balances(&memory, "s0"), [100, 0, 0, 0, 0]);
}

#[test]
fn a_corrected_fact_before_the_last_count_changes_nothing() {
    run(&[
        (receipt("r", 100, 0), "100"),
        (sale("a", 5, 5), "95"),
        (count("c", 90, 10), "90"),
        (correct("x", "a"), "90"),
        (correct("y", "c"), "100"),
    ]);
}

#[test]
fn f25_a_receipt_closes_its_announcement_whatever_came() {
    for (arrived, after) in [(10, 10), (7, 7), (12, 12)] {
        let memory = run(&[
            (announced(1, fact(Kind::Expect, "e", 10, 0)), "0"),
            (announced(2, fact(Kind::Expect, "f", 3, 0)), "0"),
            (announced(1, receipt("r", arrived, 10)), &after.to_string()),
        ]);
        assert_eq!(balances(&memory, "s0"), [after, 0, 0, 0, 3]);
    }
}

#[test]
fn what_arrives_after_the_first_receipt_was_not_expected() {
    let memory = run(&[
        (announced(1, fact(Kind::Expect, "e", 10, 0)), "0"),
        (announced(1, receipt("r", 7, 10)), "7"),
        (announced(1, receipt("s", 3, 20)), "10"),
    ]);
    let variance = (Kind::ExpectVariance, 3);
    let expected = [(Kind::Expect, 10), (Kind::Receipt, 7), variance, (Kind::Receipt, 3)];
    assert_eq!(log(&memory), expected);
}

#[test]
fn f26_a_receipt_may_come_before_its_announcement() {
    let memory = run(&[
        (announced(1, receipt("r", 7, 10)), "7"),
        (announced(1, fact(Kind::Expect, "e", 10, 0)), "7"),
    ]);
    assert_eq!(balances(&memory, "s0"), [7, 0, 0, 0, 0]);
}

#[test]
fn a_corrected_receipt_opens_its_announcement_again() {
    let memory = run(&[
        (announced(1, fact(Kind::Expect, "e", 10, 0)), "0"),
        (announced(1, receipt("r", 7, 10)), "7"),
        (correct("x", "r"), "0"),
    ]);
    assert_eq!(balances(&memory, "s0"), [0, 0, 0, 0, 10]);
}

#[test]
fn an_adjusted_announcement_is_closed_like_any_other() {
    let cancelled = Draft {
        from_state: 5,
        reason: "correction".to_owned(),
        ..announced(1, fact(Kind::Adjust, "a", 4, 5))
    };
    let expect = announced(1, fact(Kind::Expect, "e", 10, 0));
    let receipt = announced(1, receipt("r", 6, 10));
    let open = run(&[(expect.clone(), "0"), (cancelled.clone(), "0")]);
    assert_eq!(balances(&open, "s0"), [0, 0, 0, 0, 6]);
    let [before, after] = [
        run(&[(expect.clone(), "0"), (cancelled.clone(), "0"), (receipt.clone(), "6")]),
        run(&[(receipt, "6"), (cancelled, "6"), (expect, "6")]),
    ];
    assert_eq!(balances(&before, "s0"), [6, 0, 0, 0, 0]);
    assert_eq!(balances(&after, "s0"), [6, 0, 0, 0, 0]);
}

#[test]
fn f10_more_returned_than_sold_is_recorded_and_flagged() {
    let memory = run(&[
        (sale("s", 3, 10), "-3"),
        (at("s2", returned("a", 2, "s")), "2"),
        (at("s3", returned("b", 2, "s")), "2 over return"),
        (at("s3", correct("x", "b")), "0"),
        (returned("c", 1, "s"), "-2"),
        (returned("d", 1, "unheard_of"), "-1 awaits original"),
        (sale("unheard_of", 1, 20), "-2"),
        (returned("e", 1, "unheard_of"), "-1 over return"),
        (returned("f", 1, "c"), "ORIGINAL_MISMATCH kind"),
        (returned("f", 1, "f"), "ORIGINAL_MISMATCH kind"),
        (Draft { sku: "i1".to_owned(), ..returned("f", 1, "s") }, "ORIGINAL_MISMATCH sku"),
    ]);
    assert_eq!(balances(&memory, "s2"), [2, 0, 0, 0, 0]);
}

#[test]
fn f13_an_exchange_is_posted_as_a_whole_or_not_at_all() {
    let exchange = |draft| grouped_as("x", draft);
    run(&[
        (sale("s", 1, 10), "-1"),
        (exchange(returned("a", 1, "s")), "-1"),
        (exchange(sale("b", 1, 20)), "-1"),
    ]);
    let memory = run(&[
        (sale("s", 1, 10), "-1"),
        (exchange(returned("a", 1, "s")), "GROUP_REFUSED x"),
        (exchange(Draft { sku: "service".to_owned(), ..sale("b", 1, 20) }), "NOT_A_STOCK_ITEM"),
    ]);
    assert_eq!(log(&memory), [(Kind::Sale, 1)]);
}

#[test]
fn f18_the_same_key_with_other_content_is_refused() {
    let base = || Draft { channel_id: "web".to_owned(), ..sale("s", 3, 10) };
    run(&[
        (base(), "-3"),
        (base(), "duplicate of 1"),
        (at("s1", base()), "-3"),
        (fact(Kind::ShipOut, "s", 3, 10), "KEY_REUSED kind"),
        (Draft { sku: "i1".to_owned(), ..base() }, "KEY_REUSED sku"),
        (Draft { quantity: 4, ..base() }, "KEY_REUSED quantity"),
        (Draft { occurred_at: None, ..base() }, "KEY_REUSED occurred_at"),
        (Draft { utc_offset_minutes: 60, ..base() }, "KEY_REUSED utc_offset_minutes"),
        (Draft { channel_id: String::new(), ..base() }, "KEY_REUSED channel_id"),
        (Draft { reason: "r".to_owned(), ..base() }, "KEY_REUSED reason"),
        (Draft { document: "d".to_owned(), ..base() }, "KEY_REUSED document"),
        (Draft { document_line: 1, ..base() }, "KEY_REUSED document_line"),
        (Draft { note: "n".to_owned(), ..base() }, "KEY_REUSED note"),
        (Draft { from_state: 2, ..base() }, "KEY_REUSED from_state"),
        (Draft { reservation_id: "r".to_owned(), ..base() }, "KEY_REUSED reservation_id"),
        (Draft { hold_id: "h".to_owned(), ..base() }, "KEY_REUSED hold_id"),
        (Draft { group: "g".to_owned(), ..base() }, "KEY_REUSED group"),
        (base(), "duplicate of 1"),
    ]);
}

#[test]
fn a_resent_correction_names_the_field_that_differs() {
    let noted = Draft { note: "n".to_owned(), ..correct("x", "s") };
    let other = Draft { original: Some(named("r")), ..correct("x", "s") };
    run(&[
        (announced(1, receipt("s", 3, 10)), "3"),
        (correct("x", "s"), "0"),
        (correct("x", "s"), "duplicate of 2"),
        (noted, "KEY_REUSED note"),
        (other, "KEY_REUSED original"),
    ]);
}

#[test]
fn f26_a_correction_may_come_before_its_sale() {
    let memory = run(&[
        (correct("x", "s"), "0 awaits original"),
        (correct("y", "s"), "ALREADY_CORRECTED"),
        (receipt("r", 9, 5), "9"),
        (sale("s", 4, 10), "9"),
        (correct("z", "s"), "ALREADY_CORRECTED"),
    ]);
    let expected = [(Kind::Correct, 0), (Kind::Receipt, 9), (Kind::Sale, 4), (Kind::Correct, 4)];
    assert_eq!(log(&memory), expected);
}

#[test]
fn a_correction_that_waited_for_something_else_has_no_effect() {
    run(&[
        (Draft { quantity: 5, ..correct("x", "s") }, "0 awaits original"),
        (sale("s", 4, 10), "-4"),
        (correct("y", "s"), "0"),
        (correct("y2", "y"), "ORIGINAL_MISMATCH kind"),
        (correct("z", "z"), "ORIGINAL_MISMATCH kind"),
    ]);
}

#[test]
fn a_transfer_over_two_partitions_and_its_correction() {
    let received = |key: &str, quantity| at("s2", fact(Kind::TransferReceive, key, quantity, 40));
    let memory =
        run(&[(receipt("r", 10, 0), "10"), (shipped("t", 6, "s2"), "4"), (received("v", 5), "5")]);
    assert_eq!(balances(&memory, "s2"), [5, 0, 0, 1, 0], "f24: the rest stays in transit");
    let memory = run(&[
        (receipt("r", 10, 0), "10"),
        (shipped("t", 6, "s2"), "4"),
        (correct("x", "t"), "10"),
        (shipped("t", 6, "s2"), "duplicate of 2"),
    ]);
    assert_eq!(balances(&memory, "s2"), [0; 5]);
}

#[test]
fn a_partition_that_is_not_locked_is_asked_for() {
    let movement = resolve(&sent(&shipped("t", 6, "s2")), &Memory::default()).unwrap();
    let (giving, receiving) = (movement.place.partition, movement.to_place.unwrap().partition);
    let commands = [Command::One(movement)];
    let book = Book::new(NOW, [(giving, 0)].into_iter().collect());
    let needs = apply(&book, &commands).unwrap_err();
    assert_eq!(needs.partitions, [receiving].into_iter().collect());
}

#[test]
fn f32_one_refused_line_of_a_group_takes_the_others_back() {
    let group = |draft| grouped_as("g", draft);
    let memory = run(&[
        (receipt("r", 10, 0), "10"),
        (group(sale("a", 1, 10)), "GROUP_REFUSED g"),
        (group(sale("a", 1, 10)), "GROUP_REFUSED g"),
        (group(shipped("t", 1, "s3")), "GROUP_REFUSED g"),
        (group(count("c", 3, 20)), "GROUP_REFUSED g"),
        (group(returned("b", 1, "r")), "ORIGINAL_MISMATCH kind"),
        (sale("a", 1, 10), "9"),
        (shipped("t", 1, "s3"), "8"),
    ]);
    assert_eq!(balances(&memory, "s3"), [0, 0, 0, 1, 0]);
}
