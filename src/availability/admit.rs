//! Admission: which claims of a batch are worth a transaction.

use std::sync::LazyLock;

use redis::{Script, Value};

use crate::{
    availability::{
        Availability, Checkpoint, POSITIONS_MAX, SHARED_CLAIMS, SHARED_HOLDS, ShortLine, Trust,
        Unusable,
        fault::{Fault, Nonsense},
        hold::{KEYS, pack_line, read_short},
        keys::{Asked, KeyName, hold_field},
        optional,
        pack::Packer,
        packed, script,
    },
    stock::{
        hold::HoldId,
        ids::{Partition, PositionKey},
        policy::Buffer,
        time::Timestamp,
    },
};

static ADMIT: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS, SHARED_CLAIMS], include_str!("admit.lua")));

const DOING: &str = "admit a batch";
/// How long a batch may take before others stop to reckon with it.
pub const TOKEN_TTL_MS: i64 = 2_000;

/// Names a batch in Redis: drawn at random, and different for each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u128);

/// What one command of a batch is about to claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'c> {
    /// What it wants.
    pub lines: &'c [ClaimLine],
    /// The hold that it converts, which brings its quantities.
    pub own: Option<HoldId>,
    /// Whether lines that do not fit are left out.
    pub per_line: bool,
}

/// Units of one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLine {
    /// Which position.
    pub key: PositionKey,
    /// How many units; more than 0. Lines of one position add up.
    pub quantity: i64,
    /// What the channel keeps back of it.
    pub buffer: Buffer,
}

/// What Redis says about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It judged the claims.
    Judged(Judged),
    /// It cannot: skip admission, PostgreSQL decides.
    Unusable(Unusable),
}

/// What Redis says about the claims of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What refusals rest on.
    pub checkpoint: Checkpoint,
    /// Redis' clock: before the batch began.
    pub at: Timestamp,
    /// For each claim, in order.
    pub verdicts: Vec<Verdict>,
}

/// What Redis says about a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken for the token.
    Fits {
        /// Lines that were left out, where that was asked for.
        short: Vec<ShortLine>,
    },
    /// It fits only if batches under way, this one included, come to nothing: ask again after the next
    /// settle, and never refuse.
    Contended,
    /// It does not fit, whatever they come to.
    Short {
        /// Every line that is short.
        lines: Vec<ShortLine>,
    },
    /// A position has no row: PostgreSQL decides. Nothing was taken.
    Unknown,
}

impl Availability {
    /// Judges claims of one partition, one after the other, each seeing those before it, and takes for
    /// the token what fits: for [`TOKEN_TTL_MS`], or until it is settled. The same token again begins
    /// anew.
    ///
    /// # Errors
    /// Redis cannot be used, or has no memory left; something may have been taken.
    pub async fn admit(
        &self,
        partition: Partition,
        token: Token,
        claims: &[Claim<'_>],
        trust: Trust,
    ) -> Result<Admission, Fault> {
        let mut judged: Option<Judged> = None;
        for part in parts(claims) {
            let adds = judged.is_some();
            match self.admit_part(partition, token, part, trust, adds).await? {
                Admission::Judged(more) => match &mut judged {
                    None => judged = Some(more),
                    Some(judged) => {
                        judged.checkpoint = judged.checkpoint.min(more.checkpoint);
                        judged.verdicts.extend(more.verdicts);
                    }
                },
                unusable => return Ok(unusable),
            }
        }
        judged.map(Admission::Judged).ok_or(Fault::argument(DOING, "a batch claims something"))
    }

    async fn admit_part(
        &self,
        partition: Partition,
        token: Token,
        claims: &[Claim<'_>],
        trust: Trust,
        adds: bool,
    ) -> Result<Admission, Fault> {
        let lines = claims.iter().flat_map(|claim| claim.lines);
        let asked = Asked::new(lines.map(|line| line.key));
        if asked.len() > POSITIONS_MAX || !asked.iter().all(|key| key.place.partition == partition)
        {
            return Err(Fault::argument(DOING, "a claim has 1,000 positions of its partition"));
        }
        let names = KEYS.into_iter().chain(asked.buckets().map(KeyName::Rows));
        let mut call = self.invocation(&ADMIT, partition, names);
        call.arg(token.name()).arg(optional(trust.epoch)).arg(trust.age_us_max);
        call.arg(u8::from(adds)).arg(TOKEN_TTL_MS);
        call.arg(asked.packed()).arg(pack(claims, &asked)?);
        let answer = match adds {
            true => self.front.call(DOING, &call).await?,
            false => self.front.insist(DOING, &call).await?,
        };
        read(&answer, &asked, claims.len()).map_err(Fault::nonsense(DOING))
    }
}

impl Token {
    pub(super) fn name(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// Claims in parts that one call can judge.
fn parts<'c, 'l>(claims: &'c [Claim<'l>]) -> impl Iterator<Item = &'c [Claim<'l>]> {
    let mut rest = claims;
    std::iter::from_fn(move || {
        let mut lines = 0;
        let fits = |claim: &Claim<'_>| {
            lines += claim.lines.len();
            lines <= POSITIONS_MAX
        };
        let count = rest.iter().map(fits).take_while(|&fits| fits).count();
        let (part, after) = rest.split_at(count.max(1).min(rest.len()));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

fn pack(claims: &[Claim<'_>], asked: &Asked<'_>) -> Result<Vec<u8>, Fault> {
    let mut packer = Packer::default();
    for claim in claims {
        packer.text(&claim.own.map(hold_field).unwrap_or_default());
        packer.int(u8::from(claim.per_line)).count(claim.lines.len());
        for line in claim.lines {
            pack_line(DOING, &mut packer, asked.place(line.key), line.quantity, line.buffer)?;
        }
    }
    Ok(packer.finish())
}

fn read(answer: &Value, asked: &Asked<'_>, claims: usize) -> Result<Admission, Nonsense> {
    let mut from = packed(answer)?;
    match from.text()? {
        "unusable" => return Ok(Admission::Unusable(Unusable::parse(from.text()?)?)),
        "admitted" => {}
        _ => return Err(Nonsense("an answer to an admission was expected")),
    }
    let checkpoint = Checkpoint::read(&mut from)?;
    let at = Timestamp(from.natural()?);
    let verdicts = from.groups(2, |from| {
        let word = from.text()?;
        let short = read_short(from, asked)?;
        Ok(match word {
            "fits" => Verdict::Fits { short },
            "contended" => Verdict::Contended,
            "short" => Verdict::Short { lines: short },
            "unknown" => Verdict::Unknown,
            _ => return Err(Nonsense("a verdict was expected")),
        })
    })?;
    from.end()?;
    if verdicts.len() != claims {
        return Err(Nonsense("an array has another length"));
    }
    Ok(Admission::Judged(Judged { checkpoint, at, verdicts }))
}
