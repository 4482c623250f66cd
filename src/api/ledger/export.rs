//! ExportPositions: the whole stock, later what changed since.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    access::Caller,
    ambient,
    api::{
        Api,
        availability::availability,
        cursor::Cursor,
        error::{invalid, status},
        proto::{ExportPositionsRequest, ExportPositionsResponse, ExportedPosition},
        wire,
    },
    feed::{
        follow::Stand,
        watch::{CatchUp, Progress, Scope},
    },
    ledger::{directory::Known, feed::Balance},
    reads::Stock,
    stock::{
        channel_policy::Policy,
        ids::{Partition, PositionKey},
        position::Position,
    },
};

/// Positions of one message.
const POSITIONS_MAX: usize = 1_000;
/// Locations of one export.
const LOCATIONS_MAX: usize = 10_000;
/// A reader that takes no message for so long is cut off.
const SLOW_MAX: Duration = Duration::from_secs(60);

/// The stream of an export.
pub(super) type Export =
    Pin<Box<dyn Stream<Item = Result<ExportPositionsResponse, Status>> + Send>>;

/// An export under way.
struct Exporter {
    api: Api,
    /// None: no channel, and so the balances themselves.
    policy: Option<Arc<Policy>>,
    catch_up: CatchUp,
    /// Read, and not told yet.
    rows: Vec<Balance>,
    /// Where the cursor stands until everything is told, and then.
    from: BTreeMap<Partition, Stand>,
    to: BTreeMap<Partition, Stand>,
    revision: i64,
    /// What the last cursor says.
    told: Progress,
    reset: bool,
}

impl Api {
    pub(super) async fn export(
        &self,
        caller: &Caller,
        sent: ExportPositionsRequest,
    ) -> Result<Export, Status> {
        let exporter = Exporter::new(self, caller, sent).await?;
        let (answers, stream) = mpsc::channel(1);
        let mut stopped = self.stopped.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = exporter.run(answers) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
        Ok(Box::pin(ReceiverStream::new(stream)))
    }
}

impl Exporter {
    async fn new(
        api: &Api,
        caller: &Caller,
        sent: ExportPositionsRequest,
    ) -> Result<Exporter, Status> {
        let ExportPositionsRequest { channel_id, mut location_ids, cursor } = sent;
        if location_ids.len() > LOCATIONS_MAX {
            return Err(invalid("LOCATION_ID_INVALID", "location_ids", "must be at most 10,000"));
        }
        let cursor = Cursor::sent(&cursor)?;
        api.ledger.directory().refresh().await?;
        let revision = *api.ledger.directory().revision().borrow();
        let policy = match &*channel_id {
            "" => None,
            channel_id => Some(api.policy(caller, channel_id).await?),
        };
        location_ids.sort_unstable();
        location_ids.dedup();
        let scope = scope(api, caller, &location_ids).await?;
        // Heads are noted first: what is recorded meanwhile may be told now and again next time.
        let heads = api.ledger.heads().await?.heads;
        let stand = |epoch, seq| Stand { epoch, seq };
        let to = heads.iter().map(|head| (head.partition, stand(head.epoch, head.seq)));
        let to: BTreeMap<_, _> = to.filter(|(partition, _)| scope.is_in(*partition)).collect();
        let dead = |cursor: &Cursor| to.values().any(|stand| stand.epoch != cursor.epoch);
        let reset = cursor.as_ref().is_some_and(dead);
        let known = api.ledger.directory().known();
        let changed =
            |cursor: &Cursor| policy_changed(&known, &channel_id, &scope, cursor.revision);
        let cursor = cursor.filter(|_| !reset).filter(|cursor| !changed(cursor));
        let (told, base) = cursor
            .map_or((Progress::Nothing, BTreeMap::new()), |cursor| (cursor.told, cursor.stands()));
        let from = if told == Progress::Nothing { to.clone() } else { base.clone() };
        let catch_up = CatchUp::new(&scope, &to, told, base, Vec::new());
        let (api, rows) = (api.clone(), Vec::new());
        Ok(Exporter { api, policy, catch_up, rows, from, to, revision, told, reset })
    }

