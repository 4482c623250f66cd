//! What happened: the kinds of movements, the states they move units between, and a movement as the
//! machine takes it.

use crate::stock::{
    draft::Draft,
    hash::Digest,
    ids::{ChannelNo, ItemNo, Place, SourceNo},
    time::Micros,
};

/// What happened. The numbers are those of the contract and of the database; from 100 on they are
/// left to requests, which may be refused for lack of stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Kind {
    /// Goods arrived.
    Receipt = 1,
    /// A supplier announced goods.
    Expect = 2,
    /// Sold over a till.
    Sale = 3,
    /// Sent to a customer.
    ShipOut = 4,
    /// Came back.
    Return = 5,
    /// Left for another location.
    TransferShip = 6,
    /// Arrived from another location.
    TransferReceive = 7,
    /// Found, lost, damaged.
    Adjust = 8,
    /// Taken off sale.
    Block = 9,
    /// Put back on sale.
    Unblock = 10,
    /// Counted.
    Count = 11,
    /// The exact inverse of another movement.
    Correct = 12,
    /// Makes SELLABLE equal what was counted; written by the machine only.
    CountVariance = 13,
    /// Makes EXPECTED equal what is still announced; written by the machine only.
    ExpectVariance = 14,
}

/// Where a unit is. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum StockState {
    /// May be sold.
    Sellable = 1,
    /// Set aside for a customer.
    Staged = 2,
    /// Damaged, in quarantine or recalled.
    Blocked = 3,
    /// On the way here.
    InTransit = 4,
    /// Announced by a supplier.
    Expected = 5,
    /// Outside.
    External = 6,
}

/// A movement that kept the static rules and whose names are resolved: what the machine takes.
#[derive(Clone, Debug)]
pub struct Movement {
    /// As it was sent.
    pub draft: Draft,
    /// Who decided, where it was not the source itself; empty: nobody else.
    pub actor: String,
    /// Digest of source and key.
    pub digest: Digest,
    /// [`Draft::fingerprint`].
    pub fingerprint: i64,
    /// Who sent it.
    pub source: SourceNo,
    /// What happened.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// Where a transfer goes.
    pub to_place: Option<Place>,
    /// Which item.
    pub item: ItemNo,
    /// Whether stock is kept of the item.
    pub stock_item: bool,
    /// Through which channel.
    pub channel: Option<ChannelNo>,
    /// What to add to `occurred_at`: how far the source's clock is behind the ledger's.
    pub clock_offset: Micros,
    /// What it refers to.
    pub original: Option<Original>,
}

/// Where to look for what a movement refers to.
#[derive(Clone, Copy, Debug)]
pub struct Original {
    /// Digest of its source and key.
    pub digest: Digest,
    /// Where it was found before the machine ran; `None`: look at the movement's own location.
    pub place: Option<Place>,
    /// Where its other half is, if it is a transfer or a linked return.
    pub counter_place: Option<Place>,
}

/// One or more movements that are posted together or not at all.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every command is one movement, by value")]
pub enum Command {
    /// On its own.
    One(Movement),
    /// A group, such as an exchange.
    Group(Vec<Movement>),
    /// What is left of a group of which a line was refused already: judged, and not posted.
    Spoiled(Vec<Movement>),
}

impl Command {
    /// Its movements, in order.
    pub fn movements(&self) -> &[Movement] {
        match self {
            Command::One(movement) => std::slice::from_ref(movement),
            Command::Group(movements) | Command::Spoiled(movements) => movements,
        }
    }

    /// Its movements, in order.
    pub fn movements_mut(&mut self) -> &mut [Movement] {
        match self {
            Command::One(movement) => std::slice::from_mut(movement),
            Command::Group(movements) | Command::Spoiled(movements) => movements,
        }
    }

    /// Its movements, in order.
    pub fn into_movements(self) -> Vec<Movement> {
        match self {
            Command::One(movement) => vec![movement],
            Command::Group(movements) | Command::Spoiled(movements) => movements,
        }
    }
}

