//! LedgerService: reads the ledger, and looks after what could not be recorded.

mod export;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::{
    access::Caller,
    api::{
        Api,
        authorise::caller,
        error::{invalid, status, unknown},
        guard::Who,
        movements::deadline,
        page,
        proto::{
            self, BatchGetPositionsRequest, BatchGetPositionsResponse,
            DismissRejectedMovementRequest, DismissRejectedMovementResponse,
            ExportPositionsRequest, GetPositionRequest, GetPositionResponse, ListEntriesRequest,
            ListEntriesResponse, ListRejectedMovementsRequest, ListRejectedMovementsResponse,
            Movement, PositionRef, ResubmitMovementRequest, ResubmitMovementResponse,
            ledger_service_server::LedgerService,
        },
        reach::check_every_channel,
        token::Token,
        wire,
    },
    ledger::{
        queries::EntryFilter,
        rejected::{Rejected, RejectedFilter, State},
    },
    stock::{
        draft::NOTE_CHARS_MAX,
        ids::{ItemNo, Partition, PositionKey, Seq, is_identifier, is_key, is_sku, is_text},
        position::Position,
        time::Timestamp,
    },
};

/// Positions of one request.
const POSITIONS_MAX: usize = 1_000;
const ENTRIES: &str = "entries";
const REJECTED: &str = "rejected";

#[tonic::async_trait]
impl LedgerService for Api {
    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let (caller, request) = (caller(&request), request.into_inner());
        let rows_max = page::rows_max(request.page_size)?;
        let after = page::decode(ENTRIES, &request.page_token)?;
        let after = after.map_or(Ok((Partition(0), 0)), |last| entry_at(&last))?;
        let Some(filter) = self.entry_filter(&caller, request).await? else {
            return Ok(Response::new(ListEntriesResponse::default()));
        };
        let entries = self.ledger.list_entries(&filter, after, rows_max).await?;
        let next_page_token = page::next(ENTRIES, &entries, rows_max, |entry| {
            format!("{}/{}", entry.partition.0, entry.seq)
        });
        let names = self.ledger.names(&entries).await?;
        let entries = entries.into_iter().map(|entry| wire::entry(entry, &names)).collect();
        Ok(Response::new(ListEntriesResponse { entries, next_page_token }))
    }

    async fn get_position(
        &self,
        request: Request<GetPositionRequest>,
    ) -> Result<Response<GetPositionResponse>, Status> {
        let caller = caller(&request);
        let GetPositionRequest { location_id, sku, as_of, token } = request.into_inner();
        let pair = PositionRef { location_id, sku };
        let (mut positions, degraded) =
            self.read_positions(&caller, vec![pair], as_of, &token).await?;
        Ok(Response::new(GetPositionResponse { position: positions.pop(), degraded }))
    }

    async fn batch_get_positions(
        &self,
        request: Request<BatchGetPositionsRequest>,
    ) -> Result<Response<BatchGetPositionsResponse>, Status> {
        let caller = caller(&request);
        let BatchGetPositionsRequest { positions, as_of, token } = request.into_inner();
        if !(1..=POSITIONS_MAX).contains(&positions.len()) {
            return Err(invalid("POSITIONS_INVALID", "positions", "must be 1 to 1,000"));
        }
        let (positions, degraded) = self.read_positions(&caller, positions, as_of, &token).await?;
        Ok(Response::new(BatchGetPositionsResponse { positions, degraded }))
    }

    type ExportPositionsStream = export::Export;

    async fn export_positions(
        &self,
        request: Request<ExportPositionsRequest>,
    ) -> Result<Response<export::Export>, Status> {
        let caller = caller(&request);
        Ok(Response::new(self.export(&caller, request.into_inner()).await?))
    }

    async fn list_rejected_movements(
        &self,
        request: Request<ListRejectedMovementsRequest>,
    ) -> Result<Response<ListRejectedMovementsResponse>, Status> {
        let (caller, request) = (caller(&request), request.into_inner());
        check_every_channel(&caller)?;
        let rows_max = page::rows_max(request.page_size)?;
        let after = page::decode(REJECTED, &request.page_token)?;
        let after = after.map(|last| Uuid::parse_str(&last).map_err(|_| page::malformed()));
        let filter = RejectedFilter {
            location_ids: caller.locations.ids(),
            source: optional(request.source, "source", is_identifier)?,
            location_id: optional(request.location_id, "location_id", is_identifier)?,
            reason: optional(request.reason, "reason", is_key)?,
            state: rejected_state(request.state)?,
        };
        let after = after.transpose()?.unwrap_or(Uuid::nil());
        let rows = self.ledger.list_rejected(&filter, after, rows_max).await?;
        let next_page_token = page::next(REJECTED, &rows, rows_max, |row| row.id.to_string());
        let rejected_movements = rows.into_iter().map(wire::rejected).collect();
        Ok(Response::new(ListRejectedMovementsResponse { rejected_movements, next_page_token }))
    }

    async fn resubmit_movement(
        &self,
        request: Request<ResubmitMovementRequest>,
    ) -> Result<Response<ResubmitMovementResponse>, Status> {
        let (caller, deadline) = (caller(&request), deadline(&request));
        let who = Who::of(request.extensions());
        let ResubmitMovementRequest { rejected_movement_id, movement, actor } =
            request.into_inner();
        let actor = optional(actor, "actor", is_identifier)?.unwrap_or_default();
        let actor = caller.acting(actor);
        let row = self.open_rejected(&caller, &rejected_movement_id).await?;
        let kept: Option<Movement> = prost::Message::decode(&*row.rejection.payload).ok();
        let movement = movement.or(kept).unwrap_or_default();
        let source = row.rejection.source;
        let mut report = self.report(&caller, source.clone(), vec![movement], deadline).await?;
        report.actor.clone_from(&actor);
        let pending = self.writer.submit(report).await?;
        let settled = self.settle((&caller, &who), &source, pending).await?;
        let result = settled.results.into_iter().next();
        if result.as_ref().is_some_and(|result| result.error.is_none()) {
            self.ledger.decide_rejected(row.id, State::Resolved, &actor, "").await?;
        }
        Ok(Response::new(ResubmitMovementResponse { result, token: settled.token }))
    }

    async fn dismiss_rejected_movement(
        &self,
        request: Request<DismissRejectedMovementRequest>,
    ) -> Result<Response<DismissRejectedMovementResponse>, Status> {
        let caller = caller(&request);
        let DismissRejectedMovementRequest { rejected_movement_id, actor, note } =
            request.into_inner();
        let actor = optional(actor, "actor", is_identifier)?.unwrap_or_default();
        let actor = caller.acting(actor);
        if !is_text(&note, NOTE_CHARS_MAX) {
            let rule = "must be at most 500 characters without control characters";
            return Err(invalid("FIELD_INVALID", "note", rule));
        }
        let row = self.open_rejected(&caller, &rejected_movement_id).await?;
        self.ledger.decide_rejected(row.id, State::Dismissed, &actor, &note).await?;
        let row = self.ledger.rejected(row.id).await?.map(wire::rejected);
        Ok(Response::new(DismissRejectedMovementResponse { rejected_movement: row }))
    }
}

