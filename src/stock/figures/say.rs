//! What one entry says of a reservation: the same for reports and for metrics.

use crate::stock::{
    entry::{Entry, Flags},
    event::stepped,
    kind::Kind,
    reservation::{ReservationId, State},
};

/// The cause of a move or rejection by which a store did not begin to pick in time.
const UNANSWERED: &str = "unanswered";

/// What a step of a reservation did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It was made.
    Made,
    /// It continues one of another location.
    MovedIn,
    /// It is READY, for the first time or still.
    Ready,
    /// The last unit was handed over.
    Collected,
    /// Something was handed over, and something is left.
    CollectedInPart,
    /// It ended otherwise.
    Ended(State),
    /// Something else.
    Stepped,
}

/// What an entry says of the reservation that it is the step of; `None`: it is of none, of a hold, or
/// only goes along with the entry that says it.
pub fn said(entry: &Entry<'_>) -> Option<(ReservationId, Said)> {
    let id = stepped(entry)?;
    let handed_over = matches!(entry.kind, Kind::Sale | Kind::ShipOut);
    let said = match entry.reservation_state? {
        _ if id.no == entry.seq && entry.flags.has(Flags::SECONDARY) => Said::MovedIn,
        _ if id.no == entry.seq => Said::Made,
        State::Collected => Said::Collected,
        _ if handed_over => Said::CollectedInPart,
        State::Ready => Said::Ready,
        // What a finished one still has aside goes back to the shelf: it does not end again.
        State::Cancelled | State::Rejected | State::Expired | State::Moved
            if entry.kind == Kind::Unpick =>
        {
            Said::Stepped
        }
        state @ (State::Cancelled | State::Rejected | State::Expired | State::Moved) => {
            Said::Ended(state)
        }
        _ => Said::Stepped,
    };
    Some((id, said))
}

impl Said {
    /// Whether a step that ended so broke the promise by no fault of the customer. A step of a short
    /// pick breaks it too, however it ended.
    pub fn broken(self, by_store: bool, was_ready: bool, reason: &str) -> bool {
        match self {
            Said::Ended(State::Rejected) => true,
            Said::Ended(State::Cancelled) => by_store,
            Said::Ended(State::Expired) => !was_ready,
            Said::Ended(State::Moved) => reason == UNANSWERED,
            _ => false,
        }
    }
}

/// Whether an entry says that units which were promised were not found.
pub fn is_short_pick(entry: &Entry<'_>) -> bool {
    let of_reservation = entry.reservation_state.is_some_and(|state| state < State::Held);
    of_reservation && entry.kind == Kind::Release && entry.flags.has(Flags::DOUBTFUL)
}
