//! Holds: promises that end by themselves with a tick of 100 ms, by Redis' own clock; then all is free.

mod answers;
mod caps;

use std::sync::LazyLock;

use redis::{Script, Value};

pub(super) use self::answers::read_short;
use self::answers::{read_extended, read_hold, read_known, read_released};
pub use self::caps::{Capped, Caps};
use crate::{
    availability::{
        Availability, Checkpoint, SHARED_CLAIMS, SHARED_HOLDS, ShortLine, Trust, Unusable,
        fault::{Fault, Nonsense},
        is_exact,
        keys::{Asked, KeyName, hold_field},
        optional,
        pack::{Packer, Unpacker},
        packed, script,
    },
    stock::{
        hash::Digest,
        hold::HoldId,
        ids::{ItemNo, Place, PositionKey},
        policy::Buffer,
        time::Timestamp,
    },
};

static HOLD: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS, SHARED_CLAIMS], include_str!("hold.lua")));
static EXTEND: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS], include_str!("extend.lua")));
static RELEASE: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS], include_str!("release.lua")));
static GET: LazyLock<Script> = LazyLock::new(|| script(&[SHARED_HOLDS], include_str!("get.lua")));

/// What `hold`, `replace` and `admit` work on, before the buckets.
pub(super) const KEYS: [KeyName; 9] = [
    KeyName::Checkpoint,
    KeyName::Holds,
    KeyName::Due,
    KeyName::Graves,
    KeyName::Held,
    KeyName::TickUnits,
    KeyName::Ticks,
    KeyName::Taken,
    KeyName::Tokens,
];
const KEYS_OF_ONE: [KeyName; 6] = [
    KeyName::Holds,
    KeyName::Due,
    KeyName::Graves,
    KeyName::Held,
    KeyName::TickUnits,
    KeyName::Ticks,
];

/// Units of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLine {
    /// Which item.
    pub item: ItemNo,
    /// How many units.
    pub quantity: i64,
}

/// A hold, live or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub id: HoldId,
    /// What it promises, one line for an item.
    pub lines: Vec<HoldLine>,
    /// When it ends, by Redis' clock.
    pub expires_at: Timestamp,
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldStatus {
    /// It promises its lines.
    Live,
    /// A reservation or a sale took its place.
    Consumed,
    /// Its owner gave it up.
    Released,
    /// Its time is over.
    Expired,
}

/// A line that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which item.
    pub item: ItemNo,
    /// How many units; more than 0. Lines of one item add up.
    pub quantity: i64,
    /// What the channel keeps back of it.
    pub buffer: Buffer,
}

/// A hold that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct HoldRequest<'r> {
    /// Derived from caller and key.
    pub id: HoldId,
    /// Of everything that is asked: another one under the same key is refused.
    pub fingerprint: i64,
    /// What is wanted.
    pub lines: &'r [Wanted],
    /// Whether lines that do not fit are left out, instead of nothing being granted.
    pub per_line: bool,
    /// How long it lasts, in milliseconds; more than 0. Rounded up to a whole tick.
    pub ttl_ms: i64,
    /// When Redis may answer at all.
    pub trust: Trust,
    /// How much may be held at once.
    pub caps: Caps,
}

/// More time that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ExtendRequest {
    /// Which hold.
    pub id: HoldId,
    /// Of the request's key: the same again is answered as before, if no other came between.
    pub request: Digest,
    /// Of everything that is asked: another one under the same key is refused.
    pub fingerprint: i64,
    /// How long it lasts from now, in milliseconds; more than 0.
    pub ttl_ms: i64,
}

/// What becomes of a request for a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldAnswer {
    /// It is taken.
    Granted(Hold),
    /// The first answer to the same request, whatever became of the hold since.
    Replayed(Hold),
    /// Another request was made under the same key.
    KeyReused,
    /// Not all of it fits, whatever batches under way come to.
    Short {
        /// Every line that is short.
        lines: Vec<ShortLine>,
        /// What this rests on.
        checkpoint: Checkpoint,
    },
    /// It depends on batches under way: ask again in a moment.
    Contended,
    /// The ledger keeps this hold.
    InLedger,
    /// With it more would be held at once than may be.
    Capped {
        /// By which cap.
        by: Capped,
        /// The most.
        units_max: i64,
    },
    /// Nothing can be said here: ask the ledger.
    Unusable(Unusable),
}

/// What becomes of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extended {
    /// It ends at this time, never earlier than before.
    Until(Hold),
    /// Another request was made under the same key.
    KeyReused,
    /// It is over.
    Finished(HoldStatus),
    /// A batch is about to consume it.
    InUse,
    /// The ledger keeps this hold.
    InLedger,
    /// Redis does not know it.
    Unknown,
}

/// What becomes of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It was live and is no more.
    Now,
    /// It was over.
    Already(HoldStatus),
    /// A batch is about to consume it.
    InUse,
    /// The ledger keeps this hold.
    InLedger,
    /// Redis does not know it.
    Unknown,
}

/// What Redis knows of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownHold {
    /// It is here, live or a tombstone.
    Here(Hold, HoldStatus),
    /// The ledger keeps it.
    InLedger,
    /// Redis does not know it.
    Unknown,
}