impl Api {
    /// `None`: it names something that no entry can be about.
    async fn entry_filter(
        &self,
        caller: &Caller,
        request: ListEntriesRequest,
    ) -> Result<Option<EntryFilter>, Status> {
        let location_id = optional(request.location_id, "location_id", is_identifier)?;
        let sku = optional(request.sku, "sku", is_sku)?;
        let document = optional(request.document, "document", is_key)?;
        let place = match location_id {
            Some(location_id) => Some(self.place(caller, &location_id).await?),
            None => None,
        };
        let item = match sku {
            Some(sku) => match self.item_no(&sku).await? {
                Some(item) => Some(item),
                None => return Ok(None),
            },
            None => None,
        };
        let time = |time: Option<prost_types::Timestamp>, field| match time.map(wire::time_in) {
            Some(time) if !time.is_storable() => {
                Err(invalid("TIME_INVALID", field, "must lie from 2000 to 9999"))
            }
            time => Ok(time),
        };
        let places = self.places_of(caller).await?;
        Ok(Some(EntryFilter {
            place,
            places,
            channels: self.channels_of(caller).await?,
            item,
            document,
            effective_from: time(request.effective_from, "effective_from")?,
            effective_until: time(request.effective_until, "effective_until")?,
        }))
    }

    /// Positions now, at a time or at a token, in the order asked for; and whether the token's history
    /// ended, so that the present is answered instead.
    async fn read_positions(
        &self,
        caller: &Caller,
        refs: Vec<PositionRef>,
        as_of: Option<prost_types::Timestamp>,
        token: &str,
    ) -> Result<(Vec<proto::Position>, bool), Status> {
        if as_of.is_some() && !token.is_empty() {
            return Err(invalid("AS_OF_AMBIGUOUS", "token", "excludes as_of"));
        }
        let as_of = as_of.map(wire::time_in);
        if as_of == Some(Timestamp::MIN) {
            return Err(invalid("TIME_INVALID", "as_of", "is not a time"));
        }
        let mut pairs = Vec::with_capacity(refs.len());
        for PositionRef { location_id, sku } in refs {
            if !is_sku(&sku) {
                return Err(invalid("SKU_INVALID", "sku", "is malformed"));
            }
            let place = self.place(caller, &location_id).await?;
            let item = self.item_no(&sku).await?;
            pairs.push((location_id, sku, item.map(|item| PositionKey { place, item })));
        }
        let keys: Vec<_> = pairs.iter().filter_map(|(_, _, key)| *key).collect();
        let partitions: BTreeSet<_> = keys.iter().map(|key| key.place.partition).collect();
        let mut since = FxHashMap::default();
        let (read, degraded) = match (as_of, token.is_empty()) {
            (Some(as_of), _) => {
                let mut seqs = BTreeMap::new();
                for partition in partitions {
                    let seq = self.ledger.seq_at(partition, as_of).await?;
                    seqs.insert(partition, seq);
                }
                (self.positions_at(&keys, &seqs).await?, false)
            }
            (None, true) => {
                let read = self.ledger.positions(&keys).await?;
                since = self.ledger.in_transit_since(&read).await?;
                (read, false)
            }
            (None, false) => self.positions_at_token(&keys, &partitions, token).await?,
        };
        let held = match as_of.is_none() && token.is_empty() {
            true => self.reads.held(&keys).await,
            // Nobody remembers what was held.
            false => FxHashMap::default(),
        };
        let positions = pairs.iter().map(|(location_id, sku, key)| {
            let held = key.and_then(|key| held.get(&key).copied()).unwrap_or(0);
            let position = key.and_then(|key| read.get(&key));
            let since = key.and_then(|key| since.get(&key)).map(|at| wire::time_out(*at));
            proto::Position {
                in_transit_since: since,
                held,
                ..wire::position(location_id, sku, position)
            }
        });
        Ok((positions.collect(), degraded))
    }

