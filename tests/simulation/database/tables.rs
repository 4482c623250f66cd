//! The committed rows of a simulated PostgreSQL, and how a failover takes some of them back.

use std::collections::BTreeMap;

use stockroom::{
    ledger::{
        chain::{Chain, Chained, Link},
        head::{Head, Locked},
    },
    mutants::{Mutant, on},
    stock::{
        book::{Request, RequestKey},
        entry::Entry,
        ids::{EntryRef, Partition, PositionKey, Seq},
        machine::{Log, Plan},
        position::Position,
        reservation::Reservation,
        time::{Micros, SECOND, Timestamp},
    },
};

use crate::memory::{Memory, owned};

/// A note that no row may have: a defect of the database's, so to say.
pub const POISON: &str = "poison";

/// For so long after a promotion a careless reader sees the timeline from before.
const TIMELINE_LAGS_FOR: Micros = 3 * SECOND;

/// What one transaction did.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    pub heads: Vec<Head>,
    pub chains: Vec<(Partition, Chain)>,
    pub links: Vec<(Partition, Link)>,
    pub entries: Vec<Entry<'static>>,
    pub positions: Vec<(PositionKey, Position)>,
    pub requests: Vec<(RequestKey, Request)>,
    pub reservations: Vec<(EntryRef, Reservation)>,
    pub superseded: Vec<Reservation>,
}

/// A balance, from a moment on.
#[derive(Clone, Copy, Debug)]
pub struct Stood {
    pub since: Timestamp,
    pub key: PositionKey,
    pub sellable: i64,
    pub reserved: i64,
}

/// Everything that is committed.
#[derive(Debug, Default)]
pub struct Tables {
    pub rows: Memory,
    pub heads: BTreeMap<Partition, Head>,
    pub chains: BTreeMap<Partition, Chain>,
    pub links: BTreeMap<Partition, Vec<Link>>,
    /// In the order of the commits.
    pub history: Vec<Delta>,
    /// What failovers took back.
    pub lost: Vec<Delta>,
    pub balances: Vec<Stood>,
    pub system_identifier: i64,
    pub timeline: i32,
    /// Since when.
    pub promoted_at: Option<Timestamp>,
}

impl Tables {
    pub fn new(partitions: &[Partition], now: Timestamp) -> Tables {
        let (system_identifier, timeline) = (7_000_000_000_000_000_001, 1);
        let head = |&partition: &Partition| Head {
            partition,
            epoch: now.0 / 1_000 - 1,
            seq: 0,
            recorded_at: Timestamp::Y2000,
            system_identifier,
            timeline,
        };
        let heads: Vec<_> = partitions.iter().map(head).collect();
        let mut tables = Tables { system_identifier, timeline, ..Tables::default() };
        tables.apply(Delta { heads, ..Delta::default() }, now);
        tables
    }

    /// A head as a transaction sees it.
    pub fn locked(&self, partition: Partition, now: Timestamp) -> Option<Locked> {
        let lags = on(Mutant::TimelineLags)
            && self.promoted_at.is_some_and(|at| now.0 < at.0 + TIMELINE_LAGS_FOR);
        Some(Locked {
            head: *self.heads.get(&partition)?,
            chain: self.chains.get(&partition).copied().unwrap_or_default(),
            now,
            live_system_identifier: self.system_identifier,
            live_timeline: self.timeline - i32::from(lags),
            replicated: false,
        })
    }

    /// Commits.
    pub fn apply(&mut self, delta: Delta, now: Timestamp) {
        self.add(&delta);
        self.balances.extend(delta.positions.iter().map(|(key, position)| Stood {
            since: now,
            key: *key,
            sellable: position.sellable,
            reserved: position.reserved,
        }));
        self.history.push(delta);
    }

    /// Goes on from a state in which the last `commits` had not happened yet. The first one stays.
    pub fn fail_over(&mut self, commits: usize, now: Timestamp) {
        let kept = self.history.len().saturating_sub(commits).max(1);
        self.lost.extend(self.history.split_off(kept));
        let history = std::mem::take(&mut self.history);
        self.rows = Memory::default();
        self.heads = BTreeMap::new();
        self.chains = BTreeMap::new();
        self.links = BTreeMap::new();
        history.iter().for_each(|delta| self.add(delta));
        self.history = history;
        self.timeline += 1;
        self.promoted_at = Some(now);
        let stood = |(key, position): (&PositionKey, &Position)| Stood {
            since: now,
            key: *key,
            sellable: position.sellable,
            reserved: position.reserved,
        };
        self.balances.extend(self.rows.positions.iter().map(stood));
    }

