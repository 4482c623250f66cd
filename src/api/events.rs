//! EventService: looks after those who are told of events.

mod webhook;

use tonic::{Code, Request, Response, Status};

use crate::{
    access::Caller,
    api::{
        Api,
        authorise::caller,
        error::{invalid, status, unknown},
        network::identifier,
        page,
        proto::{
            self, DeleteWebhookRequest, DeleteWebhookResponse, DismissDeadLettersRequest,
            DismissDeadLettersResponse, GetWebhookRequest, GetWebhookResponse,
            ListDeadLettersRequest, ListDeadLettersResponse, ListWebhooksRequest,
            ListWebhooksResponse, PutWebhookRequest, PutWebhookResponse, ReplayDeadLettersRequest,
            ReplayDeadLettersResponse, event_service_server::EventService,
        },
        reach::{check_every_channel, check_every_location, check_location},
        wire,
    },
    feed::deliver::signature::text_of,
    ledger::{
        outbox::{DeadLetter, Progress, STREAM},
        webhook::{Put, PutWebhook, WEBHOOKS_MAX},
    },
    stock::ids::{Partition, Seq},
};

/// Dead letters that one request names.
const EVENT_IDS_MAX: usize = 1_000;
/// Bytes of an event's id.
const EVENT_ID_BYTES_MAX: usize = 128;
/// What stands for the message stream where a webhook is named.
const STREAM_ID: &str = "nats";
const WEBHOOKS: &str = "webhooks";

#[tonic::async_trait]
impl EventService for Api {
    async fn put_webhook(
        &self,
        request: Request<PutWebhookRequest>,
    ) -> Result<Response<PutWebhookResponse>, Status> {
        let caller = caller(&request);
        let mut put = webhook::put_in(request.into_inner(), self.webhook_allow_private)?;
        check_put(&caller, &put.put)?;
        put.put.actor = Some(caller.acting(put.put.actor.unwrap_or_default()));
        put.put.actor = put.put.actor.filter(|actor| !actor.is_empty());
        if let Some(channel_id) = &put.put.channel_id {
            self.ledger.directory().find_channels(&[channel_id]).await?;
            if self.ledger.directory().known().channel(channel_id).is_none() {
                return Err(unknown("channel", "channel_id", channel_id));
            }
        }
        let (stored, new) = match self.ledger.put_webhook(&put.put).await? {
            Put::Created(stored) => (stored, true),
            Put::Replaced(stored) => (stored, false),
            Put::TooMany => return Err(too_many()),
        };
        let generated = if new { put.secret_is_ours_if_new } else { put.secret_is_ours };
        let secret = if generated { text_of(&stored.secret) } else { String::new() };
        Ok(Response::new(PutWebhookResponse { webhook: Some(stored.into()), secret }))
    }

    async fn get_webhook(
        &self,
        request: Request<GetWebhookRequest>,
    ) -> Result<Response<GetWebhookResponse>, Status> {
        let caller = caller(&request);
        let webhook_id = identifier(request.into_inner().webhook_id, "webhook_id")?;
        check_webhook(&caller, &webhook_id)?;
        let (webhook, sink) = match &*webhook_id {
            STREAM_ID => (None, STREAM),
            id => {
                let found = self.ledger.webhook(id).await?;
                let found = found.ok_or_else(|| unknown("webhook", "webhook_id", id))?;
                let sink = found.no;
                (Some(found.into()), sink)
            }
        };
        let progress = self.ledger.event_progress(sink).await?;
        let progress = progress.ok_or_else(|| unknown("webhook", "webhook_id", &webhook_id))?;
        Ok(Response::new(GetWebhookResponse { webhook, progress: Some(progress.into()) }))
    }

    async fn list_webhooks(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksResponse>, Status> {
        let caller = caller(&request);
        check_every_channel(&caller)?;
        let ListWebhooksRequest { page_size, page_token } = request.into_inner();
        let rows_max = page::rows_max(page_size)?;
        let after = page::decode(WEBHOOKS, &page_token)?.unwrap_or_default();
        let rows = self.ledger.webhooks(own_prefix(&caller).as_deref(), &after, rows_max).await?;
        let next_page_token = page::next(WEBHOOKS, &rows, rows_max, |row| row.webhook_id.clone());
        let webhooks = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListWebhooksResponse { webhooks, next_page_token }))
    }

    async fn delete_webhook(
        &self,
        request: Request<DeleteWebhookRequest>,
    ) -> Result<Response<DeleteWebhookResponse>, Status> {
        let caller = caller(&request);
        let webhook_id = identifier(request.into_inner().webhook_id, "webhook_id")?;
        check_webhook(&caller, &webhook_id)?;
        match self.acting_for(&caller).delete_webhook(&webhook_id).await? {
            true => Ok(Response::new(DeleteWebhookResponse {})),
            false => Err(unknown("webhook", "webhook_id", &webhook_id)),
        }
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let caller = caller(&request);
        let ListDeadLettersRequest { webhook_id, page_size, page_token } = request.into_inner();
        let rows_max = page::rows_max(page_size)?;
        let sink = self.sink(&caller, webhook_id).await?;
        let list = format!("dead letters {sink}");
        let after = page::decode(&list, &page_token)?;
        let after = after.map_or(Ok((Partition(0), 0, 0)), |last| letter_at(&last))?;
        let rows = self.ledger.dead_letters(sink, after, rows_max).await?;
        let next_page_token = page::next(&list, &rows, rows_max, |row| {
            format!("{}/{}/{}", row.partition.0, row.seq, row.event_type as i16)
        });
        let dead_letters = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<ReplayDeadLettersRequest>,
    ) -> Result<Response<ReplayDeadLettersResponse>, Status> {
        let caller = caller(&request);
        let ReplayDeadLettersRequest { webhook_id, event_ids } = request.into_inner();
        check_event_ids(&event_ids)?;
        let sink = self.sink(&caller, webhook_id).await?;
        let replayed = self.ledger.replay_dead_letters(sink, &event_ids).await?;
        Ok(Response::new(ReplayDeadLettersResponse { replayed }))
    }

    async fn dismiss_dead_letters(
        &self,
        request: Request<DismissDeadLettersRequest>,
    ) -> Result<Response<DismissDeadLettersResponse>, Status> {
        let caller = caller(&request);
        let DismissDeadLettersRequest { webhook_id, event_ids } = request.into_inner();
        check_event_ids(&event_ids)?;
        if event_ids.is_empty() {
            return Err(invalid("EVENT_IDS_INVALID", "event_ids", "must be 1 to 1,000 ids"));
        }
        let sink = self.sink(&caller, webhook_id).await?;
        let dismissed = self.ledger.dismiss_dead_letters(sink, &event_ids).await?;
        Ok(Response::new(DismissDeadLettersResponse { dismissed }))
    }
}

