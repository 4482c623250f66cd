//! MovementService: takes the facts.

mod permit;
pub(super) mod snapshot;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use prost::Message as _;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    access::Caller,
    api::{
        Api,
        authorise::caller,
        error::{invalid, movement_error, poisoned_error},
        guard::Who,
        layer::{CALL_MAX, Deadline},
        proto::{
            self, ApplySnapshotRequest, ApplySnapshotResponse, Durability, MovementError,
            MovementResult, MovementStatus, RecordMovementsRequest, RecordMovementsResponse,
            SyncMovementsRequest, SyncMovementsResponse, movement_service_server::MovementService,
        },
        token::Token,
        wire,
    },
    ledger::rejected::Rejection,
    stock::{
        entry::Flags,
        hash::{Digest, StableHash},
        ids::{is_identifier, is_key},
    },
    writer::{Answer, DEADLINE_DEFAULT, Pending, Recorded, Report, Verdict},
};

/// Movements of one request.
const MOVEMENTS_MAX: usize = 1_000;
/// Requests of one stream in progress; beyond that HTTP/2 flow control holds the sender back.
const WINDOW: usize = 16;
/// What is on a stream waits its turn longer than a caller waits for one answer.
const STREAM_DEADLINE: Duration = Duration::from_secs(30);

#[tonic::async_trait]
impl MovementService for Api {
    async fn record_movements(
        &self,
        request: Request<RecordMovementsRequest>,
    ) -> Result<Response<RecordMovementsResponse>, Status> {
        let (caller, deadline) = (caller(&request), deadline(&request));
        let who = Who::of(request.extensions());
        let RecordMovementsRequest { source, sent_at, movements } = request.into_inner();
        let report = self.report(&caller, source.clone(), movements, deadline).await?;
        let report = Report { sent_at: sent_at.map(wire::time_in), ..report };
        let pending = self.writer.submit(report).await?;
        let settled = self.settle((&caller, &who), &source, pending).await?;
        let Settled { results, token, durability } = settled;
        Ok(Response::new(RecordMovementsResponse { results, token, durability }))
    }

    type SyncMovementsStream =
        Pin<Box<dyn Stream<Item = Result<SyncMovementsResponse, Status>> + Send>>;

