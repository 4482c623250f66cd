//! A step of a reservation as the machine takes it: a request, which may be refused.

use std::sync::Arc;

use crate::stock::{
    book::{HoldKey, RequestKey},
    hash::Digest,
    hold::HoldId,
    ids::{ChannelNo, ItemNo, Place, SourceNo},
    reservation::{CancelledBy, ReservationId, Settlement},
    terms::Terms,
    time::Micros,
};

/// Longest reservation: 31 days.
pub const TTL_MAX: Micros = 31 * 86_400_000_000;
/// Lines of one reservation.
pub const LINES_MAX: usize = 200;
/// Reservations of one basket.
pub const BASKET_MAX: usize = 20;

/// One step, with every name resolved.
#[derive(Clone, Debug)]
pub struct Step {
    /// Idempotency key; 1 to 64 printable ASCII characters.
    pub request_id: String,
    /// Who asks.
    pub caller: SourceNo,
    /// [`Digest::of_request`] of caller and key.
    pub digest: Digest,
    /// Over everything that was asked for.
    pub fingerprint: i64,
    /// Who did it in the shop; empty: nobody said.
    pub actor: String,
    /// Through which channel.
    pub channel: Option<ChannelNo>,
    /// Where: the scope of the key.
    pub place: Place,
    /// Why; empty: nobody said.
    pub reason: String,
    /// What is asked for.
    pub action: Action,
}

/// What a step asks for.
#[derive(Clone, Debug)]
pub enum Action {
    /// A promise that is not there yet.
    Create(Box<Create>),
    /// Something about one that is.
    Change(Target, Change),
}

/// A new promise.
#[derive(Clone, Debug)]
pub struct Create {
    /// What; each item once. Empty: the hold had no lines that are known.
    pub lines: Vec<Wanted>,
    /// Promise what is there instead of nothing.
    pub per_line: bool,
    /// How long; `None`: the pickup rule.
    pub ttl: Option<Micros>,
    /// A hold that is consumed and does not count against it.
    pub hold: Option<HoldId>,
    /// The name under which it is a hold itself, not a reservation.
    pub held_as: Option<HoldId>,
    /// Where it is paid.
    pub settlement: Settlement,
    /// For other systems.
    pub order_ref: String,
    /// For other systems.
    pub customer_ref: String,
    /// What its location and channel say.
    pub terms: Arc<Terms>,
}

/// An item and how many of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which item; provisional where nobody has heard of it.
    pub item: ItemNo,
    /// Its code.
    pub sku: String,
    /// Whether stock is kept of it.
    pub stock_item: bool,
    /// Units, at least 1.
    pub quantity: i64,
}

/// What was found of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which item.
    pub item: ItemNo,
    /// Its code.
    pub sku: String,
    /// Units.
    pub found: i64,
    /// Why not all of them.
    pub cause: ShortCause,
}

/// Why fewer units were found than were promised. The missing ones are no longer promised in any
/// case, and the position is doubtful until it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShortCause {
    /// They are not there: written off.
    #[default]
    NotFound,
    /// They are there and cannot be sold: blocked.
    Damaged,
    /// Something else lay in their place: stock stays as it is.
    Mismatch,
}

/// Another location that may take a promise over.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// Where.
    pub to: Place,
    /// What it needs there, as far as it could be seen without the lock: what the reservation layer
    /// is asked for.
    pub more: Vec<Wanted>,
    /// What that location and the channel say.
    pub terms: Arc<Terms>,
}

/// Which promise a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A reservation, or by the sweeper a hold.
    Reservation(ReservationId),
    /// A hold that was taken in the ledger.
    Hold(HoldId),
}

