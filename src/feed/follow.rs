//! What is recorded, in order: one reader a partition, however many follow it, and none where nobody
//! does.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::{
    ledger::{
        Ledger,
        fault::Fault,
        feed::{Change, Recorded},
    },
    stock::ids::{Partition, Seq},
};

/// How long what another server recorded may go unnoticed.
const POLL_EVERY: Duration = Duration::from_millis(25);
/// A partition is read no more often than this, whatever is heard: entries come in batches.
const PACE: Duration = Duration::from_millis(10);
/// Pause after the database was away.
const PAUSE: Duration = Duration::from_millis(500);
/// Entries of one page.
const ENTRIES_MAX: i64 = 1_000;
/// Pages that a follower may fall behind before it has to begin anew.
const BACKLOG: usize = 256;

/// The entries of all partitions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Follow {
    ledger: Ledger,
    /// Told when this server recorded something: a hint that saves a moment.
    recorded: watch::Receiver<()>,
    followed: Arc<Mutex<FxHashMap<Partition, Followed>>>,
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The epoch of the ledger.
    pub epoch: i64,
    /// The last entry.
    pub seq: Seq,
}

/// What comes next in a partition.
#[derive(Clone, Debug)]
pub enum News {
    /// The entries up to this one.
    Recorded(Vec<Change>, Stand),
    /// Another epoch began: what was followed may never have been.
    Reset(Stand),
}

/// One who follows a partition.
#[derive(Debug)]
pub struct Following {
    /// What comes behind this.
    pub from: Stand,
    /// It comes here.
    pub news: broadcast::Receiver<Arc<News>>,
}

#[derive(Debug)]
struct Followed {
    stand: Stand,
    news: broadcast::Sender<Arc<News>>,
}

impl Follow {
    /// Reads nothing before somebody follows.
    pub fn new(ledger: Ledger, recorded: watch::Receiver<()>) -> Follow {
        Follow { ledger, recorded, followed: Arc::default() }
    }

    /// Everything that is recorded in a partition from now on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn subscribe(&self, partition: Partition) -> Result<Following, Fault> {
        if let Some(followed) = self.followed().get(&partition) {
            return Ok(followed.join());
        }
        let (epoch, seq) = self.ledger.head(partition).await?.unwrap_or_default();
        let mut all = self.followed();
        if let Some(followed) = all.get(&partition) {
            return Ok(followed.join());
        }
        let (stand, (news, first)) = (Stand { epoch, seq }, broadcast::channel(BACKLOG));
        all.insert(partition, Followed { stand, news });
        tokio::spawn(read(self.clone(), partition, stand));
        Ok(Following { from: stand, news: first })
    }

    /// Tells what is new; false where nobody listens any more, and nobody can begin to.
    fn tell(&self, partition: Partition, news: Option<News>) -> bool {
        let mut all = self.followed();
        let Some(followed) = all.get_mut(&partition) else { return false };
        if followed.news.receiver_count() == 0 {
            all.remove(&partition);
            return false;
        }
        if let Some(news) = news {
            let (News::Recorded(_, stand) | News::Reset(stand)) = news;
            followed.stand = stand;
            // Only fails where the last listener went away a moment ago.
            let _ = followed.news.send(Arc::new(news));
        }
        true
    }

    fn followed(&self) -> MutexGuard<'_, FxHashMap<Partition, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    fn join(&self) -> Following {
        Following { from: self.stand, news: self.news.subscribe() }
    }
}

async fn read(mut follow: Follow, partition: Partition, mut stand: Stand) {
    loop {
        let begun = Instant::now();
        follow.recorded.mark_unchanged();
        let mut pause = Duration::ZERO;
        let news = match follow.ledger.recorded(partition, stand.seq, ENTRIES_MAX).await {
            Ok(recorded) => next(stand, recorded),
            Err(fault) => {
                tracing::debug!(fault = fault.chain(), "the ledger could not be followed");
                pause = PAUSE;
                None
            }
        };
        let idle = news.is_none();
        if let Some(News::Recorded(_, now) | News::Reset(now)) = &news {
            stand = *now;
        }
        if !follow.tell(partition, news) {
            return;
        }
        if idle {
            tokio::time::sleep(pause).await;
            // Without a writer there is nobody who could tell.
            let _ = tokio::time::timeout(POLL_EVERY, follow.recorded.changed()).await;
        }
        tokio::time::sleep_until(begun + PACE).await;
    }
}

/// What was read, as news to those who know everything up to `stand`.
fn next(stand: Stand, recorded: Recorded) -> Option<News> {
    let Recorded { epoch, head, is_next, changes } = recorded;
    if epoch != stand.epoch || head < stand.seq || !is_next {
        return Some(News::Reset(Stand { epoch, seq: head }));
    }
    let seq = changes.last()?.balance.seq;
    Some(News::Recorded(changes, Stand { epoch, seq }))
}
