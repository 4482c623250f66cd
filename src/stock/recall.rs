//! Recalled items: nothing of them is promised, picked or handed over, and what comes in is blocked.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::stock::{
    entry::{Entry, Flags},
    ids::ItemNo,
    kind::{Kind, StockState},
    refusal::Refusal,
    reservation::Reservation,
    step::Wanted,
};

/// The reason of entries that a recall makes necessary.
pub const RECALL: &str = "recall";

/// The items that are recalled at the moment, and their codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recalled(FxHashMap<ItemNo, Arc<str>>);

impl Recalled {
    /// Whether an item is.
    pub fn has(&self, item: ItemNo) -> bool {
        self.0.contains_key(&item)
    }

    /// Adds an item, or takes it off.
    pub fn put(&mut self, item: ItemNo, sku: &Arc<str>, recalled: bool) {
        match recalled {
            true => self.0.insert(item, Arc::clone(sku)),
            false => self.0.remove(&item),
        };
    }

    /// Whether all of these items may be promised.
    ///
    /// # Errors
    /// One of them is recalled.
    pub fn check(&self, lines: &[Wanted]) -> Result<(), Refusal> {
        lines.iter().try_for_each(|line| self.check_item(line.item))
    }

    /// Whether what a reservation still promises may be picked and handed over.
    ///
    /// # Errors
    /// A part of it is recalled.
    pub fn check_open(&self, reservation: &Reservation) -> Result<(), Refusal> {
        let open = reservation.lines.iter().filter(|line| line.quantity > line.collected);
        open.map(|line| line.item).try_for_each(|item| self.check_item(item))
    }

    fn check_item(&self, item: ItemNo) -> Result<(), Refusal> {
        let sku = self.0.get(&item);
        sku.map_or(Ok(()), |sku| Err(Refusal::ItemRecalled { sku: sku.to_string() }))
    }

    /// What becomes of a fact about a recalled item: what enters SELLABLE is blocked, whoever said
    /// otherwise, and what left is marked, because it should not have.
    pub(super) fn redirect(&self, entry: &mut Entry<'_>) {
        if self.0.is_empty() || !self.has(entry.item) {
            return;
        }
        let Some((from, to)) = &mut entry.states else { return };
        let enters = matches!(
            entry.kind,
            Kind::Return | Kind::Receipt | Kind::TransferReceive | Kind::Adjust
        );
        let leaves = matches!(entry.kind, Kind::Sale | Kind::ShipOut | Kind::TransferShip);
        if enters && *to == StockState::Sellable {
            *to = StockState::Blocked;
        } else if !(leaves && matches!(from, StockState::Sellable | StockState::Staged)) {
            return;
        }
        entry.flags = entry.flags.with(Flags::RECALLED);
    }
}
