//! Removes the rows of a slice and leaves what goes on being asked of them, in one transaction.

use sqlx::{Connection as _, PgConnection};

use crate::{
    ledger::{
        Ledger,
        archive::{Slice, archived},
        fault::{Defect, Fault},
        sql_time::At,
    },
    stock::ids::Seq,
};

impl Ledger {
    /// Removes the rows of a slice whose file is known to be good. The partition is locked meanwhile, so
    /// that no batch decides on an entry that is about to leave.
    ///
    /// # Errors
    /// The database is away, the role may not delete entries, or somebody else has archived.
    pub async fn put_away(&self, slice: &Slice) -> Result<(), Fault> {
        let mut connection = self.reader().await?;
        // What is corrected is mostly found before anybody has to wait.
        let head = seq_of(&mut connection, slice).await?;
        let mut corrected = corrected(&mut connection, slice, slice.first).await?;
        let begin = Fault::doing("begin to archive");
        let mut transaction = connection.begin().await.map_err(begin)?;
        let partition = slice.partition.0;
        sqlx::query!("select seq from ledger_head where partition = $1 for update", partition)
            .fetch_one(&mut *transaction)
            .await
            .map_err(Fault::doing("lock a partition to archive"))?;
        let before = archived(&mut transaction, slice.partition).await?;
        let follows = before.map_or(0, |before| before.last) == slice.first - 1;
        if !follows || hash_at(&mut transaction, slice).await?.as_deref() != Some(&slice.hash) {
            return Err(Fault::defect("archive", Defect::ArchivedMeanwhile));
        }
        corrected.extend(self::corrected(&mut transaction, slice, head).await?);
        carry_positions(&mut transaction, slice).await?;
        carry_announcements(&mut transaction, slice, &corrected).await?;
        keep_outcomes(&mut transaction, slice).await?;
        remove(&mut transaction, slice).await?;
        note(&mut transaction, slice).await?;
        transaction.commit().await.map_err(Fault::doing("end to archive"))
    }
}

async fn seq_of(connection: &mut PgConnection, slice: &Slice) -> Result<Seq, Fault> {
    sqlx::query_scalar!("select seq from ledger_head where partition = $1", slice.partition.0)
        .fetch_one(connection)
        .await
        .map_err(Fault::doing("read a head to archive"))
}

/// The hash of the last batch: another one after a fail-over that lost what was written to the file.
async fn hash_at(connection: &mut PgConnection, slice: &Slice) -> Result<Option<Vec<u8>>, Fault> {
    sqlx::query_scalar!(
        "select hash from ledger_batch where partition = $1 and last_seq = $2",
        slice.partition.0,
        slice.last,
    )
    .fetch_optional(connection)
    .await
    .map_err(Fault::doing("compare what is to be archived"))
}

/// Entries of the slice that an entry behind `after` corrects.
async fn corrected(
    connection: &mut PgConnection,
    slice: &Slice,
    after: Seq,
) -> Result<Vec<Seq>, Fault> {
    sqlx::query_scalar!(
        r#"select refers_to_seq as "seq!" from ledger_entry
           where partition = $1 and seq > $2 and kind = 12 and refers_to_seq between $3 and $4"#,
        slice.partition.0,
        after,
        slice.first,
        slice.last,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("look for corrections of what is to be archived"))
}

/// Adds the entries to what their positions carry.
async fn carry_positions(connection: &mut PgConnection, slice: &Slice) -> Result<(), Fault> {
    sqlx::query!(
        "insert into carried_position (
             partition, location, item, sellable, staged, blocked, in_transit, expected, reserved, seq)
         select partition, location, item,
             sum(quantity * ((legs & 2 <> 0 and to_state = 1)::int - (legs & 1 <> 0 and from_state = 1)::int))::bigint,
             sum(quantity * ((legs & 2 <> 0 and to_state = 2)::int - (legs & 1 <> 0 and from_state = 2)::int))::bigint,
             sum(quantity * ((legs & 2 <> 0 and to_state = 3)::int - (legs & 1 <> 0 and from_state = 3)::int))::bigint,
             sum(quantity * ((legs & 2 <> 0 and to_state = 4)::int - (legs & 1 <> 0 and from_state = 4)::int))::bigint,
             sum(quantity * ((legs & 2 <> 0 and to_state = 5)::int - (legs & 1 <> 0 and from_state = 5)::int))::bigint,
             sum(reserved_change)::bigint, max(seq)
         from ledger_entry where partition = $1 and seq between $2 and $3
         group by partition, location, item
         on conflict (partition, location, item) do update set
             sellable = carried_position.sellable + excluded.sellable,
             staged = carried_position.staged + excluded.staged,
             blocked = carried_position.blocked + excluded.blocked,
             in_transit = carried_position.in_transit + excluded.in_transit,
             expected = carried_position.expected + excluded.expected,
             reserved = carried_position.reserved + excluded.reserved,
             seq = excluded.seq",
        slice.partition.0,
        slice.first,
        slice.last,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("carry positions forward"))?;
    Ok(())
}

