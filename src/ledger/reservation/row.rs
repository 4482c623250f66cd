//! Reservations as rows, and back.

use sqlx::{
    Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, types::PgRecordEncoder},
};
use uuid::Uuid;

use crate::{
    ledger::{
        entry_row::stated,
        fault::{Defect, Fault},
        rows::meaning,
        sql_time::At,
    },
    stock::{
        hash::Digest,
        ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, Seq},
        reservation::{CancelledBy, Line, Reservation, ReservationId, Settlement, State},
    },
};

/// A reservation on its way into the database: one value of the type `reservation_row`, without the
/// partition that its whole batch is for.
pub(crate) struct ReservationRow<'r>(pub &'r Reservation);

impl Type<Postgres> for ReservationRow<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("reservation_row")
    }
}

impl PgHasArrayType for ReservationRow<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("reservation_row")
    }
}

/// Field by field in the order of the type; PostgreSQL checks the type of each.
impl Encode<'_, Postgres> for ReservationRow<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let made = self.0;
        let digest = |digest: Option<Digest>| digest.map(|digest| Uuid::from_u128(digest.0));
        let name = |id: Option<ReservationId>| id.map(|id| id.to_string());
        let mut row = PgRecordEncoder::new(buffer);
        row.encode(made.id.no)?
            .encode(made.id.epoch)?
            .encode(made.version)?
            .encode(made.code_hash)?
            .encode(At(made.created_at))?
            .encode(At(made.ready_by))?
            .encode(At(made.expires_at))?
            .encode(At(made.changed_at))?
            .encode(made.answer_by.map(At))?
            .encode(made.paid_at.map(At))?
            .encode(made.id.place.location.0)?
            .encode(made.channel.map(|channel| channel.0))?
            .encode(made.state as i16)?
            .encode(made.settlement as i16)?
            .encode(made.cancelled_by.map(|by| by as i16))?
            .encode(made.ttl_given)?
            .encode(digest(made.hold))?
            .encode(digest(made.held_as))?
            .encode(stated(&made.order_ref))?
            .encode(stated(&made.customer_ref))?
            .encode(stated(&made.reason))?
            .encode(name(made.successor))?
            .encode(name(made.predecessor))?;
        row.finish();
        Ok(IsNull::No)
    }
}

/// One line of a reservation, with everything that its lines share.
pub(super) struct Row {
    pub no: i64,
    pub epoch: i64,
    pub version: i64,
    pub code_hash: i64,
    pub created_at: At,
    pub ready_by: At,
    pub expires_at: At,
    pub changed_at: At,
    pub answer_by: Option<At>,
    pub paid_at: Option<At>,
    pub location: i32,
    pub channel: Option<i32>,
    pub state: i16,
    pub settlement: i16,
    pub cancelled_by: Option<i16>,
    pub ttl_given: bool,
    pub hold: Option<Uuid>,
    pub held_as: Option<Uuid>,
    pub order_ref: Option<String>,
    pub customer_ref: Option<String>,
    pub reason: Option<String>,
    pub successor: Option<String>,
    pub predecessor: Option<String>,
    pub item: i32,
    pub quantity: i64,
    pub picked: i64,
    pub collected: i64,
    pub shelved: i64,
}

/// Reservations from rows in which the lines of each stand together, in order.
pub(super) fn assemble(partition: Partition, rows: Vec<Row>) -> Result<Vec<Reservation>, Fault> {
    let mut reservations: Vec<Reservation> = Vec::new();
    for row in rows {
        let line = row.line();
        match reservations.last_mut() {
            Some(last) if last.id.no == row.no => last.lines.push(line),
            _ => reservations.push(row.reservation(partition, line)?),
        }
    }
    Ok(reservations)
}

impl Row {
    fn line(&self) -> Line {
        Line {
            item: ItemNo(self.item),
            quantity: self.quantity,
            picked: self.picked,
            collected: self.collected,
            shelved: self.shelved,
        }
    }

    fn reservation(self, partition: Partition, line: Line) -> Result<Reservation, Fault> {
        let place = Place { partition, location: LocationNo(self.location) };
        let digest = |uuid: Option<Uuid>| uuid.map(|uuid| Digest(uuid.as_u128()));
        let settlement = meaning("settlement", self.settlement, Settlement::of(self.settlement))?;
        let cancelled_by = match self.cancelled_by {
            None => None,
            Some(by) => Some(meaning("cancelled_by", by, CancelledBy::of(by))?),
        };
        Ok(Reservation {
            id: ReservationId { place, epoch: self.epoch, no: self.no },
            state: meaning("state", self.state, State::of(self.state))?,
            channel: self.channel.map(ChannelNo),
            settlement,
            lines: vec![line],
            order_ref: self.order_ref.unwrap_or_default(),
            customer_ref: self.customer_ref.unwrap_or_default(),
            hold: digest(self.hold),
            held_as: digest(self.held_as),
            code_hash: self.code_hash,
            created_at: self.created_at.0,
            ready_by: self.ready_by.0,
            expires_at: self.expires_at.0,
            ttl_given: self.ttl_given,
            answer_by: self.answer_by.map(|at| at.0),
            paid_at: self.paid_at.map(|at| at.0),
            changed_at: self.changed_at.0,
            reason: self.reason.unwrap_or_default(),
            cancelled_by,
            successor: name("successor", self.no, self.successor)?,
            predecessor: name("predecessor", self.no, self.predecessor)?,
            version: self.version,
        })
    }
}

fn name(
    column: &'static str,
    no: Seq,
    text: Option<String>,
) -> Result<Option<ReservationId>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let defect = Defect::Meaningless { column, value: no };
    let id = text.parse().map_err(|_| Fault::defect("understand a reservation", defect))?;
    Ok(Some(id))
}
