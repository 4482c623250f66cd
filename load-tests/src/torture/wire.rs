//! What is asked as a call, and its answer as a record.
#![expect(clippy::disallowed_types, reason = "a client of the interface")]

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use stockroom::api::proto::{
    self, BatchCreateReservationsRequest, CancelReservationRequest, CheckAvailabilityRequest,
    CollectReservationRequest, ConfirmReservationPaymentRequest, CreateReservationRequest,
    ExtendReservationRequest, HoldStockRequest, MarkReadyRequest, MoveReservationRequest, Movement,
    MovementKind, RecordMovementsRequest, ReleaseHoldRequest, ReservationDraft,
    ReturnToShelfRequest, StartPickingRequest,
    availability_service_client::AvailabilityServiceClient,
    movement_service_client::MovementServiceClient,
    reservation_service_client::ReservationServiceClient,
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::history::{
    Micros,
    call::{Answered, Asked, Durability, Line, Posted, Promise, Reserved, Row, Short, Token},
};

/// How long a server may try; it is told.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// How long a client waits; a server that is gone tells nothing.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long a reservation lasts: some of them end during a run.
const RESERVATION_SECONDS: i64 = 12;
/// A refusal that says so has no effect; any other failure leaves it open.
const OPEN: [&str; 5] =
    ["LEDGER_UNAVAILABLE", "OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED", "OVERLOADED", "TRANSPORT"];

/// The way to one server.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    channel: Channel,
    /// When the history's clock stood at zero, in microseconds since 1970.
    began_at_us: i64,
}

/// What goes with a call besides what is recorded.
#[derive(Clone, Debug, Default)]
pub(super) struct With {
    /// Who reports movements.
    pub source: String,
    /// Where to read.
    pub location: String,
    /// What to read.
    pub skus: Vec<String>,
    /// Read-your-writes token, as it was given.
    pub token: String,
}

