//! Overload: a call that could not be answered in time is refused at once, so that those under way are.
//!
//! Calls of different worth have room of their own: a flood of reads takes none from reservations, and
//! what a stalled ledger keeps waiting takes none from reads that do without it. The room of calls that
//! ask for stock becomes smaller while some of them are late or refused by a lane, which has read and
//! resolved them in vain: who finds no room costs next to nothing.

mod limit;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tonic::Code;

use self::limit::Limit;

/// Calls of each kind that may be under way at once; of a stream, until it has begun. A reservation
/// takes about 100 us on one core, so that the last one let in is answered well before its deadline.
const READS_MAX: usize = 512;
const PROMISES_MAX: usize = 1_024;
/// More, because what has happened, or gives stock back, is never less welcome.
const FACTS_MAX: usize = 2_048;

/// Who gives a call less time than this says nothing of how long others wait.
const PATIENT: Duration = Duration::from_millis(500);

/// Methods that ask for stock.
const PROMISES: [&str; 5] =
    ["HoldStock", "ReplaceHold", "CreateReservation", "BatchCreateReservations", "MoveReservation"];
/// What the names of methods that only read begin with.
const READS: [&str; 9] =
    ["Check", "Explain", "Export", "Find", "Get", "BatchGet", "List", "Preview", "Watch"];

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Looks at something.
    Read,
    /// Asks for stock.
    Promise,
    /// Says what has happened, gives back or settles; and everything that is rarely called.
    Fact,
}

/// How many calls are under way, and may be. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    taken: [AtomicUsize; 3],
    promises: Limit,
}

/// A seat in it for one call, which takes it once; given back when the call is answered, or dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Room,
    kind: Kind,
    state: AtomicU8,
}

/// States of a seat.
const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const LEFT: u8 = 2;

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Inner { taken: Default::default(), promises: Limit::new(PROMISES_MAX) }))
    }
}

impl Room {
    /// A seat for a call of this path, not taken yet.
    pub(crate) fn seat(&self, path: &str) -> Seat {
        Seat { room: self.clone(), kind: Kind::of(path), state: AtomicU8::new(WAITING) }
    }

    fn max(&self, kind: Kind) -> usize {
        match kind {
            Kind::Read => READS_MAX,
            Kind::Promise => self.0.promises.get(),
            Kind::Fact => FACTS_MAX,
        }
    }

    fn taken(&self, kind: Kind) -> &AtomicUsize {
        let [reads, promises, facts] = &self.0.taken;
        match kind {
            Kind::Read => reads,
            Kind::Promise => promises,
            Kind::Fact => facts,
        }
    }
}

impl Seat {
    /// Whether there is room for a call of its kind.
    pub(crate) fn is_free(&self) -> bool {
        self.room.taken(self.kind).load(Ordering::Relaxed) < self.room.max(self.kind)
    }

    /// Takes it, unless it was taken before; false: there is none left.
    pub(crate) fn enter(&self) -> bool {
        let ordering = Ordering::Relaxed;
        if self.state.compare_exchange(WAITING, TAKEN, ordering, ordering).is_err() {
            return true;
        }
        let before = self.room.taken(self.kind).fetch_add(1, ordering);
        let fits = before < self.room.max(self.kind);
        if !fits {
            self.leave();
        }
        fits
    }

    /// Gives it back with what became of its call, which had so much time; `None`: any.
    pub(crate) fn answered(&self, code: Code, time: Option<Duration>) {
        let in_time = !matches!(code, Code::ResourceExhausted | Code::DeadlineExceeded);
        let tells = in_time || time.is_none_or(|time| time >= PATIENT);
        let is_taken = self.state.load(Ordering::Relaxed) == TAKEN;
        if self.kind == Kind::Promise && tells && is_taken {
            let taken = self.room.taken(self.kind).load(Ordering::Relaxed);
            self.room.0.promises.learn(taken, in_time, Instant::now());
        }
        self.leave();
    }

