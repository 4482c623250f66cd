//! Finding reservations without a lock: one by name, lists for stores and customers, and what is due.

use sqlx::types::Json;
use uuid::Uuid;

use super::{
    by_number,
    row::{Row, assemble},
    select_reservations,
};
use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        queries::numbers,
        sql_time::At,
    },
    stock::{
        hold::HoldId,
        ids::{ChannelNo, LocationNo, Partition, Place, PositionKey, Seq},
        reservation::{Reservation, ReservationId, State},
        time::{Micros, Timestamp},
    },
};

/// Which reservations; every filter that is set must hold. Holds are none.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this location.
    pub location: Option<LocationNo>,
    /// Only of these locations; `None`: any.
    pub places: Option<Vec<Place>>,
    /// Only of these channels, and of none; `None`: any.
    pub channels: Option<Vec<ChannelNo>>,
    /// Only in these states; empty: any.
    pub states: Vec<State>,
    /// Only with this hash of a pickup code, if it is open or expired.
    pub code_hash: Option<i64>,
    /// Only of this order; empty: any.
    pub order_ref: String,
    /// Only of this customer; empty: any.
    pub customer_ref: String,
}

/// A promise whose time is over, or will be soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its name.
    pub id: ReservationId,
    /// Whether it ends; else the store's answer is late.
    pub ends: bool,
    /// When.
    pub at: Timestamp,
}

/// In which order the promises of a position are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromiseOrder {
    /// Those of most units first.
    LargestFirst,
    /// The last that was made first.
    NewestFirst,
}

