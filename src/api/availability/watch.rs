//! WatchAvailability: what there is, then every change, to each reader as fast as it takes them.

mod asked;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use self::asked::{Asked, Scoped};
use crate::{
    access::Caller,
    api::{
        Api,
        cursor::Cursor,
        error::status,
        proto::{WatchAvailabilityRequest, WatchAvailabilityResponse},
    },
    feed::{
        follow::Stand,
        watch::{Anew, CatchUp, Progress, Refused, Watcher},
    },
    stock::{
        channel_policy::Policy,
        ids::{Partition, PositionKey},
    },
};

/// Where nothing changes a message says so this often, so that both sides know of each other.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Messages of one watcher follow each other no faster; what changes meanwhile goes together.
const PACE_MIN: Duration = Duration::from_millis(10);
/// So many watchers share a millisecond more of it, because a message costs more than a change in it.
const WATCHERS_PER_MS: usize = 40;
/// What the network changes is told no more often than this.
const NETWORK_PACE: Duration = Duration::from_secs(1);
/// How often it is looked whether the status of a location has ended by itself.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// The ledger must be followed up to where another server told of it within this time.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);

/// The stream that a watcher gets.
pub(super) type Answers =
    Pin<Box<dyn Stream<Item = Result<WatchAvailabilityResponse, Status>> + Send>>;

/// One stream, from its first message to its last.
struct Session {
    api: Api,
    asked: Asked,
    answers: mpsc::Sender<WatchAvailabilityResponse>,
    network: watch::Receiver<i64>,
    /// What was told, and where to go on.
    cursor: Option<Cursor>,
    /// Positions that were told with live holds.
    held: BTreeSet<PositionKey>,
    /// What was told before is void, and nobody was told so yet.
    reset: bool,
    policy: Arc<Policy>,
    sent_at: Instant,
}

/// Why a session, or a part of it, ends.
enum End {
    /// Nobody listens any more.
    Quiet,
    /// The reader does not keep up.
    Slow,
    /// Something that was told is void, or something else is to be told: begin again.
    Again,
    Failed(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> End {
        End::Failed(status)
    }
}

impl From<Anew> for End {
    fn from(_: Anew) -> End {
        End::Again
    }
}

impl From<Refused> for End {
    fn from(refused: Refused) -> End {
        End::Failed(match refused {
            Refused::TooMany => {
                let message = "too many streams are open at this server";
                status(Code::ResourceExhausted, "TOO_MANY_WATCHERS", message, &[])
            }
            Refused::Fault(fault) => fault.into(),
        })
    }
}

impl Api {
    pub(super) async fn watch_positions(
        &self,
        caller: Arc<Caller>,
        sent: WatchAvailabilityRequest,
    ) -> Result<Answers, Status> {
        let network = self.ledger.directory().revision();
        let (asked, cursor) = Asked::new(self, caller, sent).await?;
        let policy = self.policy(&asked.caller, &asked.channel_id).await?;
        let (answers, stream) = mpsc::channel(1);
        let (ended, end) = oneshot::channel();
        let session = Session {
            api: self.clone(),
            asked,
            answers,
            network,
            cursor,
            held: BTreeSet::new(),
            reset: false,
            policy,
            sent_at: Instant::now(),
        };
        tokio::spawn(async move {
            if let Some(status) = session.run().await {
                // A reader that went away needs no reason.
                let _ = ended.send(status);
            }
        });
        // The reason of the end comes behind the last message, however long that one waits.
        let end = futures::stream::once(end).filter_map(async |end| end.ok().map(Err));
        Ok(Box::pin(ReceiverStream::new(stream).map(Ok).chain(end)))
    }
}

impl Session {
    /// What to say in the end, if anything.
    async fn run(mut self) -> Option<Status> {
        let mut stopped = self.api.stopped.clone();
        let end = tokio::select! {
            end = self.watch() => end,
            _ = stopped.wait_for(|stopped| *stopped) => End::Quiet,
        };
        match end {
            End::Quiet | End::Again => None,
            End::Slow => {
                crate::telemetry::watcher_cut("slow");
                let cursor = self.cursor.as_ref().map(Cursor::encode).unwrap_or_default();
                let message = "the reader does not keep up; go on at the cursor";
                let metadata = [("cursor", &*cursor)];
                Some(status(Code::ResourceExhausted, "READER_TOO_SLOW", message, &metadata))
            }
            End::Failed(status) => Some(status),
        }
    }