    async fn positions_at_token(
        &self,
        keys: &[PositionKey],
        partitions: &BTreeSet<Partition>,
        token: &str,
    ) -> Result<(FxHashMap<PositionKey, Position>, bool), Status> {
        let malformed = || invalid("TOKEN_INVALID", "token", "is not one that a write returned");
        let token = Token::decode(token).ok_or_else(malformed)?;
        for partition in partitions {
            let Some((epoch, seq)) = self.ledger.head(*partition).await? else { continue };
            if epoch != token.epoch {
                return Ok((self.ledger.positions(keys).await?, true));
            }
            if token.seqs.get(partition).is_some_and(|stated| *stated > seq) {
                return Err(malformed());
            }
        }
        Ok((self.positions_at(keys, &token.seqs).await?, false))
    }

    /// Positions at these sequence numbers; now, where a partition has none.
    async fn positions_at(
        &self,
        keys: &[PositionKey],
        seqs: &BTreeMap<Partition, Seq>,
    ) -> Result<FxHashMap<PositionKey, Position>, Status> {
        let (past, present): (Vec<PositionKey>, Vec<_>) =
            keys.iter().partition(|key| seqs.contains_key(&key.place.partition));
        let mut read = FxHashMap::default();
        if !present.is_empty() {
            read.extend(self.ledger.positions(&present).await?);
        }
        for (&partition, &seq) in seqs {
            read.extend(self.ledger.positions_at(&past, partition, seq).await?);
        }
        Ok(read)
    }

    pub(crate) async fn item_no(&self, sku: &str) -> Result<Option<ItemNo>, Status> {
        let directory = self.ledger.directory();
        if directory.known().item(sku).is_none() {
            directory.find_items(&[sku]).await?;
        }
        Ok(directory.known().item(sku).map(|item| item.item))
    }

    async fn open_rejected(&self, caller: &Caller, id: &str) -> Result<Rejected, Status> {
        check_every_channel(caller)?;
        let field = "rejected_movement_id";
        let malformed = || invalid("REJECTED_MOVEMENT_ID_INVALID", field, "is not a UUID");
        let uuid = Uuid::parse_str(id).map_err(|_| malformed())?;
        let row = self.ledger.rejected(uuid).await?;
        let row = row.filter(|row| exists(caller, row));
        let row = row.ok_or_else(|| unknown("rejected_movement", field, id))?;
        if row.state != State::Open {
            let message = "the rejected movement was decided on already";
            let metadata = [(field, id)];
            return Err(status(Code::FailedPrecondition, "ALREADY_DECIDED", message, &metadata));
        }
        Ok(row)
    }
}

/// Whether a row of the list exists for the caller: where no location is known of it, only for those for
/// whom all do.
fn exists(caller: &Caller, row: &Rejected) -> bool {
    let here = |id: &String| caller.locations.includes(id);
    row.rejection.location_id.as_ref().map_or(caller.locations.is_all(), here)
}

fn optional(
    text: String,
    field: &'static str,
    rule: fn(&str) -> bool,
) -> Result<Option<String>, Status> {
    match text.is_empty() || rule(&text) {
        true => Ok((!text.is_empty()).then_some(text)),
        false => Err(invalid("FIELD_INVALID", field, "is malformed")),
    }
}

fn rejected_state(state: i32) -> Result<State, Status> {
    match state {
        0 | 1 => Ok(State::Open),
        2 => Ok(State::Resolved),
        3 => Ok(State::Dismissed),
        _ => Err(invalid("FIELD_INVALID", "state", "is unknown")),
    }
}

fn entry_at(last: &str) -> Result<(Partition, Seq), Status> {
    let parts = last.split_once('/');
    let parse = |(partition, seq): (&str, &str)| {
        Some((Partition(partition.parse().ok()?), seq.parse().ok()?))
    };
    parts.and_then(parse).ok_or_else(page::malformed)
}