impl Ledger {
    /// A reservation as it is now.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, Fault> {
        let partition = id.place.partition;
        let found = self.reservations_of(partition, &[id.no]).await?;
        Ok(found.into_iter().find(|found| found.id == *id && found.held_as.is_none()))
    }

    /// Reservations with these numbers, as they are now; also holds.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reservations_of(
        &self,
        partition: Partition,
        numbers: &[Seq],
    ) -> Result<Vec<Reservation>, Fault> {
        simulated!(self.simulated => |database| {
            database.reservations(partition, numbers.to_vec())
        });
        by_number(&mut *self.reader().await?, partition, numbers).await
    }

    /// A hold that was taken in the ledger.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ledger_hold(&self, id: &HoldId) -> Result<Option<Reservation>, Fault> {
        simulated!(self.simulated => |database| database.ledger_hold(*id));
        let mut reader = self.reader().await?;
        let no = sqlx::query_scalar!(
            "select no from reservation where partition = $1 and held_as = $2",
            id.place.partition.0,
            Uuid::from_u128(id.digest.0),
        )
        .fetch_optional(&mut *reader)
        .answered("find a hold")
        .await?;
        let Some(no) = no else { return Ok(None) };
        let found = by_number(&mut reader, id.place.partition, &[no]).await?;
        Ok(found.into_iter().find(|found| found.id.place == id.place))
    }

    /// Reservations of one partition behind number `after`, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reservations(
        &self,
        partition: Partition,
        filter: &Filter,
        after: Seq,
        rows_max: i64,
    ) -> Result<Vec<Reservation>, Fault> {
        let states: Vec<_> = filter.states.iter().map(|state| *state as i16).collect();
        let order_ref = Some(&*filter.order_ref).filter(|text| !text.is_empty());
        let customer_ref = Some(&*filter.customer_ref).filter(|text| !text.is_empty());
        let locations = numbers(filter.places.as_deref(), |place| place.location.0);
        let channels = numbers(filter.channels.as_deref(), |channel| channel.0);
        let mut reader = self.reader().await?;
        let numbers = sqlx::query_scalar!(
            "select no from reservation
             where partition = $1 and no > $2 and held_as is null
                 and ($3::int is null or location = $3)
                 and (cardinality($4::smallint[]) = 0 or state = any($4))
                 and ($5::bigint is null
                     or (code_hash = $5 and (state in (1, 2, 3) or state = 7)))
                 and ($6::text is null or order_ref = $6)
                 and ($7::text is null or customer_ref = $7)
                 and ($9::int[] is null or location = any($9))
                 and ($10::int[] is null or channel is null or channel = any($10))
             order by no limit $8",
            partition.0,
            after,
            filter.location.map(|location| location.0),
            &states,
            filter.code_hash,
            order_ref,
            customer_ref,
            rows_max,
            locations as _,
            channels as _,
        )
        .fetch_all(&mut *reader)
        .answered("find reservations")
        .await?;
        by_number(&mut reader, partition, &numbers).await
    }

    /// What a location's work list shows behind number `after`: everything open, and what is finished
    /// and still aside.
    ///
    /// # Errors
    /// The database is away.
    pub async fn work_list(
        &self,
        place: Place,
        after: Seq,
        rows_max: i64,
    ) -> Result<Vec<Reservation>, Fault> {
        let chosen = select_reservations!(
            "from (
                 select * from reservation r
                 where partition = $1 and location = $2 and no > $3 and held_as is null
                     and (state in (1, 2, 3) or exists (
                         select from reservation_line l
                         where l.partition = $1 and l.no = r.no
                             and l.picked > l.collected + l.shelved
                     ))
                 order by no limit $4
             ) as r
             cross join lateral (
                 select * from reservation_line
                 where partition = $1 and no = r.no offset 0
             ) as l
             order by r.no, l.line",
            place.partition.0,
            place.location.0,
            after,
            rows_max
        );
        let mut reader = self.reader().await?;
        let rows = chosen.fetch_all(&mut *reader).await;
        assemble(place.partition, rows.map_err(Fault::doing("read a work list"))?)
    }

    /// Promises of a partition that end, and answers that are late, up to `ahead` from now, soonest
    /// first; and the database's clock. Not those of locations that are closed until further notice, and
    /// of those whose deadlines are about to be moved; but for holds, which nobody comes for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn due(
        &self,
        partition: Partition,
        ahead: Micros,
        rows_max: i64,
    ) -> Result<(Timestamp, Vec<Due>), Fault> {
        simulated!(self.simulated => |database| database.due(partition, ahead, rows_max));
        let mut reader = self.follower().await?;
        let rows = sqlx::query!(
            r#"with clock as materialized (select clock_timestamp() as now)
               select clock.now as "now!: At", due.no as "no?", due.epoch as "epoch?",
                   due.location as "location?", due.ends as "ends?", due.at as "at?: At"
               from clock left join lateral (
                   (
                       select no, epoch, location, true as ends, expires_at as at
                       from reservation
                       where partition = $1 and state in (1, 2, 3, 9)
                           and expires_at <= clock.now + $2::bigint * interval '1 microsecond'
                           and (state = 9 or not exists (
                               select from location l
                               where l.location_no = reservation.location
                                   and (l.live_status = 4 and l.live_status_until is null
                                       or l.rescheduled_revision < l.calendar_revision)
                           ))
                       order by expires_at limit $3
                   ) union all (
                       select no, epoch, location, false, answer_by from reservation
                       where partition = $1 and answer_by is not null
                           and answer_by <= clock.now + $2::bigint * interval '1 microsecond'
                           and not exists (
                               select from location l
                               where l.location_no = reservation.location
                                   and (l.live_status = 4 and l.live_status_until is null
                                       or l.rescheduled_revision < l.calendar_revision)
                           )
                       order by answer_by limit $3
                   )
               ) as due on true"#,
            partition.0,
            ahead,
            rows_max,
        )
        .fetch_all(&mut *reader)
        .answered("look for what is due")
        .await?;
        let now = rows.first().map_or(Timestamp::MIN, |row| row.now.0);
        let due = rows.into_iter().filter_map(|row| {
            let place = Place { partition, location: LocationNo(row.location?) };
            let id = ReservationId { place, epoch: row.epoch?, no: row.no? };
            Some(Due { id, ends: row.ends?, at: row.at?.0 })
        });
        Ok((now, due.collect()))
    }

    /// The secret that pickup codes are made with where no server brings its own.
    ///
    /// # Errors
    /// The database is away.
    pub async fn pickup_secret(&self) -> Result<Vec<u8>, Fault> {
        simulated!(self.simulated => |_database| std::future::ready(Ok(b"simulated".to_vec())));
        let mut reader = self.reader().await?;
        let row = sqlx::query!("select secret, other_half from pickup_secret")
            .fetch_one(&mut *reader)
            .answered("read the secret of pickup codes")
            .await?;
        Ok([row.secret.into_bytes(), row.other_half.into_bytes()].concat())
    }

    /// Promises of one position that count as reserved.
    ///
    /// # Errors
    /// The database is away.
    pub async fn promises(
        &self,
        position: PositionKey,
        order: PromiseOrder,
        rows_max: i64,
    ) -> Result<Vec<Reservation>, Fault> {
        let mut reader = self.reader().await?;
        let numbers = sqlx::query_scalar!(
            "select r.no from reservation r
             join reservation_line l on l.partition = $1 and l.no = r.no
             where r.partition = $1 and r.location = $2 and l.item = $3
                 and r.state in (1, 2, 3, 9) and l.quantity > l.picked
             order by case when $4 then l.quantity - l.picked end desc, r.no desc limit $5",
            position.place.partition.0,
            position.place.location.0,
            position.item.0,
            order == PromiseOrder::LargestFirst,
            rows_max,
        )
        .fetch_all(&mut *reader)
        .answered("find the promises of a position")
        .await?;
        let mut found = by_number(&mut reader, position.place.partition, &numbers).await?;
        // They come back by number.
        found.sort_by_key(|made| numbers.iter().position(|no| *no == made.id.no));
        Ok(found)
    }

    /// A reservation as it stood before the step that `version` answers.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reservation_before(
        &self,
        id: &ReservationId,
        version: Seq,
    ) -> Result<Option<Reservation>, Fault> {
        let found = sqlx::query_scalar!(
            r#"select snapshot as "snapshot: Json<Reservation>" from reservation_version
               where partition = $1 and no = $2 and version < $3
               order by version desc limit 1"#,
            id.place.partition.0,
            id.no,
            version,
        )
        .fetch_optional(&mut *self.reader().await?)
        .answered("read an earlier state of a reservation")
        .await?;
        Ok(found.map(|Json(reservation)| reservation))
    }
}