/// What happens to a promise.
#[derive(Clone, Debug)]
pub enum Change {
    /// Other lines.
    Amend {
        /// All of them; with quantity 0, or not named, it is dropped.
        lines: Vec<Wanted>,
        /// What they add, as far as it could be seen without the lock: what the reservation layer
        /// is asked for.
        more: Vec<Wanted>,
        /// A new end, counted from now; `None`: the old one.
        ttl: Option<Micros>,
        /// What its location and channel say.
        terms: Arc<Terms>,
    },
    /// Another end, counted from now.
    Extend {
        /// How long.
        ttl: Micros,
        /// What its location and channel say.
        terms: Arc<Terms>,
    },
    /// It was paid.
    ConfirmPayment {
        /// What its location and channel say.
        terms: Arc<Terms>,
    },
    /// To another location.
    Move(Elsewhere),
    /// Given up.
    Cancel {
        /// By whom.
        by: CancelledBy,
    },
    /// Its location's hours changed: its deadlines follow them.
    Reschedule {
        /// What its location and channel say.
        terms: Arc<Terms>,
    },
    /// Its time is over.
    Expire,
    /// The store did not begin to pick in time.
    Unanswered {
        /// Where it goes; `None`: it is rejected.
        elsewhere: Option<Elsewhere>,
    },
    /// A hold is given back.
    Release,
    /// The store begins to pick.
    StartPicking,
    /// What was found.
    ReportPick {
        /// Each item once.
        lines: Vec<Found>,
        /// Where it goes if nothing at all was found; `None`: it is rejected then.
        elsewhere: Option<Elsewhere>,
    },
    /// Everything is aside.
    MarkReady,
    /// Goods are handed over.
    Collect {
        /// Each item once; empty: all that is left.
        lines: Vec<Wanted>,
        /// Whether the code that was shown, if any, is its own.
        code_fits: bool,
    },
    /// What is aside goes back.
    ReturnToShelf,
}

impl Change {
    /// Whether it brings the goods nearer to the customer.
    pub fn hands_over(&self) -> bool {
        matches!(
            self,
            Change::StartPicking
                | Change::ReportPick { .. }
                | Change::MarkReady
                | Change::Collect { .. }
        )
    }

    /// The other location that it may write to.
    pub fn elsewhere(&self) -> Option<&Elsewhere> {
        match self {
            Change::Move(elsewhere) => Some(elsewhere),
            Change::ReportPick { elsewhere, .. } | Change::Unanswered { elsewhere } => {
                elsewhere.as_ref()
            }
            _ => None,
        }
    }
}

impl ShortCause {
    /// The cause with this reason code; an empty one is the default.
    pub fn of(reason: &str) -> Option<ShortCause> {
        match reason {
            "" | "not_found" => Some(ShortCause::NotFound),
            "damaged" => Some(ShortCause::Damaged),
            "mismatch" => Some(ShortCause::Mismatch),
            _ => None,
        }
    }

    /// Its reason code.
    pub fn reason(self) -> &'static str {
        match self {
            ShortCause::NotFound => "not_found",
            ShortCause::Damaged => "damaged",
            ShortCause::Mismatch => "mismatch",
        }
    }
}

impl Step {
    /// What makes it unique.
    pub fn request(&self) -> RequestKey {
        RequestKey { place: self.place, digest: self.digest }
    }

    /// Every place whose ledger it writes to.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let to = match &self.action {
            Action::Change(_, change) => change.elsewhere().map(|elsewhere| elsewhere.to),
            _ => None,
        };
        [Some(self.place), to].into_iter().flatten()
    }

    /// Items that it names, with where.
    pub fn wanted(&self) -> (Place, &[Wanted]) {
        match &self.action {
            Action::Create(create) => (self.place, &create.lines),
            Action::Change(_, Change::Amend { lines, .. }) => (self.place, lines),
            Action::Change(..) => (self.place, &[]),
        }
    }

    /// Where it takes its turn among other reservations, if it does.
    pub fn takes_slot(&self) -> Option<Place> {
        let (place, terms) = match &self.action {
            Action::Create(create) if create.held_as.is_none() => (self.place, &create.terms),
            Action::Change(_, Change::Reschedule { terms }) => (self.place, terms),
            Action::Change(_, change) => {
                change.elsewhere().map(|elsewhere| (elsewhere.to, &elsewhere.terms))?
            }
            Action::Create(_) => return None,
        };
        (terms.pickups_per_quarter_hour > 0).then_some(place)
    }

    /// The holds that it must know of.
    pub fn holds(&self) -> impl Iterator<Item = HoldKey> + '_ {
        let (one, other) = match &self.action {
            Action::Create(create) => (create.hold, create.held_as),
            Action::Change(Target::Hold(hold), _) => (Some(*hold), None),
            Action::Change(..) => (None, None),
        };
        [one, other].into_iter().flatten().map(HoldKey::of)
    }
}
