//! Where the simulation takes the place of PostgreSQL: what statements do, and nothing that decides.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use rustc_hash::FxHashMap;

use crate::{
    ledger::{
        Ledger, Options,
        chain::Chained,
        directory::{KnownChannel, KnownItem, KnownLocation},
        epoch::heads_of_next_epoch,
        fault::Fault,
        feed::{Balance, Recorded},
        head::{Head, Locked},
        queries::FoundRequest,
        reservation::Due,
        transaction::LOCK_WAIT_MAX,
    },
    stock::{
        book::{Book, Needs},
        hash::Digest,
        hold::HoldId,
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey, Seq, SourceNo},
        machine::{Log, Plan},
        position::Position,
        reservation::Reservation,
        time::{Micros, Timestamp},
    },
};

/// What a statement comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Fault>>;

/// The statements outside of a batch; each reads what is committed when it begins.
pub trait Database: fmt::Debug + Send + Sync {
    /// Begins a transaction with the locks of these heads, in this order, each waited for at most so
    /// long.
    fn begin(&self, locks: Vec<Partition>, wait: Duration) -> Answer<'_, Box<dyn Transaction>>;
    /// All heads, ascending.
    fn heads(&self) -> Answer<'_, Vec<Locked>>;
    /// Epoch and last sequence number of a partition.
    fn head(&self, partition: Partition) -> Answer<'_, Option<(i64, Seq)>>;
    /// What entries behind one did, and the head.
    fn recorded(&self, partition: Partition, after: Seq, rows_max: i64) -> Answer<'_, Recorded>;
    /// Positions of a partition behind a place, in order.
    fn balances_behind(
        &self,
        partition: Partition,
        behind: (LocationNo, ItemNo),
        rows_max: i64,
    ) -> Answer<'_, Vec<Balance>>;
    /// Positions of a location whose items lie in a range.
    fn balances_between(
        &self,
        place: Place,
        first: ItemNo,
        last: ItemNo,
    ) -> Answer<'_, Vec<Balance>>;
    /// Holds that the ledger keeps, or kept after a moment.
    fn ledger_holds(&self, partition: Partition, after: Timestamp) -> Answer<'_, Vec<HoldId>>;
    /// Requests with these digests in some partitions.
    fn requests(
        &self,
        partitions: &[Partition],
        digests: Vec<Digest>,
    ) -> Answer<'_, Vec<FoundRequest>>;
    /// Positions; zeros where there is none.
    fn positions(&self, keys: Vec<PositionKey>) -> Answer<'_, FxHashMap<PositionKey, Position>>;
    /// Reservations, and holds, by their numbers.
    fn reservations(&self, partition: Partition, numbers: Vec<Seq>)
    -> Answer<'_, Vec<Reservation>>;
    /// A hold that the ledger keeps or kept.
    fn ledger_hold(&self, id: HoldId) -> Answer<'_, Option<Reservation>>;
    /// The clock, and promises that end within `ahead`.
    fn due(
        &self,
        partition: Partition,
        ahead: Micros,
        rows_max: i64,
    ) -> Answer<'_, (Timestamp, Vec<Due>)>;
    /// Items by their code, after those that are new were numbered if `add` says so.
    fn items(&self, skus: Vec<String>, add: bool) -> Answer<'_, Vec<(String, KnownItem)>>;
    /// Items by their number.
    fn numbered_items(&self, numbers: Vec<ItemNo>) -> Answer<'_, Vec<(String, KnownItem)>>;
}

/// A transaction that holds the locks of its heads until it ends or is dropped.
pub trait Transaction: fmt::Debug + Send {
    /// Reads what is needed into the book, and the heads of these partitions.
    fn load<'t>(
        &'t mut self,
        partitions: &'t [Partition],
        needs: &'t Needs,
        book: &'t mut Book,
    ) -> Answer<'t, Vec<Locked>>;
    /// Writes what a plan does to a partition; returns the number of heads that stood at `before`.
    fn write<'t>(
        &'t mut self,
        head: &'t Head,
        before: Seq,
        chained: &'t Chained,
        log: &'t Log<'t>,
        plan: &'t Plan<'t>,
    ) -> Answer<'t, u64>;
    /// Writes the epoch, and the database, of a head.
    fn move_epoch<'t>(&'t mut self, head: &'t Head) -> Answer<'t, ()>;
    /// Looks items up by their code.
    fn items(&mut self, skus: Vec<String>) -> Answer<'_, Vec<(String, KnownItem)>>;
    /// Ends it.
    fn end(self: Box<Self>, commits: bool) -> Answer<'static, ()>;
}

/// Master data, which does not change.
#[derive(Clone, Debug)]
pub struct Network {
    /// Partitions, ascending.
    pub partitions: Vec<Partition>,
    /// All locations.
    pub locations: Vec<KnownLocation>,
    /// All channels.
    pub channels: Vec<KnownChannel>,
    /// All sources.
    pub sources: Vec<(String, SourceNo)>,
}

impl Ledger {
    /// A ledger in a database that is simulated.
    ///
    /// # Errors
    /// None.
    pub fn simulated(database: Arc<dyn Database>, network: &Network) -> Result<Ledger, Fault> {
        let mut ledger = Ledger::new(&Options {
            url: "postgres://nobody@localhost/none".to_owned(),
            writers_max: 1,
            readers_max: 1,
            acquire_timeout: Duration::from_secs(1),
        })?;
        ledger.partitions = Arc::new(network.partitions.clone().into());
        ledger.directory.simulate(Arc::clone(&database), network);
        ledger.simulated = Some(database);
        Ok(ledger)
    }

    /// As [`Ledger::mend_epoch`], whose decisions these are.
    pub(super) async fn mend_simulated_epoch(
        &self,
        database: &dyn Database,
    ) -> Result<Option<i64>, Fault> {
        let partitions = self.partitions().await?;
        let mut transaction = database.begin(partitions.to_vec(), LOCK_WAIT_MAX).await?;
        let mut book = Book::new(Timestamp::MIN, FxHashMap::default());
        let locked = transaction.load(partitions, &Needs::default(), &mut book).await?;
        if !locked.iter().any(Locked::tail_may_be_lost) {
            transaction.end(false).await?;
            return Ok(None);
        }
        let heads = heads_of_next_epoch(&locked);
        for head in &heads {
            transaction.move_epoch(head).await?;
        }
        transaction.end(true).await?;
        Ok(heads.first().map(|head| head.epoch))
    }
}
