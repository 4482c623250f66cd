//! What the feed reads: heads, entries in order, balances by key. Short statements without locks.

use crate::{
    ledger::{
        Ledger,
        batch_rows::hash_of,
        chain::Chain,
        fault::{Answered as _, Fault},
        head::{Head, Locked},
        sql_time::At,
    },
    stock::{
        hash::Digest,
        hold::{HoldEffect, HoldId},
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
        kind::Kind,
        reservation::{ReservationId, State},
        time::Timestamp,
    },
};

/// All heads at one moment.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Ascending by partition.
    pub heads: Vec<Head>,
    /// The database's clock.
    pub now: Timestamp,
    /// Whether the database is not the one, or not on the timeline, that wrote last.
    pub tail_may_be_lost: bool,
}

/// A position, as far as it can be promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Which.
    pub key: PositionKey,
    /// Its version.
    pub seq: Seq,
    /// May be sold.
    pub sellable: i64,
    /// Promised by firm reservations.
    pub reserved: i64,
}

/// What an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The position that it touched, as it left it.
    pub balance: Balance,
    /// What it says of a hold.
    pub hold: Option<(HoldId, HoldEffect)>,
    /// The reservation of which it is a step.
    pub step_of: Option<ReservationId>,
}

/// Entries of a partition, in order, and where it stood when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The epoch of the ledger.
    pub epoch: i64,
    /// The last entry that there was.
    pub head: Seq,
    /// Whether nothing is missing between what is known and what was asked for; what is missing is
    /// archived.
    pub is_next: bool,
    /// What was asked for.
    pub changes: Vec<Change>,
}

impl Heads {
    fn of(locked: Vec<Locked>) -> Heads {
        Heads {
            now: locked.iter().map(|locked| locked.now).max().unwrap_or(Timestamp::MIN),
            tail_may_be_lost: locked.iter().any(Locked::tail_may_be_lost),
            heads: locked.into_iter().map(|locked| locked.head).collect(),
        }
    }
}

impl Ledger {
    /// The heads of all partitions.
    ///
    /// # Errors
    /// The database is away.
    pub async fn heads(&self) -> Result<Heads, Fault> {
        let heads = Heads::of(self.locked_heads().await?);
        if let Some(epoch) = heads.heads.iter().map(|head| head.epoch).max() {
            self.directory.enter(epoch);
        }
        Ok(heads)
    }

    pub(super) async fn locked_heads(&self) -> Result<Vec<Locked>, Fault> {
        simulated!(self.simulated => |database| database.heads());
        let rows = sqlx::query!(
            r#"select clock_timestamp() as "now!: At",
                   (select system_identifier from pg_control_system())
                       as "live_system_identifier!",
                   ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
                       as "live_timeline!",
                   partition, epoch, seq, recorded_at as "recorded_at: At", system_identifier,
                   timeline, chain_seq, chain_hash
               from ledger_head order by partition"#,
        )
        .fetch_all(&mut *self.follower().await?)
        .answered("read the heads")
        .await?;
        let locked = rows.into_iter().map(|row| Locked {
            head: Head {
                partition: Partition(row.partition),
                epoch: row.epoch,
                seq: row.seq,
                recorded_at: row.recorded_at.0,
                system_identifier: row.system_identifier,
                timeline: row.timeline,
            },
            chain: Chain { seq: row.chain_seq, hash: hash_of(&row.chain_hash) },
            now: row.now.0,
            live_system_identifier: row.live_system_identifier,
            live_timeline: row.live_timeline,
            replicated: false,
        });
        Ok(locked.collect())
    }