impl Wire {
    pub(super) fn new(address: SocketAddr, began_at_us: i64) -> anyhow::Result<Wire> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let channel = endpoint.connect_timeout(DEADLINE).connect_lazy();
        Ok(Wire { channel, began_at_us })
    }

    /// Asks, and waits for the answer. The text is the token that it brings.
    pub(super) async fn ask(&self, asked: &Asked, with: &With) -> (Answered, String) {
        let answered = tokio::time::timeout(PATIENCE, self.call(asked, with)).await;
        match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(status)) => (refusal(&status), String::new()),
            Err(_) => (Answered::Unknown { why: "no answer".to_owned() }, String::new()),
        }
    }

    async fn call(&self, asked: &Asked, with: &With) -> Result<(Answered, String), Status> {
        match asked {
            Asked::Hold { .. } | Asked::Release { .. } => self.hold(asked).await,
            Asked::Reserve { .. } | Asked::Basket { .. } => self.reserve(asked).await,
            Asked::Step { key, step, reservation, to_location } => {
                self.step(step, key.clone(), reservation.clone(), to_location.clone()).await
            }
            Asked::Movements { lines } => self.record(lines, with).await,
            Asked::Read { .. } => self.read(with).await,
        }
    }

    async fn hold(&self, asked: &Asked) -> Result<(Answered, String), Status> {
        let mut client = ReservationServiceClient::new(self.channel.clone());
        let Asked::Hold { key, promise, ttl_us } = asked else {
            let Asked::Release { key, hold } = asked else { return Err(Status::internal("")) };
            let (request_id, hold_id) = (key.clone(), hold.clone());
            client.release_hold(timed(ReleaseHoldRequest { request_id, hold_id })).await?;
            return Ok((Answered::Released, String::new()));
        };
        let request = HoldStockRequest {
            request_id: key.clone(),
            location_id: promise.location.clone(),
            lines: lines(promise),
            ttl: Some(prost_types::Duration { seconds: *ttl_us / 1_000_000, nanos: 0 }),
            ..HoldStockRequest::default()
        };
        let answer = client.hold_stock(timed(request)).await?.into_inner();
        let durability = durability(answer.durability());
        let hold = answer.hold.ok_or_else(|| Status::unknown("no hold was answered"))?;
        let expires_us = hold.expires_at.map_or(0, |at| self.moment(&at));
        Ok((Answered::Held { hold: hold.hold_id, expires_us, durability }, String::new()))
    }

    async fn reserve(&self, asked: &Asked) -> Result<(Answered, String), Status> {
        let mut client = ReservationServiceClient::new(self.channel.clone());
        let ttl = Some(prost_types::Duration { seconds: RESERVATION_SECONDS, nanos: 0 });
        match asked {
            Asked::Basket { key, promises } => {
                let draft = |promise: &Promise| ReservationDraft {
                    location_id: promise.location.clone(),
                    lines: lines(promise),
                    hold_id: String::new(),
                };
                let request = BatchCreateReservationsRequest {
                    request_id: key.clone(),
                    reservations: promises.iter().map(draft).collect(),
                    ttl,
                    ..BatchCreateReservationsRequest::default()
                };
                let answer = client.batch_create_reservations(timed(request)).await?.into_inner();
                let durability = answer.durability();
                Ok(reserved(answer.reservations, answer.token, durability))
            }
            Asked::Reserve { key, promise, hold } => {
                let request = CreateReservationRequest {
                    request_id: key.clone(),
                    location_id: promise.location.clone(),
                    lines: lines(promise),
                    hold_id: hold.clone(),
                    ttl,
                    ..CreateReservationRequest::default()
                };
                let answer = client.create_reservation(timed(request)).await?.into_inner();
                let durability = answer.durability();
                Ok(reserved(answer.reservation, answer.token, durability))
            }
            _ => Err(Status::internal("no reservation is asked for")),
        }
    }

    async fn step(
        &self,
        step: &str,
        request_id: String,
        reservation_id: String,
        location_id: String,
    ) -> Result<(Answered, String), Status> {
        let mut client = ReservationServiceClient::new(self.channel.clone());
        macro_rules! call {
            ($method:ident, $request:expr) => {{
                let answer = client.$method(timed($request)).await?.into_inner();
                let durability = answer.durability();
                Ok(reserved(answer.reservation, answer.token, durability))
            }};
        }
        macro_rules! of {
            ($request:ident) => {
                $request { request_id, reservation_id, ..$request::default() }
            };
        }
        let ttl = Some(prost_types::Duration { seconds: RESERVATION_SECONDS, nanos: 0 });
        match step {
            "cancel" => call!(cancel_reservation, of!(CancelReservationRequest)),
            "collect" => call!(collect_reservation, of!(CollectReservationRequest)),
            "pay" => {
                let request = ConfirmReservationPaymentRequest { request_id, reservation_id };
                call!(confirm_reservation_payment, request)
            }
            "start" => call!(start_picking, of!(StartPickingRequest)),
            "ready" => call!(mark_ready, of!(MarkReadyRequest)),
            "shelve" => call!(return_to_shelf, of!(ReturnToShelfRequest)),
            "extend" => {
                let request = ExtendReservationRequest { request_id, reservation_id, ttl };
                call!(extend_reservation, request)
            }
            _ => {
                let request = MoveReservationRequest { location_id, ..of!(MoveReservationRequest) };
                call!(move_reservation, request)
            }
        }
    }

    async fn record(&self, lines: &[Line], with: &With) -> Result<(Answered, String), Status> {
        let mut client = MovementServiceClient::new(self.channel.clone());
        let movements = lines.iter().map(|line| self.movement(line)).collect();
        let request =
            RecordMovementsRequest { source: with.source.clone(), sent_at: None, movements };
        let answer = client.record_movements(timed(request)).await?.into_inner();
        let durability = durability(answer.durability());
        let results = answer.results.into_iter().map(|result| match result.entry {
            Some(entry) => Posted {
                partition: i16::try_from(entry.partition).unwrap_or(-1),
                seq: i64::try_from(entry.seq).unwrap_or(-1),
                reason: String::new(),
            },
            None => {
                let reason = result.error.map(|error| error.reason).unwrap_or_default();
                Posted { partition: 0, seq: 0, reason }
            }
        });
        let token = decode(&answer.token).unwrap_or_default();
        let results = results.collect();
        Ok((Answered::Recorded { results, token, durability }, answer.token))
    }

    async fn read(&self, with: &With) -> Result<(Answered, String), Status> {
        let mut client = AvailabilityServiceClient::new(self.channel.clone());
        let request = CheckAvailabilityRequest {
            skus: with.skus.clone(),
            location_ids: vec![with.location.clone()],
            min_token: with.token.clone(),
            ..CheckAvailabilityRequest::default()
        };
        let answer = client.check_availability(timed(request)).await?.into_inner();
        let rows = answer.availability.into_iter().map(|row| Row {
            location: row.location_id,
            sku: row.sku,
            available: row.available,
            version: i64::try_from(row.version).unwrap_or(-1),
        });
        let rows = rows.collect();
        Ok((Answered::Read { rows, degraded: answer.degraded }, String::new()))
    }

    fn movement(&self, line: &Line) -> Movement {
        let explained = [MovementKind::Adjust as i32, MovementKind::Return as i32];
        let adjusted = line.kind == MovementKind::Adjust as i32;
        let occurred_at = line.occurred_us.map(|at| {
            let at = self.began_at_us + at;
            let (seconds, us) = (at.div_euclid(1_000_000), at.rem_euclid(1_000_000));
            prost_types::Timestamp { seconds, nanos: us as i32 * 1_000 }
        });
        Movement {
            key: line.key.clone(),
            kind: line.kind,
            location_id: line.location.clone(),
            sku: line.sku.clone(),
            quantity: line.quantity,
            occurred_at,
            to_location_id: line.to_location.clone(),
            group: line.group.clone(),
            reason: if explained.contains(&line.kind) { "unknown" } else { "" }.to_owned(),
            from_state: if adjusted { proto::StockState::Sellable as i32 } else { 0 },
            ..Movement::default()
        }
    }

    fn moment(&self, at: &prost_types::Timestamp) -> Micros {
        at.seconds * 1_000_000 + i64::from(at.nanos / 1_000) - self.began_at_us
    }
}

