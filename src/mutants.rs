//! Deliberate defects, to prove that the tests would find them. One at a time is on, in one thread, and
//! only where the feature `simulation` is compiled in; elsewhere none ever is, and the compiler drops
//! them. Each stands where a careless change would put it. It imports nothing, so that everyone may
//! import it.

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// A batch locks no head.
    NoHeadLock,
    /// What a batch decides on is read as it was before the lock was granted.
    LockJoinedWithRead,
    /// Heads of several partitions are locked in any order.
    HeadsLockedInAnyOrder,
    /// A batch is answered before its COMMIT.
    AnswerBeforeCommit,
    /// A COMMIT of which nothing is known counts as done.
    UnknownTakenForDone,
    /// No key is remembered.
    NoRequestRow,
    /// What was sent under a used key is not compared.
    FingerprintIgnored,
    /// A database that changed under the ledger is not noticed.
    EpochIgnored,
    /// The timeline is read where it lags behind for seconds.
    TimelineLags,
    /// What is due is decided by the clock of the server.
    ExpiryByServersClock,
    /// Lines of one request about one item are judged one by one.
    LinesNotSummed,
    /// What fits of a request that wants all or nothing is granted.
    PartialMultiLine,
    /// What of a basket was granted stands although another part of it was refused.
    BasketInParts,
    /// A hold may be consumed by several reservations.
    HoldConsumedTwice,
    /// A request that is short is refused without looking its key up.
    ShortWithoutLookUp,
    /// A request that only batches under way stand against is refused.
    ContendedRefused,
    /// A fact that a count includes already changes the balance.
    LateFactChangesCount,
    /// The tailer does not drop the holds that entries consumed.
    ConsumedHoldsProjectedNot,
    /// A rebuild notes more than it will have read.
    RebuildNotesTooMuch,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 19] = [
        Mutant::NoHeadLock,
        Mutant::LockJoinedWithRead,
        Mutant::HeadsLockedInAnyOrder,
        Mutant::AnswerBeforeCommit,
        Mutant::UnknownTakenForDone,
        Mutant::NoRequestRow,
        Mutant::FingerprintIgnored,
        Mutant::EpochIgnored,
        Mutant::TimelineLags,
        Mutant::ExpiryByServersClock,
        Mutant::LinesNotSummed,
        Mutant::PartialMultiLine,
        Mutant::BasketInParts,
        Mutant::HoldConsumedTwice,
        Mutant::ShortWithoutLookUp,
        Mutant::ContendedRefused,
        Mutant::LateFactChangesCount,
        Mutant::ConsumedHoldsProjectedNot,
        Mutant::RebuildNotesTooMuch,
    ];
}

/// Whether a defect is on.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "simulation")]
pub use self::choice::{choose, on};

#[cfg(feature = "simulation")]
mod choice {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Turns one defect on in this thread, or none.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }

    /// Whether a defect is on in this thread.
    pub fn on(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }
}
