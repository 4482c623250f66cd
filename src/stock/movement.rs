//! What is reported: the movement as it was sent, the static rules that it must keep, and the
//! movement as the machine takes it.

use crate::stock::{
    hash::{Digest, StableHash},
    ids::{ChannelNo, ItemNo, Place, SourceNo, is_identifier, is_key, is_reason, is_sku, is_text},
    refusal::Refusal,
    time::{Micros, Timestamp},
};

/// Largest quantity of one movement.
pub const QUANTITY_MAX: i64 = 1_000_000_000;
/// Largest offset of local time from UTC, in minutes.
pub const UTC_OFFSET_MINUTES_MAX: i32 = 1_080;
/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 500;
/// Largest line number within a document.
pub const DOCUMENT_LINE_MAX: u32 = 1_000_000_000;

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

/// A movement as it was sent: nothing about it is certain yet. An empty text, a zero and `None`
/// mean "not stated".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Movement")]
pub struct Draft {
    pub key: String,
    pub kind: i32,
    pub location_id: String,
    pub sku: String,
    pub quantity: i64,
    pub occurred_at: Option<Timestamp>,
    pub utc_offset_minutes: i32,
    pub channel_id: String,
    pub reason: String,
    pub document: String,
    pub document_line: u32,
    pub note: String,
    pub from_state: i32,
    pub to_state: i32,
    pub to_location_id: String,
    pub reservation_id: String,
    pub hold_id: String,
    pub original: Option<(String, String)>,
    pub expected_at: Option<Timestamp>,
    pub group: String,
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

impl Draft {
    /// The static rules: everything that can be judged without looking at any state.
    ///
    /// # Errors
    /// The first refusal in order of precedence.
    pub fn check(&self) -> Result<Kind, Refusal> {
        if !is_key(&self.key) {
            return Err(Refusal::KeyInvalid);
        }
        let kind = Kind::of_draft(self.kind).ok_or(Refusal::KindInvalid { kind: self.kind })?;
        if !is_identifier(&self.location_id) {
            return Err(Refusal::LocationIdInvalid);
        }
        if !is_sku(&self.sku) {
            return Err(Refusal::SkuInvalid);
        }
        self.check_fields(kind)?;
        let quantity_min = i64::from(!matches!(kind, Kind::Count | Kind::Correct));
        if !(quantity_min..=QUANTITY_MAX).contains(&self.quantity) {
            return Err(Refusal::QuantityOutOfRange { quantity: self.quantity });
        }
        let (from, to) = (StockState::of(self.from_state), StockState::of(self.to_state));
        kind.legs(from, to).ok_or(Refusal::StateInvalid)?;
        let reason_required = match kind {
            Kind::Adjust => self.reason.is_empty(),
            Kind::Return => self.reason.is_empty() && self.original.is_none(),
            Kind::Correct => !matches!(&*self.reason, "did_not_occur" | "incorrect_data"),
            _ => false,
        };
        if reason_required {
            return Err(Refusal::ReasonRequired);
        }
        if kind == Kind::Correct && self.original.is_none() {
            return Err(Refusal::OriginalRequired);
        }
        let receiver_fits = match kind {
            Kind::TransferShip => {
                is_identifier(&self.to_location_id) && self.to_location_id != self.location_id
            }
            _ => self.to_location_id.is_empty(),
        };
        if !receiver_fits {
            return Err(Refusal::ToLocationInvalid);
        }
        Ok(kind)
    }

    /// Over the canonical fields; a field at its default counts as left out, however it was encoded.
    pub fn fingerprint(&self) -> i64 {
        let mut hash = StableHash::new("movement");
        hash.number(i64::from(self.kind));
        for text in [&self.location_id, &self.sku, &self.channel_id, &self.reason, &self.document] {
            hash.text(text);
        }
        for text in [&self.note, &self.to_location_id, &self.reservation_id, &self.hold_id] {
            hash.text(text);
        }
        hash.text(&self.group);
        hash.number(self.quantity);
        hash.optional(self.occurred_at.map(|at| at.0));
        hash.number(i64::from(self.utc_offset_minutes));
        hash.number(i64::from(self.document_line));
        hash.number(i64::from(self.from_state));
        hash.number(i64::from(self.to_state));
        hash.optional(self.expected_at.map(|at| at.0));
        if let Some((source, key)) = &self.original {
            hash.text(source);
            hash.text(key);
        }
        hash.finish_i64()
    }

    fn check_fields(&self, kind: Kind) -> Result<(), Refusal> {
        let empty_or = |text: &String, rule: fn(&str) -> bool| text.is_empty() || rule(text);
        let state_known = |state: i32| state == 0 || StockState::of(state).is_some();
        let original_fits = match (&self.original, kind) {
            (None, _) => true,
            (Some((source, key)), Kind::Correct | Kind::Return | Kind::TransferReceive) => {
                is_identifier(source) && is_key(key)
            }
            (Some(_), _) => false,
        };
        let fields = [
            (
                "utc_offset_minutes",
                self.utc_offset_minutes.abs_diff(0) <= UTC_OFFSET_MINUTES_MAX as u32,
            ),
            ("channel_id", empty_or(&self.channel_id, is_identifier)),
            ("reason", empty_or(&self.reason, is_reason)),
            ("document", empty_or(&self.document, is_key)),
            ("document_line", self.document_line <= DOCUMENT_LINE_MAX),
            ("note", is_text(&self.note, NOTE_CHARS_MAX)),
            ("from_state", state_known(self.from_state)),
            ("to_state", state_known(self.to_state)),
            ("reservation_id", empty_or(&self.reservation_id, is_identifier)),
            ("hold_id", empty_or(&self.hold_id, is_identifier)),
            ("original", original_fits),
            (
                "expected_at",
                self.expected_at.is_none_or(|at| kind == Kind::Expect && at.is_storable()),
            ),
            ("group", empty_or(&self.group, is_key)),
        ];
        match fields.into_iter().find(|(_, fits)| !fits) {
            Some((field, _)) => Err(Refusal::FieldInvalid { field }),
            None => Ok(()),
        }
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

    fn of_draft(number: i32) -> Option<Kind> {
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