    /// What the entries behind `after` did, in order, at most `rows_max` of them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn recorded(
        &self,
        partition: Partition,
        after: Seq,
        rows_max: i64,
    ) -> Result<Recorded, Fault> {
        simulated!(self.simulated => |database| database.recorded(partition, after, rows_max));
        // Head and entries in one statement, so that no other epoch comes between them.
        let rows = sqlx::query!(
            r#"select head.epoch, head.seq as head, entry.seq as "seq?", location as "location?",
                   item as "item?", sellable_after as "sellable_after?",
                   reserved_after as "reserved_after?", kind as "kind?", reservation_state, hold_id,
                   case when reservation_state is not null then reservation_id end as step_of
               from ledger_head as head left join lateral (
                   select * from ledger_entry
                   where ledger_entry.partition = $1 and ledger_entry.seq > $2
                   order by ledger_entry.seq limit $3
               ) as entry on true
               where head.partition = $1 order by entry.seq"#,
            partition.0,
            after,
            rows_max,
        )
        .fetch_all(&mut *self.follower().await?)
        .answered("read what was recorded")
        .await?;
        let (epoch, head) = rows.first().map_or((0, 0), |row| (row.epoch, row.head));
        let first = rows.first().and_then(|row| row.seq);
        let is_next = first.map_or(head <= after, |seq| seq == after + 1);
        let changes = rows.into_iter().filter_map(|row| {
            let kind = row.kind?;
            let hold = row.hold_id.and_then(|id| hold_effect(&id, kind, row.reservation_state));
            let balance = Balance {
                key: key(partition, row.location?, row.item?),
                seq: row.seq?,
                sellable: row.sellable_after?,
                reserved: row.reserved_after?,
            };
            Some(Change { balance, hold, step_of: row.step_of.and_then(|id| id.parse().ok()) })
        });
        Ok(Recorded { epoch, head, is_next, changes: changes.collect() })
    }

    /// Positions behind a place in the order of location and item, at most `rows_max` of them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn balances_behind(
        &self,
        partition: Partition,
        (location, item): (LocationNo, ItemNo),
        rows_max: i64,
    ) -> Result<Vec<Balance>, Fault> {
        simulated!(self.simulated => |database| {
            database.balances_behind(partition, (location, item), rows_max)
        });
        let rows = sqlx::query!(
            "select location, item, seq, sellable, reserved from position
             where partition = $1 and (location, item) > ($2, $3)
             order by location, item limit $4",
            partition.0,
            location.0,
            item.0,
            rows_max,
        )
        .fetch_all(&mut *self.follower().await?)
        .answered("read a page of positions")
        .await?;
        let balances = rows.into_iter().map(|row| Balance {
            key: key(partition, row.location, row.item),
            seq: row.seq,
            sellable: row.sellable,
            reserved: row.reserved,
        });
        Ok(balances.collect())
    }

    /// Positions of a location behind an item, in order, at most `rows_max` of them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn balances_of(
        &self,
        place: Place,
        after: ItemNo,
        rows_max: i64,
    ) -> Result<Vec<Balance>, Fault> {
        let rows = sqlx::query!(
            "select item, seq, sellable, reserved from position
             where partition = $1 and location = $2 and item > $3 order by item limit $4",
            place.partition.0,
            place.location.0,
            after.0,
            rows_max,
        )
        .fetch_all(&mut *self.follower().await?)
        .answered("read a page of a location")
        .await?;
        let balances = rows.into_iter().map(|row| Balance {
            key: PositionKey { place, item: ItemNo(row.item) },
            seq: row.seq,
            sellable: row.sellable,
            reserved: row.reserved,
        });
        Ok(balances.collect())
    }

    /// The positions of a location whose items lie in a range, both ends included.
    ///
    /// # Errors
    /// The database is away.
    pub async fn balances_between(
        &self,
        place: Place,
        first: ItemNo,
        last: ItemNo,
    ) -> Result<Vec<Balance>, Fault> {
        simulated!(self.simulated => |database| database.balances_between(place, first, last));
        let rows = sqlx::query!(
            "select location, item, seq, sellable, reserved from position
             where partition = $1 and location = $2 and item between $3 and $4
             order by item",
            place.partition.0,
            place.location.0,
            first.0,
            last.0,
        )
        .fetch_all(&mut *self.follower().await?)
        .answered("read some positions of a location")
        .await?;
        let balances = rows.into_iter().map(|row| Balance {
            key: key(place.partition, row.location, row.item),
            seq: row.seq,
            sellable: row.sellable,
            reserved: row.reserved,
        });
        Ok(balances.collect())
    }

    /// Holds that the ledger keeps, or kept until a moment ago, so that a request for one finds it
    /// there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ledger_holds(
        &self,
        partition: Partition,
        changed_after: Timestamp,
    ) -> Result<Vec<HoldId>, Fault> {
        simulated!(self.simulated => |database| database.ledger_holds(partition, changed_after));
        let rows = sqlx::query!(
            r#"select location, held_as as "held_as!" from reservation
               where partition = $1 and held_as is not null and (state = 9 or changed_at > $2)"#,
            partition.0,
            At(changed_after) as At,
        )
        .fetch_all(&mut *self.follower().await?)
        .answered("read the holds that the ledger keeps")
        .await?;
        let holds = rows.into_iter().map(|row| HoldId {
            place: Place { partition, location: LocationNo(row.location) },
            digest: Digest(row.held_as.as_u128()),
        });
        Ok(holds.collect())
    }
}

fn key(partition: Partition, location: i32, item: i32) -> PositionKey {
    let place = Place { partition, location: LocationNo(location) };
    PositionKey { place, item: ItemNo(item) }
}

/// What an entry says of a hold. What cannot be read is no hold that Redis knows.
fn hold_effect(hold: &str, kind: i16, state: Option<i16>) -> Option<(HoldId, HoldEffect)> {
    let effect = HoldEffect::of(Kind::of(i32::from(kind))?, state.and_then(State::of))?;
    Some((hold.parse().ok()?, effect))
}
