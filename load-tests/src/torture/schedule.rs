//! Which fault happens when: decided by the seed alone.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::history::Effect;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    ServerKill,
    ServerFreeze,
    KillAtBegin,
    KillAtWrite,
    KillBeforeCommit,
    KillAfterCommit,
    KillAtSettle,
    RedisFlush,
    RedisOldSnapshot,
    RedisFailOver,
    RedisCut,
    RedisDelay,
    RedisHalfOpen,
    PostgresCrash,
    PostgresCut,
    PostgresDelay,
    PostgresHalfOpen,
    FullVolume,
    FailOverReplicated,
    FailOverBehind,
}

/// What is never broken here, and why not.
pub(super) const SKIPPED: [(&str, &str); 1] =
    [("clock_jump", "the system's clock is not ours alone, and servers have none of their own")];

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Planned {
    pub at: Duration,
    pub kind: Kind,
    /// Of the server that it happens to.
    pub server: usize,
    /// How long it lasts, where it lasts.
    pub lasting: Duration,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Kind; 20] = [
        Kind::ServerKill,
        Kind::ServerFreeze,
        Kind::KillAtBegin,
        Kind::KillAtWrite,
        Kind::KillBeforeCommit,
        Kind::KillAfterCommit,
        Kind::KillAtSettle,
        Kind::RedisFlush,
        Kind::RedisOldSnapshot,
        Kind::RedisFailOver,
        Kind::RedisCut,
        Kind::RedisDelay,
        Kind::RedisHalfOpen,
        Kind::PostgresCrash,
        Kind::PostgresCut,
        Kind::PostgresDelay,
        Kind::PostgresHalfOpen,
        Kind::FullVolume,
        Kind::FailOverReplicated,
        Kind::FailOverBehind,
    ];

    /// As it is told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::ServerKill => "server_kill",
            Kind::ServerFreeze => "server_freeze",
            Kind::KillAtBegin => "kill_at_begin",
            Kind::KillAtWrite => "kill_at_write",
            Kind::KillBeforeCommit => "kill_before_commit",
            Kind::KillAfterCommit => "kill_after_commit",
            Kind::KillAtSettle => "kill_at_settle",
            Kind::RedisFlush => "redis_flush",
            Kind::RedisOldSnapshot => "redis_old_snapshot",
            Kind::RedisFailOver => "redis_fail_over",
            Kind::RedisCut => "redis_cut",
            Kind::RedisDelay => "redis_delay",
            Kind::RedisHalfOpen => "redis_half_open",
            Kind::PostgresCrash => "postgres_crash",
            Kind::PostgresCut => "postgres_cut",
            Kind::PostgresDelay => "postgres_delay",
            Kind::PostgresHalfOpen => "postgres_half_open",
            Kind::FullVolume => "full_volume",
            Kind::FailOverReplicated => "fail_over_replicated",
            Kind::FailOverBehind => "fail_over_behind",
        }
    }

    /// What it may undo.
    pub(super) fn effect(self) -> Effect {
        match self {
            Kind::RedisFlush | Kind::RedisOldSnapshot | Kind::RedisFailOver => {
                Effect::RedisRolledBack
            }
            Kind::FailOverReplicated => Effect::PromotedReplicated,
            Kind::FailOverBehind => Effect::PromotedBehind,
            _ => Effect::None,
        }
    }
}

/// Faults between two moments: every kind once in a random order, as far as there is time with
/// `apart` between them, and then again.
pub(super) fn plan(
    seed: u64,
    kinds: &[Kind],
    (from, until): (Duration, Duration),
    apart: Duration,
    servers: usize,
) -> Vec<Planned> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let room = until.saturating_sub(from);
    let fits = (room.as_millis() / apart.as_millis().max(1)).max(1);
    let mut planned = Vec::new();
    let mut round = Vec::new();
    while !kinds.is_empty() && (planned.len() as u128) < fits {
        if round.is_empty() {
            round = kinds.to_vec();
            round.shuffle(&mut rng);
        }
        let Some(kind) = round.pop() else { break };
        let jitter = apart.mul_f64(rng.random_range(0.0..0.3));
        planned.push(Planned {
            at: from + apart * u32::try_from(planned.len()).unwrap_or(u32::MAX) + jitter,
            kind,
            server: rng.random_range(0..servers.max(1)),
            lasting: Duration::from_millis(rng.random_range(300..1_500)),
        });
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(seed: u64) -> Vec<Planned> {
        let range = (Duration::from_secs(5), Duration::from_secs(50));
        plan(seed, &Kind::ALL, range, Duration::from_millis(2_100), 3)
    }

    #[test]
    fn every_kind_happens_in_a_minute_and_the_seed_says_when() {
        let plan = planned(1);
        for kind in Kind::ALL {
            assert!(plan.iter().any(|fault| fault.kind == kind), "{kind:?} never happens");
        }
        assert!(plan.windows(2).all(|two| two[0].at < two[1].at));
        assert!(plan.iter().all(|fault| fault.server < 3));
        assert_eq!(plan, planned(1));
        assert_ne!(plan, planned(2));
    }
}