/// What a token tells: a version byte, an epoch, and a partition and sequence number each.
pub(super) fn decode(token: &str) -> Option<Token> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (epoch, seqs) = bytes.get(1..)?.split_first_chunk::<8>()?;
    let seqs = seqs.chunks_exact(10).filter_map(|row| {
        let (partition, seq) = row.split_first_chunk::<2>()?;
        Some((i16::from_be_bytes(*partition), i64::from_be_bytes(seq.try_into().ok()?)))
    });
    Some(Token { epoch: i64::from_be_bytes(*epoch), seqs: seqs.collect() })
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

fn lines(promise: &Promise) -> Vec<proto::Line> {
    let line =
        |(sku, quantity): &(String, i64)| proto::Line { sku: sku.clone(), quantity: *quantity };
    promise.lines.iter().map(line).collect()
}

fn reserved(
    reservations: impl IntoIterator<Item = proto::Reservation>,
    token: String,
    safe: proto::Durability,
) -> (Answered, String) {
    let reservations = reservations.into_iter().map(|reservation| Reserved {
        id: reservation.reservation_id,
        state: reservation.state,
        version: i64::try_from(reservation.version).unwrap_or(-1),
    });
    let covers = decode(&token).unwrap_or_default();
    let reservations = reservations.collect();
    (Answered::Reserved { reservations, token: covers, durability: durability(safe) }, token)
}

fn durability(told: proto::Durability) -> Durability {
    match told {
        proto::Durability::Replicated => Durability::Replicated,
        proto::Durability::Memory => Durability::Memory,
        _ => Durability::Ledger,
    }
}

fn refusal(status: &Status) -> Answered {
    let details = status.get_error_details();
    let why = || Answered::Unknown { why: format!("{:?}: {}", status.code(), status.message()) };
    let Some(info) = details.error_info() else { return why() };
    let open = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
    if open || OPEN.contains(&info.reason.as_str()) {
        return why();
    }
    let number = |name: &str| info.metadata.get(name)?.parse().ok();
    let short = || {
        let sku = info.metadata.get("sku")?.clone();
        Some(Short { sku, wanted: number("wanted")?, available: number("available")? })
    };
    Answered::Refused { reason: info.reason.clone(), short: short() }
}

/// Prepares the shops.
///
/// # Errors
/// The server refuses.
pub(super) async fn open_shops(wire: &Wire, locations: &[String]) -> anyhow::Result<()> {
    use stockroom::api::proto::{
        Location, PutLocationRequest, network_service_client::NetworkServiceClient,
    };
    let mut network = NetworkServiceClient::new(wire.channel.clone());
    for id in locations {
        let location = Location {
            location_id: id.clone(),
            name: id.clone(),
            pickup_enabled: true,
            ..Location::default()
        };
        let request = PutLocationRequest { location: Some(location) };
        network.put_location(request).await.context("cannot open a shop")?;
    }
    Ok(())
}