    fn leave(&self) {
        if self.state.swap(LEFT, Ordering::Relaxed) == TAKEN {
            self.room.taken(self.kind).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Kind {
    /// What a call of this path is for.
    pub(crate) fn of(path: &str) -> Kind {
        let ours = path.strip_prefix("/stockroom.v1.").and_then(|path| path.split_once('/'));
        let reads = |method: &str| READS.iter().any(|begin| method.starts_with(begin));
        match ours {
            Some((_, method)) if PROMISES.contains(&method) => Kind::Promise,
            Some((_, method)) if reads(method) => Kind::Read,
            _ => Kind::Fact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_happened_has_more_room_than_what_is_asked_for() {
        for (path, kind) in [
            ("/stockroom.v1.AvailabilityService/CheckAvailability", Kind::Read),
            ("/stockroom.v1.AvailabilityService/ExplainAvailability", Kind::Read),
            ("/stockroom.v1.AvailabilityService/FindPickupLocations", Kind::Read),
            ("/stockroom.v1.AvailabilityService/WatchAvailability", Kind::Read),
            ("/stockroom.v1.LedgerService/BatchGetPositions", Kind::Read),
            ("/stockroom.v1.LedgerService/ExportPositions", Kind::Read),
            ("/stockroom.v1.ReservationService/ListReservations", Kind::Read),
            ("/stockroom.v1.NetworkService/PreviewChannelPolicy", Kind::Read),
            ("/stockroom.v1.ReservationService/CreateReservation", Kind::Promise),
            ("/stockroom.v1.ReservationService/HoldStock", Kind::Promise),
            ("/stockroom.v1.ReservationService/ReleaseHold", Kind::Fact),
            ("/stockroom.v1.ReservationService/CancelReservation", Kind::Fact),
            ("/stockroom.v1.ReservationService/ConfirmReservationPayment", Kind::Fact),
            ("/stockroom.v1.ReservationService/CollectReservation", Kind::Fact),
            ("/stockroom.v1.MovementService/RecordMovements", Kind::Fact),
            ("/grpc.health.v1.Health/Check", Kind::Fact),
            ("", Kind::Fact),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
        let room = Room::default();
        let [reads, promises, facts] =
            [Kind::Read, Kind::Promise, Kind::Fact].map(|kind| room.max(kind));
        assert!(reads < promises && promises < facts);
    }

    /// A seat that was taken.
    fn seated(room: &Room, path: &str) -> Option<Seat> {
        let seat = room.seat(path);
        seat.enter().then_some(seat)
    }

    #[test]
    fn the_room_of_one_kind_is_not_that_of_another_and_is_given_back() {
        let room = Room::default();
        let _waiting = room.seat("/stockroom.v1.S/GetItem");
        let mut seats: Vec<_> =
            (0..READS_MAX).map(|_| seated(&room, "/stockroom.v1.S/GetItem")).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(!room.seat("/stockroom.v1.S/GetItem").is_free());
        assert!(seated(&room, "/stockroom.v1.S/GetItem").is_none());
        assert!(seated(&room, "/stockroom.v1.S/HoldStock").is_some());
        seats.pop();
        assert!(seated(&room, "/stockroom.v1.S/GetItem").is_some());
    }

    #[test]
    fn a_seat_is_taken_once_and_given_back_once() {
        let room = Room::default();
        let seat = room.seat("/stockroom.v1.S/GetItem");
        let taken = || room.taken(Kind::Read).load(Ordering::Relaxed);
        assert_eq!(taken(), 0);
        assert!(seat.enter() && seat.enter());
        assert_eq!(taken(), 1);
        seat.answered(Code::Ok, None);
        assert!(seat.enter(), "a stream goes on without it");
        assert_eq!(taken(), 0);
        drop(seat);
        assert_eq!(taken(), 0);
    }

    #[test]
    fn who_had_no_time_does_not_make_the_room_smaller() {
        let room = Room::default();
        let enter = || seated(&room, "/stockroom.v1.S/HoldStock").unwrap();
        let _others: Vec<_> = (0..100).map(|_| enter()).collect();
        enter().answered(Code::DeadlineExceeded, Some(PATIENT / 2));
        assert_eq!(room.max(Kind::Promise), PROMISES_MAX);
        enter().answered(Code::DeadlineExceeded, Some(PATIENT));
        assert_eq!(room.max(Kind::Promise), 89, "an eighth less than 101");
    }
}