    async fn run(mut self, answers: mpsc::Sender<Result<ExportPositionsResponse, Status>>) {
        loop {
            let answer = self.next().await;
            let last = answer.as_ref().map_or(true, |answer| answer.complete);
            match tokio::time::timeout(SLOW_MAX, answers.reserve()).await {
                Ok(Ok(room)) => room.send(answer),
                // A reader that went away needs no reason.
                Ok(Err(_)) => return,
                Err(_) => {
                    let message = "the reader does not keep up; go on at the cursor it has";
                    let slow = status(Code::ResourceExhausted, "READER_TOO_SLOW", message, &[]);
                    let _ = answers.send(Err(slow)).await;
                    return;
                }
            }
            if last {
                return;
            }
        }
    }

    async fn next(&mut self) -> Result<ExportPositionsResponse, Status> {
        let mut complete = false;
        while self.rows.is_empty() && !complete {
            let page = self.catch_up.next_page(&self.api.ledger).await?;
            complete = page.is_none();
            self.rows = page.unwrap_or_default();
        }
        let rest = self.rows.len().saturating_sub(POSITIONS_MAX);
        let rows = self.rows.split_off(rest);
        let positions = self.tell(rows).await?;
        let (stands, told) = match complete {
            true => (&self.to, Progress::All),
            // Of a page that is told in parts only the end may be gone on from.
            false if self.rows.is_empty() => (&self.from, self.catch_up.told()),
            false => (&self.from, self.told),
        };
        self.told = told;
        let cursor = Cursor::at(stands, self.revision, told, std::iter::empty()).encode();
        let reset = std::mem::take(&mut self.reset);
        Ok(ExportPositionsResponse { positions, cursor, complete, reset })
    }

    async fn tell(&self, rows: Vec<Balance>) -> Result<Vec<ExportedPosition>, Status> {
        let directory = self.api.ledger.directory();
        directory.know_numbered(rows.iter().map(|row| row.key)).await?;
        if let Some(policy) = &self.policy {
            let mut rows: Vec<_> = rows.iter().map(stock_of).collect();
            self.api.reads.fence(policy.channel, &mut rows).await?;
            let known = directory.known();
            return Ok(rows.iter().filter_map(|row| promisable(&known, policy, row)).collect());
        }
        let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        let positions = self.api.ledger.positions(&keys).await?;
        let known = directory.known();
        let told = keys.iter().filter_map(|key| balances(&known, *key, positions.get(key)?));
        Ok(told.collect())
    }
}

/// The locations that are named, or all that exist for the caller.
async fn scope(api: &Api, caller: &Caller, location_ids: &[String]) -> Result<Scope, Status> {
    if location_ids.is_empty() {
        return Ok(api.places_of(caller).await?.map_or(Scope::All, Scope::Places));
    }
    let mut places = Vec::with_capacity(location_ids.len());
    for location_id in location_ids {
        places.push(api.place(caller, location_id).await?);
    }
    places.sort_unstable();
    Ok(Scope::Places(places))
}

/// Whether another number may be promised through the channel without anything that happened: by its
/// policy, by quotas, or by the status of a location.
fn policy_changed(known: &Known, channel_id: &str, scope: &Scope, revision: i64) -> bool {
    let Some(channel) = known.known_channel(channel_id) else { return false };
    let moved = known.locations().filter(|location| location.revision > revision);
    channel.revision > revision
        || known.quotas_since(revision).any(|key| scope.covers(key))
        || moved.map(|location| location.place).any(|place| scope.is_at(place))
}

fn stock_of(row: &Balance) -> (PositionKey, Stock) {
    let &Balance { key, seq, sellable, reserved } = row;
    (key, Stock { sellable, reserved, seq, ..Stock::default() })
}

/// What the channel may promise: nothing where it may not promise from.
fn promisable(
    known: &Known,
    policy: &Policy,
    (key, stock): &(PositionKey, Stock),
) -> Option<ExportedPosition> {
    let (sku, location_id) = names(known, *key)?;
    let shown = match known.is_shut(*key, ambient::now()) {
        true => policy.shown(0),
        false => stock.shown(*key, 0, policy),
    };
    let availability = availability(sku, location_id, shown, stock.seq);
    Some(ExportedPosition { availability: Some(availability), position: None })
}

fn balances(known: &Known, key: PositionKey, position: &Position) -> Option<ExportedPosition> {
    let (sku, location_id) = names(known, key)?;
    let position = wire::position(&location_id, &sku, Some(position));
    Some(ExportedPosition { availability: None, position: Some(position) })
}

fn names(known: &Known, key: PositionKey) -> Option<(String, String)> {
    let sku = known.sku_of(key.item)?.to_string();
    Some((sku, known.location_of(key.place.location)?.location_id.to_string()))
}