    async fn sync_movements(
        &self,
        request: Request<Streaming<SyncMovementsRequest>>,
    ) -> Result<Response<Self::SyncMovementsStream>, Status> {
        // One more is being settled, and one waits to be queued.
        let (pending, settling) = mpsc::channel(WINDOW - 2);
        let (answers, stream) = mpsc::channel(1);
        let (caller, who) = (caller(&request), Who::of(request.extensions()));
        let (api, stream_in) = (self.clone(), request.into_inner());
        tokio::spawn(take(api, Arc::clone(&caller), stream_in, pending));
        tokio::spawn(answer(self.clone(), (caller, who), settling, answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn apply_snapshot(
        &self,
        request: Request<Streaming<ApplySnapshotRequest>>,
    ) -> Result<Response<ApplySnapshotResponse>, Status> {
        let (caller, deadline) = (caller(&request), patient_deadline(&request));
        let who = Who::of(request.extensions());
        self.take_snapshot((&caller, &who), request.into_inner(), deadline).await.map(Response::new)
    }
}

/// A message of a stream that has its place in the lanes.
struct Taken {
    source: String,
    last_key: Option<String>,
    pending: Pending,
}

/// What a report came to, on the wire.
pub(crate) struct Settled {
    pub results: Vec<MovementResult>,
    pub token: String,
    pub durability: i32,
}

/// Takes messages off a stream and gives them their places in the lanes, one after the other: what
/// was sent later is decided later, partition by partition.
async fn take(
    api: Api,
    caller: Arc<Caller>,
    mut stream: Streaming<SyncMovementsRequest>,
    pending: mpsc::Sender<Result<Taken, Status>>,
) {
    let mut sender = None;
    let mut stopped = api.stopped.clone();
    loop {
        let next = tokio::select! {
            biased;
            () = pending.closed() => return,
            _ = stopped.wait_for(|stopped| *stopped) => return,
            next = stream.message() => next,
        };
        let message = match next {
            Ok(Some(message)) => Ok(message),
            Ok(None) => return,
            Err(status) => Err(status),
        };
        let taken = match message {
            Ok(message) => place(&api, &caller, message, &mut sender).await,
            Err(status) => Err(crate::api::layer::explained(&status)),
        };
        let failed = taken.is_err();
        if pending.send(taken).await.is_err() || failed {
            return;
        }
    }
}

async fn place(
    api: &Api,
    caller: &Caller,
    message: SyncMovementsRequest,
    sender: &mut Option<String>,
) -> Result<Taken, Status> {
    let SyncMovementsRequest { source, sent_at, movements } = message;
    if sender.get_or_insert_with(|| source.clone()) != &source {
        return Err(invalid("SOURCE_CHANGED", "source", "must stay the same on a stream"));
    }
    let keys = movements.iter().rev().map(|movement| &movement.key);
    let last_key = keys.into_iter().find(|key| is_key(key)).cloned();
    let deadline = Instant::now() + STREAM_DEADLINE;
    let report = api.report(caller, source.clone(), movements, deadline).await?;
    let report = Report { sent_at: sent_at.map(wire::time_in), ..report };
    Ok(Taken { source, last_key, pending: api.writer.submit(report).await? })
}

/// Answers in the order in which the messages were taken.
async fn answer(
    api: Api,
    (caller, who): (Arc<Caller>, Who),
    mut settling: mpsc::Receiver<Result<Taken, Status>>,
    answers: mpsc::Sender<Result<SyncMovementsResponse, Status>>,
) {
    loop {
        // Where nobody hears the answers any more nothing more is taken either: what has its place in a
        // lane is recorded, and answered when it is sent again.
        let taken = tokio::select! {
            biased;
            () = answers.closed() => return,
            taken = settling.recv() => taken,
        };
        let Some(taken) = taken else { return };
        let answer = match taken {
            Ok(taken) => settle_message(&api, (&caller, &who), taken).await,
            Err(status) => Err(status),
        };
        let failed = answer.is_err();
        if answers.send(answer).await.is_err() || failed {
            return;
        }
    }
}

async fn settle_message(
    api: &Api,
    (caller, who): (&Caller, &Who),
    taken: Taken,
) -> Result<SyncMovementsResponse, Status> {
    let Taken { source, last_key, pending } = taken;
    let Settled { results, token, durability } =
        api.settle((caller, who), &source, pending).await?;
    let resume_points = api.writer.resume_points();
    let stream = caller.stream_of(&source);
    if *stream != source {
        api.ledger.directory().source(&stream).await?;
    }
    let resume_key = match last_key {
        Some(key) => {
            resume_points.advance(&stream, &key);
            key
        }
        None => resume_points.get(&stream).await?,
    };
    Ok(SyncMovementsResponse { results, resume_key, token, durability })
}

/// When a unary call is given up.
pub(crate) fn deadline<T>(request: &Request<T>) -> Instant {
    let stated = request.extensions().get::<Deadline>();
    stated.map_or_else(|| Instant::now() + DEADLINE_DEFAULT, |deadline| deadline.0)
}

/// The same for a call that brings more than one report.
fn patient_deadline<T>(request: &Request<T>) -> Instant {
    let stated = request.extensions().get::<Deadline>();
    stated.map_or_else(|| Instant::now() + CALL_MAX, |deadline| deadline.0)
}

impl Api {
    /// Waits for the answers, keeps what was rejected, and only then tells.
    pub(crate) async fn settle(
        &self,
        (caller, who): (&Caller, &Who),
        source: &str,
        pending: Pending,
    ) -> Result<Settled, Status> {
        let Recorded { answers, heads, replicated } = pending.settled().await?;
        let durability = match (heads.is_empty(), replicated) {
            (true, _) => Durability::Unspecified,
            (false, true) => Durability::Replicated,
            (false, false) => Durability::Ledger,
        };
        let mut results = Vec::with_capacity(answers.len());
        let mut rejections = Vec::new();
        let holds = holds_sold(&answers);
        (0..holds).for_each(|_| self.guard.hold_became(who));
        for Answer { draft, verdict } in answers {
            let (status, entry, error) = match verdict {
                Verdict::Recorded(posted) => (MovementStatus::Recorded, Some(posted), None),
                Verdict::Duplicate(posted) => (MovementStatus::Duplicate, Some(posted), None),
                Verdict::Refused(refusal) => {
                    (MovementStatus::Rejected, None, Some(movement_error(&refusal)))
                }
                Verdict::Poisoned => (MovementStatus::Rejected, None, Some(poisoned_error())),
            };
            let key = if let Some(error) = &error {
                let key = draft.key.clone();
                rejections.push(rejection(caller, source, draft.into(), error));
                key
            } else {
                draft.key
            };
            results.push(MovementResult {
                key,
                status: status as i32,
                error,
                entry: entry.as_ref().map(wire::posted),
            });
        }
        if !rejections.is_empty() {
            self.ledger.reject(&rejections).await?;
        }
        let token = Token::of(&heads).map_or_else(String::new, |token| token.encode());
        Ok(Settled { results, token, durability: durability as i32 })
    }
}

/// How many holds were consumed by what was recorded.
fn holds_sold(answers: &[Answer]) -> usize {
    let sold = answers.iter().filter(|answer| match &answer.verdict {
        Verdict::Recorded(posted) => !posted.flags.has(Flags::PROMISE_UNKNOWN),
        _ => false,
    });
    let mut holds: Vec<_> = sold.map(|answer| &*answer.draft.hold_id).collect();
    holds.retain(|hold| !hold.is_empty());
    holds.sort_unstable();
    holds.dedup();
    holds.len()
}

fn rejection(
    caller: &Caller,
    source: &str,
    movement: proto::Movement,
    error: &MovementError,
) -> Rejection {
    let payload = movement.encode_to_vec();
    // What somebody had no right to send takes the place of nothing that others sent, and is on the list
    // of no location but that of its sender.
    let here = caller.locations.includes(&movement.location_id);
    let digest = if !here || error.code == Code::PermissionDenied as i32 {
        let mut hash = StableHash::new("barred");
        for text in [&caller.id, source, &movement.location_id, &movement.key] {
            hash.text(text);
        }
        Digest(hash.finish_u128())
    } else if is_key(&movement.key) {
        Digest::of(source, &movement.key)
    } else {
        let mut hash = StableHash::new("payload");
        hash.text(source);
        hash.bytes(&payload);
        Digest(hash.finish_u128())
    };
    let metadata = error.metadata.iter();
    Rejection {
        digest,
        source: source.to_owned(),
        location_id: Some(movement.location_id).filter(|id| here && is_identifier(id)),
        code: error.code,
        reason: error.reason.clone(),
        message: error.message.clone(),
        metadata: metadata.map(|(name, value)| (name.clone(), value.clone())).collect(),
        payload,
    }
}
