//! Redis: what may still be promised. Nothing in it is needed for correctness: every call may fail,
//! lie or be lost, and PostgreSQL decides.
//!
//! Each operation is one script, atomic, on keys of one partition, which share a hash tag; its `.lua`
//! file lies beside its one typed function, and `shared.lua` describes the keys. Read [`read`] (what is
//! there), [`hold`] (holds), [`admit`] and [`project`] (what surrounds a batch), [`rebuild`] and
//! [`scrub`] (how the projection is made and mended).
#![expect(clippy::disallowed_types, reason = "this is where Redis lives")]

pub mod admit;
pub mod condition;
mod connection;
pub mod explain;
pub mod fault;
pub mod held;
pub mod hold;
mod keys;
mod mirror;
mod pack;
pub mod project;
pub mod read;
pub mod rebuild;
pub mod replace;
pub mod scrub;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use redis::{Script, ScriptInvocation, Value};

pub use self::keys::Bucket;
#[cfg(feature = "simulation")]
pub use self::wire::{Answers, Commands, Server};
use self::{
    connection::Connection,
    fault::{Fault, Nonsense},
    keys::{Key, KeyName},
    mirror::Mirror,
    pack::Unpacker,
};
use crate::stock::{
    ids::{Partition, PositionKey, Seq},
    position::BALANCE_MAX,
    time::Micros,
};

/// An answer that somebody waits for and that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// The same for what runs in the background.
const BACKGROUND_ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Positions of one call of a script: what blocks the others for about a millisecond.
pub const POSITIONS_MAX: usize = 1_000;
/// The prefix of all keys if nothing is said.
pub const PREFIX: &str = "stockroom";

/// What scripts of several kinds begin with.
const SHARED: &str = include_str!("availability/shared.lua");
const SHARED_HOLDS: &str = include_str!("availability/shared_holds.lua");
const SHARED_CLAIMS: &str = include_str!("availability/shared_claims.lua");
const SHARED_ROWS: &str = include_str!("availability/shared_rows.lua");

/// How to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// `redis://user:password@host:port`, or `rediss://` for TLS.
    pub url: String,
    /// Certificates (PEM) of those who may have certified the server; `None`: whom the system trusts.
    pub authorities: Option<Vec<u8>>,
    /// What all keys begin with.
    pub prefix: String,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL has a password.
        f.debug_struct("Options").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The reservation layer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Availability {
    /// For what somebody waits for.
    front: Connection,
    /// For what runs in the background, whose large answers nobody shall wait behind.
    background: Connection,
    mirror: Arc<Mirror>,
    prefix: Arc<str>,
}

/// Everything up to here is projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkpoint {
    /// The epoch of the ledger.
    pub epoch: i64,
    /// The last entry.
    pub seq: Seq,
}

/// A position, as far as it is projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub key: PositionKey,
    /// Its version.
    pub seq: Seq,
    /// May be sold.
    pub sellable: i64,
    /// Promised by firm reservations.
    pub reserved: i64,
}

/// What the checkpoint must be like for an answer to be worth anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The epoch of the ledger, where it is known.
    pub epoch: Option<i64>,
    /// How long ago it may have stood at the head.
    pub age_us_max: Micros,
}

/// Why Redis cannot say anything about a partition: ask the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is no checkpoint.
    Unknown,
    /// It is of another epoch.
    Epoch,
    /// Its clock and the database's disagree.
    Doubt,
    /// The checkpoint is too old.
    Late,
    /// A position has no row.
    Row,
}

/// A short line of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortLine {
    /// Which position.
    pub key: PositionKey,
    /// What there is to promise.
    pub available: i64,
}

impl Availability {
    /// As [`Availability::open`], with whom the system trusts where the URL says TLS.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(url: &str, prefix: &str) -> Result<Availability, Fault> {
        let (url, prefix) = (url.to_owned(), prefix.to_owned());
        Availability::open(&Options { url, authorities: None, prefix })
    }

    /// Connects when a connection is needed first.
    ///
    /// # Errors
    /// The URL or the certificates are malformed.
    pub fn open(options: &Options) -> Result<Availability, Fault> {
        let Options { url, authorities, prefix } = options;
        let open = |answer_within| {
            let opened = Connection::new(url, authorities.as_deref(), answer_within);
            opened.map_err(|source| Fault::redis("read the address of Redis", source))
        };
        Ok(Availability {
            front: open(ANSWER_WITHIN)?,
            background: open(BACKGROUND_ANSWER_WITHIN)?,
            mirror: Arc::default(),
            prefix: prefix.as_str().into(),
        })
    }

    /// A layer on a server that is simulated.
    #[cfg(feature = "simulation")]
    pub fn simulated(server: &Arc<dyn Server>, prefix: &str) -> Availability {
        let open = |answer_within| Connection::simulated(Arc::clone(server), answer_within);
        Availability {
            front: open(ANSWER_WITHIN),
            background: open(BACKGROUND_ANSWER_WITHIN),
            mirror: Arc::default(),
            prefix: prefix.into(),
        }
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.background.command("ping Redis", &redis::cmd("PING")).await?;
        Ok(())
    }

    fn key(&self, partition: Partition, name: KeyName) -> String {
        Key { prefix: &self.prefix, partition, name }.to_string()
    }

    /// A call with the keys of a partition.
    fn invocation<'s>(
        &self,
        script: &'s Script,
        partition: Partition,
        names: impl IntoIterator<Item = KeyName>,
    ) -> ScriptInvocation<'s> {
        let mut call = script.prepare_invoke();
        for name in names {
            call.key(self.key(partition, name));
        }
        call
    }
}

/// Puts what is shared between the first line of a script, which names its flags, and the rest.
fn script(shared: &[&str], text: &str) -> Script {
    let (flags, body) = text.split_once('\n').unwrap_or((text, ""));
    let parts = [&[flags, SHARED][..], shared, &[body]].concat();
    Script::new(&parts.join("\n"))
}

/// A packed answer.
fn packed(answer: &Value) -> Result<Unpacker<'_>, Nonsense> {
    match answer {
        Value::BulkString(bytes) => Ok(Unpacker(bytes)),
        _ => Err(Nonsense("a text was expected")),
    }
}

/// Whether a script did it.
fn done(answer: &Value) -> Result<bool, Nonsense> {
    match answer {
        Value::Int(0) => Ok(false),
        Value::Int(1) => Ok(true),
        _ => Err(Nonsense("0 or 1 was expected")),
    }
}

/// What a script answers in several parts.
fn parts<const N: usize>(answer: Value) -> Result<[Value; N], Nonsense> {
    let Value::Array(parts) = answer else { return Err(Nonsense("an array was expected")) };
    parts.try_into().map_err(|_| Nonsense("an array has another length"))
}

/// An optional argument: empty if there is none.
fn optional(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// Whether a double represents it exactly and it is not negative.
fn is_exact(number: i64) -> bool {
    (0..=BALANCE_MAX).contains(&number)
}

impl Unusable {
    fn parse(text: &str) -> Result<Unusable, Nonsense> {
        match text {
            "unknown" => Ok(Unusable::Unknown),
            "epoch" => Ok(Unusable::Epoch),
            "doubt" => Ok(Unusable::Doubt),
            "late" => Ok(Unusable::Late),
            "row" => Ok(Unusable::Row),
            _ => Err(Nonsense("a reason was expected")),
        }
    }
}

impl Checkpoint {
    fn read(from: &mut Unpacker<'_>) -> Result<Checkpoint, Nonsense> {
        Ok(Checkpoint { epoch: from.natural()?, seq: from.natural()? })
    }
}
