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
        atomic::{AtomicUsize, Ordering},
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
enum Kind {
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

/// A seat in it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Room,
    kind: Kind,
}

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Inner { taken: Default::default(), promises: Limit::new(PROMISES_MAX) }))
    }
}

impl Room {
    /// A seat for a call of this path, or `None`: there is none left.
    pub(crate) fn enter(&self, path: &str) -> Option<Seat> {
        let kind = Kind::of(path);
        // Given back at once where it was one too many.
        let before = self.taken(kind).fetch_add(1, Ordering::Relaxed);
        let seat = Seat { room: self.clone(), kind };
        (before < self.max(kind)).then_some(seat)
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
    /// Gives it back with what became of its call, which had so much time; `None`: any.
    pub(crate) fn answered(self, code: Code, time: Option<Duration>) {
        let in_time = !matches!(code, Code::ResourceExhausted | Code::DeadlineExceeded);
        let tells = in_time || time.is_none_or(|time| time >= PATIENT);
        if self.kind == Kind::Promise && tells {
            let taken = self.room.taken(self.kind).load(Ordering::Relaxed);
            self.room.0.promises.learn(taken, in_time, Instant::now());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.taken(self.kind).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Kind {
    fn of(path: &str) -> Kind {
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
            ("/stockroom.v1.ReservationService/CollectReservation", Kind::Fact),
            ("/stockroom.v1.MovementService/RecordMovements", Kind::Fact),
            ("/grpc.health.v1.Health/Check", Kind::Fact),
            ("", Kind::Fact),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[test]
    fn the_room_of_one_kind_is_not_that_of_another_and_is_given_back() {
        let room = Room::default();
        let mut seats: Vec<_> =
            (0..READS_MAX).map(|_| room.enter("/stockroom.v1.S/GetItem")).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(room.enter("/stockroom.v1.S/GetItem").is_none());
        assert!(room.enter("/stockroom.v1.S/HoldStock").is_some());
        seats.pop();
        assert!(room.enter("/stockroom.v1.S/GetItem").is_some());
    }
    #[test]
    fn who_had_no_time_does_not_make_the_room_smaller() {
        let room = Room::default();
        let enter = || room.enter("/stockroom.v1.S/HoldStock").unwrap();
        let _others: Vec<_> = (0..100).map(|_| enter()).collect();
        enter().answered(Code::DeadlineExceeded, Some(PATIENT / 2));
        assert_eq!(room.max(Kind::Promise), PROMISES_MAX);
        enter().answered(Code::DeadlineExceeded, Some(PATIENT));
        assert_eq!(room.max(Kind::Promise), 89, "an eighth less than 101");
    }
}