impl Availability {
    /// Takes a hold: all its lines in one step.
    ///
    /// # Errors
    /// Redis cannot be used, or has no memory left; the hold may have been taken.
    pub async fn hold(&self, request: HoldRequest<'_>) -> Result<HoldAnswer, Fault> {
        let doing = "take a hold";
        let HoldRequest { id, fingerprint, lines, per_line, ttl_ms, trust, caps } = request;
        let wanted = WantedLines::new(doing, id.place, lines)?;
        if !is_exact(ttl_ms) || ttl_ms == 0 {
            return Err(Fault::argument(doing, "a hold lasts for some time"));
        }
        let names = KEYS.into_iter().chain(wanted.asked.buckets().map(KeyName::Rows));
        let mut call = self.invocation(&HOLD, id.place.partition, names);
        call.arg(hold_field(id)).arg(fingerprint).arg(ttl_ms).arg(u8::from(per_line));
        call.arg(optional(trust.epoch)).arg(trust.age_us_max);
        call.arg(wanted.asked.packed()).arg(&wanted.packed).arg(caps.packed(id));
        let answer = self.front.insist(doing, &call).await?;
        wanted.read(&answer, id).map_err(Fault::nonsense(doing))
    }

    /// Lets a hold end later, if what is asked for is later. The same request again is answered as
    /// before, if no other changed the hold in between.
    ///
    /// # Errors
    /// Redis cannot be used, or has no memory left; the hold may have been extended.
    pub async fn extend(&self, request: ExtendRequest) -> Result<Extended, Fault> {
        let doing = "extend a hold";
        let ExtendRequest { id, request, fingerprint, ttl_ms } = request;
        if !is_exact(ttl_ms) || ttl_ms == 0 {
            return Err(Fault::argument(doing, "a hold lasts for some time"));
        }
        let names = KEYS_OF_ONE.into_iter().filter(|&name| name != KeyName::Graves);
        let mut call = self.invocation(&EXTEND, id.place.partition, names);
        call.arg(hold_field(id)).arg(format!("{:032x}", request.0)).arg(fingerprint).arg(ttl_ms);
        let answer = self.front.insist(doing, &call).await?;
        read_extended(&answer, id).map_err(Fault::nonsense(doing))
    }

    /// Ends a hold that its owner gives up.
    ///
    /// # Errors
    /// Redis cannot be used; the hold may have been released.
    pub async fn release(&self, id: HoldId) -> Result<Released, Fault> {
        let doing = "release a hold";
        let mut call = self.invocation(&RELEASE, id.place.partition, KEYS_OF_ONE);
        call.arg(hold_field(id));
        let answer = self.front.insist(doing, &call).await?;
        read_released(&answer).map_err(Fault::nonsense(doing))
    }

    /// Reads a hold, live or a tombstone.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn get(&self, id: HoldId) -> Result<KnownHold, Fault> {
        let doing = "read a hold";
        let mut call = self.invocation(&GET, id.place.partition, [KeyName::Holds]);
        call.arg(hold_field(id));
        let answer = self.front.insist(doing, &call).await?;
        read_known(&answer, id).map_err(Fault::nonsense(doing))
    }
}

/// Lines as the scripts are given them.
pub(super) struct WantedLines {
    pub asked: Asked<'static>,
    pub packed: Vec<u8>,
}

impl WantedLines {
    pub(super) fn new(
        doing: &'static str,
        place: Place,
        lines: &[Wanted],
    ) -> Result<WantedLines, Fault> {
        let key = |item| PositionKey { place, item };
        let asked = Asked::new(lines.iter().map(|line| key(line.item)));
        if lines.is_empty() || asked.len() > super::POSITIONS_MAX {
            return Err(Fault::argument(doing, "a hold has 1 to 1,000 items"));
        }
        let mut packer = Packer::default();
        for &Wanted { item, quantity, buffer } in lines {
            pack_line(doing, &mut packer, asked.place(key(item)), quantity, buffer)?;
        }
        Ok(WantedLines { asked, packed: packer.finish() })
    }

    /// The answers that `hold` and `replace` share.
    pub(super) fn read(&self, answer: &Value, id: HoldId) -> Result<HoldAnswer, Nonsense> {
        let mut from = packed(answer)?;
        let word = from.text()?;
        self.read_after(word, &mut from, id)
    }

    pub(super) fn read_after(
        &self,
        word: &str,
        from: &mut Unpacker<'_>,
        id: HoldId,
    ) -> Result<HoldAnswer, Nonsense> {
        Ok(match word {
            "granted" => HoldAnswer::Granted(read_hold(from, id)?),
            "replayed" => HoldAnswer::Replayed(read_hold(from, id)?),
            "key_reused" => HoldAnswer::KeyReused,
            "ledger" => HoldAnswer::InLedger,
            "contended" => HoldAnswer::Contended,
            "capped" => {
                HoldAnswer::Capped { by: Capped::parse(from.text()?)?, units_max: from.natural()? }
            }
            "unusable" => HoldAnswer::Unusable(Unusable::parse(from.text()?)?),
            "short" => {
                let checkpoint = Checkpoint::read(from)?;
                from.natural()?;
                HoldAnswer::Short { lines: read_short(from, &self.asked)?, checkpoint }
            }
            _ => return Err(Nonsense("an answer to a hold was expected")),
        })
    }
}

/// Adds a line that claims something.
pub(super) fn pack_line(
    doing: &'static str,
    packer: &mut Packer,
    place: usize,
    quantity: i64,
    buffer: Buffer,
) -> Result<(), Fault> {
    let sound = is_exact(quantity) && quantity > 0 && is_exact(buffer.units);
    if !sound || !(0..=100).contains(&buffer.percent) {
        return Err(Fault::argument(
            doing,
            "a line has a quantity, and a buffer within its bounds",
        ));
    }
    packer.count(place).int(quantity).int(buffer.units).int(buffer.percent);
    Ok(())
}
