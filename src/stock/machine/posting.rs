//! What a step writes, before it becomes an entry.

use crate::stock::{
    ids::ItemNo,
    kind::{Kind, StockState},
};

/// An entry that a step writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posting {
    pub item: ItemNo,
    pub kind: Kind,
    pub states: Option<(StockState, StockState)>,
    pub quantity: i64,
    pub reserved_change: i64,
    pub doubtful: bool,
    pub reason: &'static str,
}

impl Posting {
    /// An entry of `kind` that moves nothing: RESERVE adds to what is promised, RELEASE takes from it.
    pub(super) fn of(item: ItemNo, kind: Kind, quantity: i64) -> Posting {
        let reserved_change = match kind {
            Kind::Reserve => quantity,
            Kind::Release => -quantity,
            _ => 0,
        };
        let (states, doubtful, reason) = (None, false, "");
        Posting { item, kind, states, quantity, reserved_change, doubtful, reason }
    }

    /// An entry that moves units.
    pub(super) fn moving(
        item: ItemNo,
        kind: Kind,
        states: (StockState, StockState),
        quantity: i64,
    ) -> Posting {
        Posting { states: Some(states), ..Posting::of(item, kind, quantity) }
    }
}
