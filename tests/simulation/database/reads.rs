//! Statements outside of a batch.

use std::time::Duration;

use futures::FutureExt as _;
use rustc_hash::FxHashMap;
use stockroom::{
    ledger::{
        directory::KnownItem,
        fault::Fault,
        feed::{Balance, Change, Recorded},
        head::Locked,
        queries::FoundRequest,
        reservation::Due,
        simulated::{Answer, Database, Transaction},
    },
    stock::{
        entry::Entry,
        hash::Digest,
        hold::{HoldEffect, HoldId},
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
        position::Position,
        reservation::{Reservation, State},
        time::{Micros, Timestamp},
    },
};

use crate::{
    database::{DatabaseLink, tables::Tables, transaction::OpenTransaction},
    world::lock,
};

impl DatabaseLink {
    /// One statement that only reads.
    fn read<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&Tables, Timestamp) -> T + Send + 'a,
    ) -> Answer<'a, T> {
        let statement = async move {
            self.statement().await?;
            let found = read(&lock(&self.server.state).tables, self.server.world.now());
            self.link.pass().await;
            Ok(found)
        };
        statement.boxed()
    }
}

impl Database for DatabaseLink {
    fn begin(&self, locks: Vec<Partition>, wait: Duration) -> Answer<'_, Box<dyn Transaction>> {
        let begin = async move {
            let begun = OpenTransaction::begin(self.clone(), locks, wait).await?;
            Ok(Box::new(begun) as Box<dyn Transaction>)
        };
        begin.boxed()
    }

    fn heads(&self) -> Answer<'_, Vec<Locked>> {
        self.read(|tables, now| {
            let heads = tables.heads.keys();
            heads.filter_map(|&partition| tables.locked(partition, now)).collect()
        })
    }

    fn head(&self, partition: Partition) -> Answer<'_, Option<(i64, Seq)>> {
        self.read(move |tables, _| tables.heads.get(&partition).map(|head| (head.epoch, head.seq)))
    }

    fn recorded(&self, partition: Partition, after: Seq, rows_max: i64) -> Answer<'_, Recorded> {
        self.read(move |tables, _| {
            let log = tables.rows.logs.get(&partition).into_iter().flatten();
            let behind = log.filter(|entry| entry.seq > after).take(rows_max as usize);
            let head = tables.heads.get(&partition).map(|head| (head.epoch, head.seq));
            let (epoch, head) = head.unwrap_or_default();
            Recorded { epoch, head, is_next: true, changes: behind.map(change).collect() }
        })
    }

    fn balances_behind(
        &self,
        partition: Partition,
        (location, item): (LocationNo, ItemNo),
        rows_max: i64,
    ) -> Answer<'_, Vec<Balance>> {
        self.read(move |tables, _| {
            let here = tables.rows.positions.iter().filter(|(key, _)| {
                key.place.partition == partition
                    && (key.place.location, key.item) > (location, item)
            });
            // Few rows at a time, so that pages follow each other.
            here.take(rows_max.min(PAGE_ROWS_MAX) as usize).map(balance).collect()
        })
    }

    fn balances_between(
        &self,
        place: Place,
        first: ItemNo,
        last: ItemNo,
    ) -> Answer<'_, Vec<Balance>> {
        self.read(move |tables, _| {
            let here = tables.rows.positions.iter();
            let here =
                here.filter(|(key, _)| key.place == place && (first..=last).contains(&key.item));
            here.map(balance).collect()
        })
    }

    fn ledger_holds(&self, partition: Partition, after: Timestamp) -> Answer<'_, Vec<HoldId>> {
        self.read(move |tables, _| {
            let kept = tables.rows.reservations.values().filter(|kept| {
                kept.id.place.partition == partition
                    && (kept.state == State::Held || kept.changed_at > after)
            });
            kept.filter_map(|kept| Some(HoldId { place: kept.id.place, digest: kept.held_as? }))
                .collect()
        })
    }

    fn requests(
        &self,
        partitions: &[Partition],
        digests: Vec<Digest>,
    ) -> Answer<'_, Vec<FoundRequest>> {
        let partitions = partitions.to_vec();
        self.read(move |tables, _| {
            let there = tables.rows.requests.iter().filter(|(key, _)| {
                partitions.contains(&key.place.partition) && digests.contains(&key.digest)
            });
            let found = there.map(|(key, request)| {
                let log = tables.rows.logs.get(&key.place.partition);
                let entry = request.seq.and_then(|seq| log?.get(usize::try_from(seq - 1).ok()?));
                FoundRequest {
                    digest: key.digest,
                    place: key.place,
                    posted: request.seq.is_some(),
                    recorded_at: entry.map(|entry| entry.recorded_at),
                    counter_place: entry.and_then(|entry| Some(entry.counter?.place)),
                }
            });
            found.collect()
        })
    }

    fn positions(&self, keys: Vec<PositionKey>) -> Answer<'_, FxHashMap<PositionKey, Position>> {
        self.read(move |tables, _| {
            let stored = |key| tables.rows.positions.get(&key).cloned().unwrap_or_default();
            keys.into_iter().map(|key| (key, stored(key))).collect()
        })
    }

    fn reservations(
        &self,
        partition: Partition,
        numbers: Vec<Seq>,
    ) -> Answer<'_, Vec<Reservation>> {
        self.read(move |tables, _| {
            let found = tables.rows.reservations.values().filter(|found| {
                found.id.place.partition == partition && numbers.contains(&found.id.no)
            });
            found.cloned().collect()
        })
    }

    fn ledger_hold(&self, id: HoldId) -> Answer<'_, Option<Reservation>> {
        self.read(move |tables, _| {
            let mut there = tables.rows.reservations.values();
            there.find(|kept| kept.id.place == id.place && kept.held_as == Some(id.digest)).cloned()
        })
    }

    fn due(
        &self,
        partition: Partition,
        ahead: Micros,
        rows_max: i64,
    ) -> Answer<'_, (Timestamp, Vec<Due>)> {
        self.read(move |tables, now| {
            let until = now.saturating_add(ahead);
            let here = || {
                let all = tables.rows.reservations.values();
                all.filter(|kept| kept.id.place.partition == partition)
            };
            let open = here().filter(|kept| kept.state.is_open() && kept.expires_at <= until);
            let mut due: Vec<_> =
                open.map(|kept| Due { id: kept.id, ends: true, at: kept.expires_at }).collect();
            due.extend(here().filter_map(|kept| {
                let at = kept.answer_by.filter(|at| *at <= until)?;
                Some(Due { id: kept.id, ends: false, at })
            }));
            due.sort_by_key(|due| (!due.ends, due.at, due.id));
            due.truncate(rows_max as usize);
            (now, due)
        })
    }

    fn items(&self, skus: Vec<String>, add: bool) -> Answer<'_, Vec<(String, KnownItem)>> {
        let statement = async move {
            self.statement().await?;
            if add {
                self.server.add_items(&skus);
            }
            Ok::<_, Fault>(self.server.items(&skus))
        };
        statement.boxed()
    }

    fn numbered_items(&self, numbers: Vec<ItemNo>) -> Answer<'_, Vec<(String, KnownItem)>> {
        let statement = async move {
            self.statement().await?;
            let skus = numbers.iter().filter_map(|&number| self.server.sku_of(number));
            Ok::<_, Fault>(self.server.items(&skus.collect::<Vec<_>>()))
        };
        statement.boxed()
    }
}

/// Rows of a page of positions.
const PAGE_ROWS_MAX: i64 = 3;

fn balance((&key, position): (&PositionKey, &Position)) -> Balance {
    let Position { seq, sellable, reserved, .. } = *position;
    Balance { key, seq, sellable, reserved }
}

fn change(entry: &Entry<'static>) -> Change {
    let effect = HoldEffect::of(entry.kind, entry.reservation_state);
    Change {
        balance: Balance {
            key: entry.position(),
            seq: entry.seq,
            sellable: entry.sellable_after,
            reserved: entry.reserved_after,
        },
        hold: effect.and_then(|effect| Some((entry.hold_id.parse().ok()?, effect))),
        step_of: entry.reservation_state.and_then(|_| entry.reservation_id.parse().ok()),
    }
}
