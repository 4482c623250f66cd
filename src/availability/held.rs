//! Which positions live holds are about.

use std::sync::LazyLock;

use redis::Script;

use crate::{
    availability::{
        Availability,
        fault::{Fault, Nonsense},
        keys::{KeyName, named_position},
        packed, script,
    },
    stock::ids::{Partition, PositionKey},
};

static HELD: LazyLock<Script> = LazyLock::new(|| script(&[], include_str!("held.lua")));

/// How many positions one step looks at, about.
const SCAN_COUNT: usize = 500;
/// Positions that one walk tells of: more holds than this are no longer followed one by one.
const POSITIONS_MAX: usize = 1_000_000;

impl Availability {
    /// What live holds there are in a partition, position by position; of a change during the walk the
    /// state before or after it.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn held(&self, partition: Partition) -> Result<Vec<(PositionKey, i64)>, Fault> {
        let doing = "walk over what is held";
        let names = [KeyName::Held, KeyName::TickUnits, KeyName::Ticks, KeyName::Due];
        let (mut held, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut call = self.invocation(&HELD, partition, names);
            call.arg(&*cursor).arg(SCAN_COUNT);
            let answer = self.background.call(doing, &call).await?;
            let read = || {
                let mut from = packed(&answer)?;
                let next = from.text()?.to_owned();
                let page = from.groups(2, |from| {
                    let name = from.text()?;
                    let key = named_position(partition, name);
                    let key = key.ok_or(Nonsense("a position was expected"))?;
                    Ok((key, from.natural()?))
                })?;
                from.end()?;
                Ok((next, page))
            };
            let (next, page) = read().map_err(Fault::nonsense(doing))?;
            held.extend(page.into_iter().filter(|(_, units)| *units > 0));
            if next == "0" || held.len() >= POSITIONS_MAX {
                return Ok(held);
            }
            cursor = next;
        }
    }
}