impl Movement {
    /// Every place whose ledger this movement may write to or must read under lock.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let original = self.original.as_ref();
        [
            Some(self.place),
            self.to_place,
            original.and_then(|original| original.place),
            original.and_then(|original| original.counter_place),
        ]
        .into_iter()
        .flatten()
    }
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 14] = [
        Kind::Receipt,
        Kind::Expect,
        Kind::Sale,
        Kind::ShipOut,
        Kind::Return,
        Kind::TransferShip,
        Kind::TransferReceive,
        Kind::Adjust,
        Kind::Block,
        Kind::Unblock,
        Kind::Count,
        Kind::Correct,
        Kind::CountVariance,
        Kind::ExpectVariance,
    ];

    /// The kind with this number.
    pub fn of(number: i32) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as i32 == number)
    }

    /// The name, as in the contract but for its prefix.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Receipt => "RECEIPT",
            Kind::Expect => "EXPECT",
            Kind::Sale => "SALE",
            Kind::ShipOut => "SHIP_OUT",
            Kind::Return => "RETURN",
            Kind::TransferShip => "TRANSFER_SHIP",
            Kind::TransferReceive => "TRANSFER_RECEIVE",
            Kind::Adjust => "ADJUST",
            Kind::Block => "BLOCK",
            Kind::Unblock => "UNBLOCK",
            Kind::Count => "COUNT",
            Kind::Correct => "CORRECT",
            Kind::CountVariance => "COUNT_VARIANCE",
            Kind::ExpectVariance => "EXPECT_VARIANCE",
        }
    }

    /// Whether the machine writes it of its own accord.
    pub fn is_variance(self) -> bool {
        matches!(self, Kind::CountVariance | Kind::ExpectVariance)
    }

    /// Where the units of such a movement come from and go, given what was stated; `None`: not
    /// allowed. COUNT and CORRECT name no states. An unstated `from` of RECEIPT is EXTERNAL here; the
    /// machine turns it into EXPECTED where the document was announced.
    pub fn legs(
        self,
        from: Option<StockState>,
        to: Option<StockState>,
    ) -> Option<(StockState, StockState)> {
        use StockState::{Blocked, Expected, External, InTransit, Sellable, Staged};
        let (sources, targets): (&[StockState], &[StockState]) = match self {
            Kind::Receipt => (&[External, Expected], &[Sellable, Blocked]),
            Kind::Expect => (&[External], &[Expected]),
            Kind::Sale | Kind::ShipOut => (&[Sellable, Staged], &[External]),
            Kind::Return => (&[External], &[Sellable, Blocked]),
            Kind::TransferShip => (&[Sellable], &[InTransit]),
            Kind::TransferReceive => (&[InTransit], &[Sellable]),
            Kind::Block => (&[Sellable], &[Blocked]),
            Kind::Unblock => (&[Blocked], &[Sellable]),
            Kind::Adjust => {
                let (from, to) = match (from, to) {
                    (None, None) => return None,
                    (from, to) => (from.unwrap_or(External), to.unwrap_or(External)),
                };
                let one_outside = (from == External) != (to == External);
                return one_outside.then_some((from, to));
            }
            Kind::Count | Kind::Correct => {
                return (from.is_none() && to.is_none()).then_some((External, Sellable));
            }
            Kind::CountVariance | Kind::ExpectVariance => return None,
        };
        let pick = |stated: Option<StockState>, allowed: &[StockState]| match stated {
            Some(state) => allowed.contains(&state).then_some(state),
            None => allowed.first().copied(),
        };
        Some((pick(from, sources)?, pick(to, targets)?))
    }

    pub(super) fn of_draft(number: i32) -> Option<Kind> {
        Kind::of(number).filter(|kind| !kind.is_variance())
    }
}

impl StockState {
    /// The state with this number; 0 and unknown numbers are none.
    pub fn of(number: i32) -> Option<StockState> {
        use StockState::{Blocked, Expected, External, InTransit, Sellable, Staged};
        [Sellable, Staged, Blocked, InTransit, Expected, External]
            .into_iter()
            .find(|state| *state as i32 == number)
    }

    /// The name, as in the contract but for its prefix.
    pub fn name(self) -> &'static str {
        match self {
            StockState::Sellable => "SELLABLE",
            StockState::Staged => "STAGED",
            StockState::Blocked => "BLOCKED",
            StockState::InTransit => "IN_TRANSIT",
            StockState::Expected => "EXPECTED",
            StockState::External => "EXTERNAL",
        }
    }
}