impl Api {
    /// The number of a webhook, or of the message stream.
    async fn sink(&self, caller: &Caller, webhook_id: String) -> Result<i32, Status> {
        let webhook_id = identifier(webhook_id, "webhook_id")?;
        check_webhook(caller, &webhook_id)?;
        if webhook_id == STREAM_ID {
            return Ok(STREAM);
        }
        let found = self.ledger.webhook(&webhook_id).await?;
        let found = found.ok_or_else(|| unknown("webhook", "webhook_id", &webhook_id))?;
        Ok(found.no)
    }
}

/// What the names of webhooks begin with, and no other slash comes after, that a caller for certain
/// locations may put and see; `None`: it may put and see all.
fn own_prefix(caller: &Caller) -> Option<String> {
    (!caller.locations.is_all()).then(|| format!("{}/", caller.id))
}

/// What comes after another slash is that of a caller whose own id has one.
fn is_own(webhook_id: &str, prefix: &str) -> bool {
    webhook_id.strip_prefix(prefix).is_some_and(|name| !name.contains('/'))
}

/// Whether a webhook may exist for the caller. Events tell of every channel.
fn check_webhook(caller: &Caller, webhook_id: &str) -> Result<(), Status> {
    check_every_channel(caller)?;
    match own_prefix(caller).is_none_or(|prefix| is_own(webhook_id, &prefix)) {
        true => Ok(()),
        false => Err(unknown("webhook", "webhook_id", webhook_id)),
    }
}

/// Whether the caller may put this: under a name of its own, and only for what it may see itself.
fn check_put(caller: &Caller, put: &PutWebhook) -> Result<(), Status> {
    check_every_channel(caller)?;
    let Some(prefix) = own_prefix(caller) else { return Ok(()) };
    if !is_own(&put.webhook_id, &prefix) {
        let message = format!("the webhook_id must be {prefix:?} and a name without a slash");
        let metadata = [("prefix", &*prefix)];
        return Err(status(Code::PermissionDenied, "WEBHOOK_FORBIDDEN", message, &metadata));
    }
    if put.location_ids.is_empty() {
        return check_every_location(caller);
    }
    put.location_ids.iter().try_for_each(|id| check_location(caller, id))
}

fn check_event_ids(event_ids: &[String]) -> Result<(), Status> {
    let good = |id: &String| (1..=EVENT_ID_BYTES_MAX).contains(&id.len()) && id.is_ascii();
    if event_ids.len() > EVENT_IDS_MAX || !event_ids.iter().all(good) {
        return Err(invalid("EVENT_IDS_INVALID", "event_ids", "must be at most 1,000 ids"));
    }
    Ok(())
}

fn too_many() -> Status {
    let message = format!("there are {WEBHOOKS_MAX} webhooks already; delete one first");
    let metadata = [("webhooks_max", &*WEBHOOKS_MAX.to_string())];
    status(Code::FailedPrecondition, "TOO_MANY_WEBHOOKS", message, &metadata)
}

fn letter_at(last: &str) -> Result<(Partition, Seq, i16), Status> {
    let mut parts = last.splitn(3, '/');
    let mut parse = || {
        let partition = Partition(parts.next()?.parse().ok()?);
        Some((partition, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    parse().ok_or_else(page::malformed)
}

impl From<Progress> for proto::WebhookProgress {
    fn from(progress: Progress) -> proto::WebhookProgress {
        let (failure, failed_at) = progress.failed.unzip();
        let failure = failure.unwrap_or_default();
        proto::WebhookProgress {
            entries_behind: progress.behind,
            behind_for: Some(wire::duration_out(progress.behind_for)),
            events_waiting: progress.waiting,
            dead_letters: progress.dead,
            failed_at: failed_at.map(wire::time_out),
            failed_status: failure.status.map_or(0, i32::from),
            failure: failure.text,
        }
    }
}

impl From<DeadLetter> for proto::DeadLetter {
    fn from(letter: DeadLetter) -> proto::DeadLetter {
        proto::DeadLetter {
            event_id: letter.event_id,
            event_type: letter.event_type as i32,
            partition: wire::partition(letter.partition.0),
            seq: letter.seq.unsigned_abs(),
            attempts: letter.attempts,
            failed_at: letter.failed_at.map(wire::time_out),
            failed_status: letter.failure.status.map_or(0, i32::from),
            failure: letter.failure.text,
            body: letter.body,
        }
    }
}
