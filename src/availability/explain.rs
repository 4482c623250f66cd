//! Which holds stand behind what is held of a position.

use std::sync::LazyLock;

use redis::Script;

use crate::{
    availability::{
        Availability, SHARED_HOLDS,
        fault::Fault,
        keys::{KeyName, hold_of, position_name},
        packed, script,
    },
    stock::{hold::HoldId, ids::PositionKey, time::Timestamp},
};

static EXPLAIN: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS], include_str!("explain.lua")));

/// A live hold, as far as it is about one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUnits {
    /// Its name.
    pub id: HoldId,
    /// Units of the position.
    pub units: i64,
    /// When they are free again.
    pub expires_at: Timestamp,
}

impl Availability {
    /// The live holds of a position, those that end first first; after looking at `holds_max` no more.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn holds_of(
        &self,
        key: PositionKey,
        holds_max: usize,
    ) -> Result<Vec<HeldUnits>, Fault> {
        let doing = "name the holds of a position";
        let names = [KeyName::Holds, KeyName::Due, KeyName::Ticks];
        let mut call = self.invocation(&EXPLAIN, key.place.partition, names);
        call.arg(position_name(key)).arg(holds_max);
        let answer = self.background.call(doing, &call).await?;
        let read = || {
            let mut from = packed(&answer)?;
            let held = from.groups(3, |from| {
                let id = hold_of(key.place.partition, from.text()?)?;
                let (expires_at, units) = (from.tick()?, from.natural()?);
                Ok(HeldUnits { id, units, expires_at })
            })?;
            from.end()?;
            Ok(held)
        };
        read().map_err(Fault::nonsense(doing))
    }
}