    fn add(&mut self, delta: &Delta) {
        let Memory { logs, positions, requests, reservations, versions, .. } = &mut self.rows;
        self.heads.extend(delta.heads.iter().map(|head| (head.partition, *head)));
        self.chains.extend(delta.chains.iter().copied());
        for (partition, link) in &delta.links {
            self.links.entry(*partition).or_default().push(link.clone());
        }
        for entry in &delta.entries {
            logs.entry(entry.partition).or_default().push(entry.clone());
        }
        positions.extend(delta.positions.iter().cloned());
        requests.extend(delta.requests.iter().cloned());
        reservations.extend(delta.reservations.iter().cloned());
        let superseded = delta.superseded.iter().cloned();
        versions.extend(superseded.map(|before| ((before.at(), before.version), before)));
    }

    /// Why what a plan does to a partition breaks a constraint, if it does.
    pub fn broken(&self, log: &Log<'_>, plan: &Plan<'_>, partition: Partition) -> Option<String> {
        let here = |at: &PositionKey| at.place.partition == partition;
        let last = self.rows.logs.get(&partition).map_or(0, |log| log.len() as Seq);
        for entry in &log.entries {
            let promises = entry.kind as i16 >= 100 && entry.reserved_change > 0;
            if entry.seq <= last {
                return Some(format!("there is an entry {}", entry.seq));
            } else if promises && entry.reserved_after > entry.sellable_after {
                return Some(format!("entry {} oversells", entry.seq));
            } else if entry.note == POISON || entry.effective_at > entry.recorded_at {
                return Some(format!("entry {} is poison", entry.seq));
            }
        }
        let mut positions = plan.positions.iter().filter(|(key, _)| here(key));
        if let Some((key, _)) = positions.find(|(_, position)| position.reserved < 0) {
            return Some(format!("{key:?} promises less than nothing"));
        }
        let mut requests = plan.requests.iter().filter(|(key, _)| key.place.partition == partition);
        let known = |key: &RequestKey| self.rows.requests.contains_key(key);
        if let Some((key, _)) = requests.find(|(key, new)| !new.stored && known(key)) {
            return Some(format!("there is a request {key:?}"));
        }
        let made = plan.reservations.values().filter(|made| made.id.place.partition == partition);
        let mut there: Vec<_> = self.rows.reservations.values().collect();
        there.retain(|there| there.id.place.partition == partition);
        for made in made {
            let twice = |there: &&&Reservation| {
                there.id != made.id
                    && (there.hold.is_some() && there.hold == made.hold
                        || there.held_as.is_some() && there.held_as == made.held_as)
            };
            if let Some(there) = there.iter().find(twice) {
                return Some(format!("{} and {} share a hold", there.id, made.id));
            }
        }
        None
    }
}

impl Delta {
    /// Adds what a plan does to the partition of `head`.
    pub fn include(&mut self, head: &Head, chained: &Chained, log: &Log<'_>, plan: &Plan<'_>) {
        let partition = head.partition;
        self.heads.push(*head);
        self.chains.push((partition, chained.chain));
        self.links.extend(chained.links.iter().map(|link| (partition, link.clone())));
        self.entries.extend(log.entries.iter().cloned().map(owned));
        let positions = plan.positions.iter().filter(|(key, _)| key.place.partition == partition);
        let mut positions: Vec<_> = positions
            .map(|(&key, position)| (key, Position { history: None, ..position.clone() }))
            .collect();
        positions.sort_by_key(|(key, _)| *key);
        self.positions.extend(positions);
        let requests = plan.requests.iter().filter(|(key, _)| key.place.partition == partition);
        let mut requests: Vec<_> = requests
            .map(|(&key, request)| (key, Request { stored: true, ..request.clone() }))
            .collect();
        requests.sort_by_key(|(key, _)| *key);
        self.requests.extend(requests);
        let reservations = plan.reservations.iter().filter(|(at, _)| at.partition == partition);
        let mut reservations: Vec<_> =
            reservations.map(|(&at, reservation)| (at, reservation.clone())).collect();
        reservations.sort_by_key(|(at, _)| *at);
        self.reservations.extend(reservations);
        let superseded = plan.superseded.iter();
        let superseded = superseded.filter(|before| before.id.place.partition == partition);
        self.superseded.extend(superseded.cloned());
    }
}