/// Adds the entries to how their lines stand. A line that is settled, and of which nothing follows, is
/// forgotten.
async fn carry_announcements(
    connection: &mut PgConnection,
    slice: &Slice,
    corrected: &[Seq],
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into carried_announcement (
             partition, document, location, item, document_line, announced, expected, receipts)
         select partition, document, location, item, line,
             coalesce(sum(change) filter (where kind in (2, 8) and stands), 0)::bigint,
             sum(change)::bigint, count(*) filter (where kind = 1 and stands)
         from (
             select e.partition, e.document, e.location, e.item,
                 coalesce(e.document_line, 0) as line, e.kind,
                 e.quantity * ((e.legs & 2 <> 0 and e.to_state = 5)::int
                     - (e.legs & 1 <> 0 and e.from_state = 5)::int) as change,
                 e.seq <> all($4) as stands
             from ledger_entry e
             where e.partition = $1 and e.seq between $2 and $3 and e.document is not null
         ) as entry
         where change <> 0 or kind = 1
         group by partition, document, location, item, line
         on conflict (partition, document, location, item, document_line) do update set
             announced = carried_announcement.announced + excluded.announced,
             expected = carried_announcement.expected + excluded.expected,
             receipts = carried_announcement.receipts + excluded.receipts",
        slice.partition.0,
        slice.first,
        slice.last,
        corrected,
    )
    .execute(&mut *connection)
    .await
    .map_err(Fault::doing("carry announcements forward"))?;
    sqlx::query!(
        "delete from carried_announcement as carried
         where partition = $1 and (receipts > 0 or announced = 0) and expected = 0
             and not exists (
                 select from ledger_entry e
                 where e.partition = $1 and e.document = carried.document and e.seq > $2
                     and e.location = carried.location and e.item = carried.item
             )",
        slice.partition.0,
        slice.last,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("forget announcements that are settled"))?;
    Ok(())
}

/// Keeps what each key is answered with. Entries that came along with another (flag 16) answer none; of
/// these only other halves of transfers are kept, which corrections name.
async fn keep_outcomes(connection: &mut PgConnection, slice: &Slice) -> Result<(), Fault> {
    sqlx::query!(
        "insert into archived_entry (
             partition, seq, quantity, sellable_after, reserved_change, reserved_after, effective_at,
             recorded_at, fingerprint, counter_seq, location, item, source, counter_location, kind,
             legs, from_state, to_state, flags, reservation_state, reservation_id)
         select partition, seq, quantity, sellable_after, reserved_change, reserved_after, effective_at,
             recorded_at, fingerprint, counter_seq, location, item, source, counter_location, kind,
             legs, from_state, to_state, flags, reservation_state, reservation_id
         from ledger_entry where partition = $1 and seq between $2 and $3
             and (flags & 16 = 0 or counter_seq is not null)",
        slice.partition.0,
        slice.first,
        slice.last,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("keep what keys are answered with"))?;
    Ok(())
}

/// Removes entries and batches: all of them, or nothing at all.
async fn remove(connection: &mut PgConnection, slice: &Slice) -> Result<(), Fault> {
    let done = sqlx::query!(
        "delete from ledger_entry where partition = $1 and seq between $2 and $3",
        slice.partition.0,
        slice.first,
        slice.last,
    )
    .execute(&mut *connection)
    .await
    .map_err(Fault::doing("remove archived entries"))?;
    if Seq::try_from(done.rows_affected()) != Ok(slice.last - slice.first + 1) {
        return Err(Fault::defect("remove archived entries", Defect::RowMissing));
    }
    sqlx::query!(
        "delete from ledger_batch where partition = $1 and last_seq between $2 and $3",
        slice.partition.0,
        slice.first,
        slice.last,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("remove archived batches"))?;
    Ok(())
}

async fn note(connection: &mut PgConnection, slice: &Slice) -> Result<(), Fault> {
    sqlx::query!(
        "insert into archived_slice (
             partition, first_seq, last_seq, epoch, recorded_at, previous, hash, file_name, file_sha256)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        slice.partition.0,
        slice.first,
        slice.last,
        slice.epoch,
        At(slice.recorded_at) as _,
        &slice.previous,
        &slice.hash,
        slice.file_name,
        &slice.file_sha256,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("note what was archived"))?;
    Ok(())
}
