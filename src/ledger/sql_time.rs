//! `timestamptz` as the core's [`Timestamp`]: both count microseconds, from different epochs.

use serde::{Deserialize, Serialize};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid,
    },
};

use crate::stock::time::Timestamp;

/// A moment on its way into or out of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct At(pub Timestamp);

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_SHIFT: i64 = Timestamp::Y2000.0;
/// Object ids of `timestamptz` and `timestamptz[]`, fixed in PostgreSQL's catalogue.
const TIMESTAMPTZ: PgTypeInfo = PgTypeInfo::with_oid(Oid(1184));
const TIMESTAMPTZ_ARRAY: PgTypeInfo = PgTypeInfo::with_oid(Oid(1185));

impl Type<Postgres> for At {
    fn type_info() -> PgTypeInfo {
        TIMESTAMPTZ
    }
}

impl PgHasArrayType for At {
    fn array_type_info() -> PgTypeInfo {
        TIMESTAMPTZ_ARRAY
    }
}

impl Encode<'_, Postgres> for At {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0.0.saturating_sub(EPOCH_SHIFT).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for At {
    fn decode(value: PgValueRef<'_>) -> Result<At, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("expected a binary timestamp".into());
        }
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(At(Timestamp(micros.saturating_add(EPOCH_SHIFT))))
    }
}