    async fn watch(&mut self) -> End {
        loop {
            match self.watch_once().await {
                Err(End::Again) | Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// Joins, tells what there is, then what changes, until it has to begin again.
    async fn watch_once(&mut self) -> Result<(), End> {
        let revision = *self.network.borrow_and_update();
        self.policy = self.api.policy(&self.asked.caller, &self.asked.channel_id).await?;
        let scoped = self.asked.scope(&self.api).await?;
        let mut watcher = self.api.watch.join(scoped.scope.clone()).await?;
        let mut catch_up = self.begin(&mut watcher, &scoped).await?;
        if self.cursor.as_ref().is_none_or(|cursor| cursor.told == Progress::Nothing) {
            self.tell_unknown(&scoped).await?;
        }
        let base = self.cursor.as_ref();
        let base = base.map_or_else(|| watcher.joined_at(), Cursor::stands);
        loop {
            let more = watcher.read_page(&mut catch_up).await.map_err(Status::from)?;
            let changes = watcher.take()?;
            let over = !more && catch_up.is_over(&changes.stands);
            let (stands, told) = match over {
                true => (changes.stands.clone(), Progress::All),
                false => (base.clone(), catch_up.told()),
            };
            self.tell(changes, &stands, told, revision, over).await?;
            if over {
                break;
            }
            if !more {
                self.wait(&watcher).await?;
            }
        }
        self.follow(&watcher, &scoped, revision).await
    }

    /// What is to be read, given what was told before.
    async fn begin(&mut self, watcher: &mut Watcher, scoped: &Scoped) -> Result<CatchUp, End> {
        let Some(cursor) = self.cursor.clone() else {
            return Ok(watcher.catch_up(Progress::Nothing, BTreeMap::new(), Vec::new()));
        };
        let joined = watcher.joined_at();
        if joined.values().any(|stand| stand.epoch != cursor.epoch) {
            (self.reset, self.cursor) = (true, None);
            self.held.clear();
            return Ok(watcher.catch_up(Progress::Nothing, BTreeMap::new(), Vec::new()));
        }
        if !self.follows_up_to(watcher, &cursor.stands()).await? {
            (self.reset, self.cursor) = (true, None);
            return Ok(watcher.catch_up(Progress::Nothing, BTreeMap::new(), Vec::new()));
        }
        let changed = self.asked.is_changed_since(&self.api, cursor.revision, scoped);
        let Some(held) = cursor.held.clone().filter(|_| !changed) else {
            self.cursor = None;
            return Ok(watcher.catch_up(Progress::Nothing, BTreeMap::new(), Vec::new()));
        };
        let again: BTreeSet<_> = held.into_iter().chain(watcher.held()).collect();
        let again = again.into_iter().filter(|key| scoped.scope.covers(*key)).collect();
        Ok(watcher.catch_up(cursor.told, cursor.stands(), again))
    }

    /// Waits until this server has seen what another one told; false: it never will.
    async fn follows_up_to(
        &self,
        watcher: &mut Watcher,
        told: &BTreeMap<Partition, Stand>,
    ) -> Result<bool, End> {
        let until = Instant::now() + FOLLOWED_WITHIN;
        loop {
            // What changes meanwhile is older than what was told.
            let stands = watcher.take()?.stands;
            let behind = |(partition, told): (&Partition, &Stand)| {
                stands.get(partition).is_some_and(|stand| stand.seq < told.seq)
            };
            if !told.iter().any(behind) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(PACE_MIN).await;
        }
    }

    /// Tells what changes.
    async fn follow(
        &mut self,
        watcher: &Watcher,
        scoped: &Scoped,
        mut revision: i64,
    ) -> Result<(), End> {
        let begun = Instant::now();
        let (shut, mut looked, mut asked) = (self.asked.shut(&self.api), begun, begun);
        loop {
            self.wait(watcher).await?;
            if looked.elapsed() >= STATUS_EVERY {
                looked = Instant::now();
                if self.asked.shut(&self.api) != shut {
                    self.cursor = None;
                    return Err(End::Again);
                }
            }
            if asked.elapsed() >= self.asked.looks_up_every() {
                asked = Instant::now();
                if self.asked.is_known_now(&self.api).await? {
                    self.cursor = None;
                    return Err(End::Again);
                }
            }
            if self.network.has_changed().unwrap_or(false) {
                let now = *self.network.borrow_and_update();
                if self.asked.is_changed_since(&self.api, revision, scoped) {
                    tokio::time::sleep_until(begun + NETWORK_PACE).await;
                    return Err(End::Again);
                }
                revision = now;
            }
            let changes = watcher.take()?;
            if changes.rows.is_empty() && self.sent_at.elapsed() < HEARTBEAT {
                continue;
            }
            let stands = changes.stands.clone();
            self.tell(changes, &stands, Progress::All, revision, true).await?;
        }
    }

    /// Until something may have changed, but not before the pace allows another message.
    async fn wait(&mut self, watcher: &Watcher) -> Result<(), End> {
        let crowd = watcher.crowd() / WATCHERS_PER_MS;
        let pace = PACE_MIN + Duration::from_millis(crowd as u64);
        tokio::time::sleep_until(self.sent_at + pace).await;
        tokio::select! {
            () = watcher.changed() => Ok(()),
            Ok(()) = self.network.changed() => {
                self.network.mark_changed();
                Ok(())
            }
            () = tokio::time::sleep(STATUS_EVERY.min(self.asked.looks_up_every())) => Ok(()),
            () = self.answers.closed() => Err(End::Quiet),
        }
    }
}
