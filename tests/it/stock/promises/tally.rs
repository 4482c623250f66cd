//! What a run has reached.

use stockroom::stock::{
    entry::Flags,
    kind::{Kind, StockState},
    machine::Outcome,
    reservation::{CancelledBy, Reservation, State},
    step::{Action, Change, ShortCause, Step},
    time::Timestamp,
};

use super::super::{
    memory::Memory,
    properties::{Tally, World},
};

/// Everything that must be reached often.
pub const REACHED: [&str; 68] = [
    "RESERVED",
    "PICKING",
    "READY",
    "COLLECTED",
    "CANCELLED",
    "REJECTED",
    "EXPIRED",
    "MOVED",
    "HELD",
    "RELEASED",
    "CONSUMED",
    "KEY_REUSED",
    "NOT_A_STOCK_ITEM",
    "RESERVATION_UNKNOWN",
    "HOLD_UNKNOWN",
    "RESERVATION_MOVED",
    "RESERVATION_STATE",
    "HOLD_ENDED",
    "HOLD_CONSUMED",
    "HOLD_ELSEWHERE",
    "PICKUP_CODE_WRONG",
    "NOTHING_ASIDE",
    "LINE_UNKNOWN",
    "LINE_EXCEEDED",
    "SAME_LOCATION",
    "NOT_DUE",
    "TTL_EXCEEDED",
    "UNITS_PER_ORDER_EXCEEDED",
    "INSUFFICIENT_STOCK",
    "create",
    "create in part",
    "create from a hold of the ledger",
    "create from a hold elsewhere",
    "hold",
    "amend",
    "amend a hold",
    "extend",
    "extend a hold",
    "confirm payment",
    "move within a partition",
    "move across partitions",
    "cancel by customer",
    "cancel by store",
    "expire at the deadline",
    "expire after the deadline",
    "expire a hold",
    "unanswered and rejected",
    "unanswered and moved",
    "release",
    "release again",
    "start picking",
    "report pick",
    "not found",
    "damaged",
    "mismatch",
    "nothing found and rejected",
    "nothing found and moved",
    "mark ready",
    "collect all",
    "collect a part",
    "collect after expiry",
    "return to shelf",
    "return to shelf after a move",
    "basket",
    "sale from what is aside",
    "sale from what is promised",
    "sale of both",
    "sale of what was promised, before a count",
];

/// Names what a step came to.
pub fn count(
    step: &Step,
    told: &Outcome,
    new: bool,
    now: Timestamp,
    promises: &[Reservation],
    basket: bool,
    mut name: impl FnMut(&str),
) {
    let after = match told {
        Outcome::Stepped(after) => after,
        Outcome::Refused(refusal) => return name(refusal.reason()),
        other => panic!("{other:?}"),
    };
    if !new {
        let later = promises.iter().any(|p| p.id == after.id && p.changed_at > after.changed_at);
        name(if later { "repeated after a later step" } else { "repeated" });
        if matches!(&step.action, Action::Change(_, Change::Release)) {
            name("release again");
        }
        return;
    }
    let (create, change) = match &step.action {
        Action::Create(create) => (Some(create), None),
        Action::Change(_, change) => (None, Some(change)),
    };
    if basket {
        name("basket");
    }
    if let Some(create) = create {
        name(if create.held_as.is_some() { "hold" } else { "create" });
        if after.lines.len() < create.lines.len() {
            name("create in part");
        }
        if let Some(hold) = create.hold {
            let kept = promises.iter().any(|p| p.held_as == Some(hold.digest));
            let from = if kept { "of the ledger" } else { "elsewhere" };
            name(&format!("create from a hold {from}"));
        }
    }
    if let Some(change) = change {
        count_change(change, after, now, promises, name);
    }
}

/// Names what a change came to.
fn count_change(
    change: &Change,
    after: &Reservation,
    now: Timestamp,
    promises: &[Reservation],
    mut name: impl FnMut(&str),
) {
    let was = |id| promises.iter().find(|promise| promise.id == id);
    let before = was(after.id).or_else(|| was(after.predecessor?)).unwrap();
    let of_hold = if before.held_as.is_some() { " a hold" } else { "" };
    let moved = after.id != before.id;
    match change {
        Change::Amend { .. } => name(&format!("amend{of_hold}")),
        Change::Extend { .. } => name(&format!("extend{of_hold}")),
        Change::ConfirmPayment { .. } => name("confirm payment"),
        Change::Move(_) => {
            let same = before.id.place.partition == after.id.place.partition;
            name(if same { "move within a partition" } else { "move across partitions" });
        }
        Change::Cancel { by: CancelledBy::Customer } => name("cancel by customer"),
        Change::Cancel { by: CancelledBy::Store } => name("cancel by store"),
        Change::Reschedule { .. } if after == before => name("reschedule in vain"),
        Change::Reschedule { .. } => name("reschedule"),
        Change::Expire if before.held_as.is_some() => name("expire a hold"),
        Change::Expire if now == before.expires_at => name("expire at the deadline"),
        Change::Expire => name("expire after the deadline"),
        Change::Unanswered { .. } if moved => name("unanswered and moved"),
        Change::Unanswered { .. } => name("unanswered and rejected"),
        Change::Release => name("release"),
        Change::StartPicking => name("start picking"),
        Change::ReportPick { lines, .. } => {
            name("report pick");
            for line in lines {
                let left = before.line(line.item).map_or(0, |l| l.quantity - l.picked);
                match line.cause {
                    _ if left == line.found => {}
                    ShortCause::NotFound => name("not found"),
                    ShortCause::Damaged => name("damaged"),
                    ShortCause::Mismatch => name("mismatch"),
                }
            }
            match (moved, after.state) {
                (true, _) => name("nothing found and moved"),
                (_, State::Rejected) => name("nothing found and rejected"),
                _ => {}
            }
        }
        Change::MarkReady => name("mark ready"),
        Change::Collect { .. } if before.state == State::Expired => name("collect after expiry"),
        Change::Collect { .. } if after.state == State::Collected => name("collect all"),
        Change::Collect { .. } => name("collect a part"),
        Change::ReturnToShelf if after.state == State::Moved => {
            name("return to shelf after a move");
        }
        Change::ReturnToShelf => name("return to shelf"),
    }
}

/// Names what new sales took from promises.
pub fn count_sales(before: &Memory, world: &World, tally: &mut Tally) {
    for (partition, log) in &world.memory.logs {
        let old = before.logs.get(partition).map_or(0, Vec::len);
        let new = log.iter().skip(old);
        let own = new
            .filter(|entry| entry.reservation_state.is_some() && !entry.flags.has(Flags::REQUEST));
        for entry in own {
            let mut name = |name: &str| *tally.entry(name.to_owned()).or_default() += 1;
            let staged = entry.states.is_some_and(|(from, _)| from == StockState::Staged);
            match entry.kind {
                Kind::Unpick => name("sale of both"),
                Kind::Sale | Kind::ShipOut if staged => name("sale from what is aside"),
                Kind::Sale | Kind::ShipOut if entry.flags.has(Flags::BEFORE_COUNT) => {
                    name("sale of what was promised, before a count");
                }
                Kind::Sale | Kind::ShipOut => name("sale from what is promised"),
                _ => {}
            }
        }
    }
}
