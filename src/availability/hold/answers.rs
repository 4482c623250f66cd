//! What the scripts of holds answer.

use redis::Value;

use crate::{
    availability::{
        ShortLine,
        fault::Nonsense,
        hold::{Extended, Hold, HoldLine, HoldStatus, KnownHold, Released},
        keys::Asked,
        pack::Unpacker,
        packed,
    },
    stock::{hold::HoldId, ids::ItemNo},
};

/// Lines that are short: place, available ...
pub(in crate::availability) fn read_short(
    from: &mut Unpacker<'_>,
    asked: &Asked<'_>,
) -> Result<Vec<ShortLine>, Nonsense> {
    from.groups(2, |from| {
        let key = asked.at(from.small()?).ok_or(Nonsense("a place was expected"))?;
        Ok(ShortLine { key, available: from.natural()? })
    })
}

pub(super) fn read_hold(from: &mut Unpacker<'_>, id: HoldId) -> Result<Hold, Nonsense> {
    let expires_at = from.tick()?;
    let lines = from.groups(2, |from| {
        Ok(HoldLine { item: ItemNo(from.small()?), quantity: from.natural()? })
    })?;
    from.end()?;
    Ok(Hold { id, lines, expires_at })
}

pub(super) fn read_extended(answer: &Value, id: HoldId) -> Result<Extended, Nonsense> {
    let mut from = packed(answer)?;
    Ok(match from.text()? {
        "extended" => Extended::Until(read_hold(&mut from, id)?),
        "finished" => Extended::Finished(HoldStatus::parse(from.text()?)?),
        "key_reused" => Extended::KeyReused,
        "in_use" => Extended::InUse,
        "ledger" => Extended::InLedger,
        "unknown" => Extended::Unknown,
        _ => return Err(Nonsense("an answer to an extension was expected")),
    })
}

pub(super) fn read_released(answer: &Value) -> Result<Released, Nonsense> {
    let mut from = packed(answer)?;
    Ok(match from.text()? {
        "now" => Released::Now,
        "already" => Released::Already(HoldStatus::parse(from.text()?)?),
        "in_use" => Released::InUse,
        "ledger" => Released::InLedger,
        "unknown" => Released::Unknown,
        _ => return Err(Nonsense("an answer to a release was expected")),
    })
}

pub(super) fn read_known(answer: &Value, id: HoldId) -> Result<KnownHold, Nonsense> {
    let mut from = packed(answer)?;
    Ok(match from.text()? {
        "ledger" => KnownHold::InLedger,
        "unknown" => KnownHold::Unknown,
        status => {
            let status = HoldStatus::parse(status)?;
            KnownHold::Here(read_hold(&mut from, id)?, status)
        }
    })
}

impl HoldStatus {
    pub(in crate::availability) fn parse(text: &str) -> Result<HoldStatus, Nonsense> {
        match text {
            "live" => Ok(HoldStatus::Live),
            "consumed" => Ok(HoldStatus::Consumed),
            "released" => Ok(HoldStatus::Released),
            "expired" => Ok(HoldStatus::Expired),
            _ => Err(Nonsense("a status of a hold was expected")),
        }
    }
}
