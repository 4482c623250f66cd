//! The kinds of movements, and the states that they move units between.

/// What happened. The numbers are those of the contract and of the database; from 100 on they are
/// requests, which may be refused for lack of stock.
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
    /// Set aside for a customer; written by steps of reservations only.
    Pick = 15,
    /// Returned to the shelf; written by steps of reservations only.
    Unpick = 16,
    /// Promised; written by steps of reservations only.
    Reserve = 100,
    /// No longer promised; written by steps of reservations only.
    Release = 101,
    /// A step that changed neither stock nor what is promised.
    Step = 102,
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

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 19] = [
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
        Kind::Pick,
        Kind::Unpick,
        Kind::Reserve,
        Kind::Release,
        Kind::Step,
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
            Kind::Pick => "PICK",
            Kind::Unpick => "UNPICK",
            Kind::Reserve => "RESERVE",
            Kind::Release => "RELEASE",
            Kind::Step => "STEP",
        }
    }

    /// Whether the machine writes it of its own accord.
    pub fn is_variance(self) -> bool {
        matches!(self, Kind::CountVariance | Kind::ExpectVariance)
    }

    /// Whether it is a request, which may be refused; the others are facts.
    pub fn is_request(self) -> bool {
        self as i16 >= 100
    }

    /// Whether it may be sent as a movement.
    pub fn is_movement(self) -> bool {
        self as i16 <= Kind::Correct as i16
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
            _ => return None,
        };
        let pick = |stated: Option<StockState>, allowed: &[StockState]| match stated {
            Some(state) => allowed.contains(&state).then_some(state),
            None => allowed.first().copied(),
        };
        Some((pick(from, sources)?, pick(to, targets)?))
    }

    /// The kind with this number, if clients may send it.
    pub fn of_draft(number: i32) -> Option<Kind> {
        Kind::of(number).filter(|kind| kind.is_movement())
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
