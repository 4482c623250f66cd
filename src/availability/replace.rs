//! Other lines for the same hold.

use std::sync::LazyLock;

use redis::{Script, Value};

use crate::{
    availability::{
        Availability, SHARED_CLAIMS, SHARED_HOLDS, Trust,
        fault::{Fault, Nonsense},
        hold::{Caps, HoldAnswer, HoldStatus, KEYS, Wanted, WantedLines},
        keys::{KeyName, hold_field},
        optional, packed, script,
    },
    stock::{hash::Digest, hold::HoldId},
};

static REPLACE: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS, SHARED_CLAIMS], include_str!("replace.lua")));

/// Other lines that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct ReplaceRequest<'r> {
    /// Which hold.
    pub id: HoldId,
    /// Of the request's key: the same again is answered as before, if no other came between.
    pub request: Digest,
    /// Of everything that is asked: another one under the same key is refused.
    pub fingerprint: i64,
    /// What is wanted instead.
    pub lines: &'r [Wanted],
    /// Whether lines that do not fit are left out, instead of nothing being changed.
    pub per_line: bool,
    /// How long it lasts from now, in milliseconds. None: it ends when it would have.
    pub ttl_ms: Option<i64>,
    /// When Redis may answer at all.
    pub trust: Trust,
    /// How much may be held at once, by whom the hold was taken.
    pub caps: Caps,
}

/// What becomes of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// As for a new hold; the old lines stay unless it is granted.
    Answer(HoldAnswer),
    /// It is over.
    Finished(HoldStatus),
    /// A batch is about to consume it.
    InUse,
    /// Redis does not know it.
    Unknown,
}

impl Availability {
    /// Gives a hold other lines, in one step; its own old lines do not count against it.
    ///
    /// # Errors
    /// Redis cannot be used, or has no memory left; the lines may have been replaced.
    pub async fn replace(&self, request: ReplaceRequest<'_>) -> Result<Replaced, Fault> {
        let doing = "replace the lines of a hold";
        let ReplaceRequest { id, fingerprint, lines, per_line, ttl_ms, trust, caps, .. } = request;
        let wanted = WantedLines::new(doing, id.place, lines)?;
        let names = KEYS.into_iter().chain(wanted.asked.buckets().map(KeyName::Rows));
        let mut call = self.invocation(&REPLACE, id.place.partition, names);
        call.arg(hold_field(id)).arg(format!("{:032x}", request.request.0)).arg(fingerprint);
        call.arg(optional(ttl_ms)).arg(u8::from(per_line));
        call.arg(optional(trust.epoch)).arg(trust.age_us_max);
        call.arg(wanted.asked.packed()).arg(&wanted.packed).arg(caps.packed(id));
        let answer = self.front.insist(doing, &call).await?;
        read(&wanted, &answer, id).map_err(Fault::nonsense(doing))
    }
}

fn read(wanted: &WantedLines, answer: &Value, id: HoldId) -> Result<Replaced, Nonsense> {
    let mut from = packed(answer)?;
    Ok(match from.text()? {
        "finished" => Replaced::Finished(HoldStatus::parse(from.text()?)?),
        "in_use" => Replaced::InUse,
        "unknown" => Replaced::Unknown,
        word => Replaced::Answer(wanted.read_after(word, &mut from, id)?),
    })
}
