//! gRPC: decodes, calls once, encodes. No rule of stock is in here.
//!
//! [`run`] is a whole server: its socket and its stop signal are arguments. `movements`, `ledger` and
//! `network` are the services; `wire` turns messages into the core's types and back, `error` turns
//! refusals into statuses, and `layer` gives every call its deadline and every error its details.
#![expect(clippy::disallowed_types, reason = "this is where gRPC lives")]

mod availability;
mod cors;
mod cursor;
mod error;
mod events;
pub mod health;
mod layer;
mod ledger;
mod movements;
mod network;
mod overload;
mod page;
pub mod proto;
mod report;
mod reservations;
mod token;
mod wire;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_web::GrpcWebLayer;

use crate::{
    api::{
        health::Health,
        layer::MannersLayer,
        movements::snapshot::Snapshots,
        proto::{
            availability_service_server::AvailabilityServiceServer,
            event_service_server::EventServiceServer, ledger_service_server::LedgerServiceServer,
            movement_service_server::MovementServiceServer,
            network_service_server::NetworkServiceServer,
            report_service_server::ReportServiceServer,
            reservation_service_server::ReservationServiceServer,
        },
    },
    availability::Availability,
    feed::{follow::Follow, watch::Watch},
    ledger::Ledger,
    reads::Reads,
    stock::snapshot::DropLimits,
    writer::Writer,
};

/// Largest message.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A connection that does not answer a ping within this time is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often an idle connection is pinged, so that it survives address translation.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// Calls that a client may have given up before they were looked at. Under overload many do at once, and
/// a connection with more of them is closed, with everything else on it.
const RESET_CALLS_MAX: usize = 1_000;

/// Reports that are added up at once.
const REPORTS_MAX: usize = 1;

/// Everything that the services call.
#[derive(Clone, Debug)]
pub struct Api {
    ledger: Ledger,
    writer: Writer,
    reads: Reads,
    follow: Follow,
    watch: Watch,
    snapshots: Snapshots,
    stopped: watch::Receiver<bool>,
    webhook_allow_private: bool,
    cors_origins: Arc<[String]>,
    reports: Arc<Semaphore>,
}

impl Api {
    /// The services over a ledger and its writer. Once `stopped` is true, streams end after what they
    /// have taken.
    pub fn new(
        ledger: Ledger,
        availability: Availability,
        writer: Writer,
        stopped: watch::Receiver<bool>,
    ) -> Api {
        let follow = Follow::new(ledger.clone(), writer.recorded());
        let watch = Watch::new(ledger.clone(), availability.clone(), follow.clone());
        let reads = Reads::new(ledger.clone(), availability);
        Api {
            follow,
            watch,
            reads,
            ledger,
            writer,
            snapshots: Snapshots::new(DropLimits::default()),
            stopped,
            webhook_allow_private: false,
            cors_origins: Arc::default(),
            reports: Arc::new(Semaphore::new(REPORTS_MAX)),
        }
    }

    /// The same with other bounds of how many items a snapshot may drop to zero.
    #[must_use]
    pub fn with_drop_limits(self, limits: DropLimits) -> Api {
        Api { snapshots: Snapshots::new(limits), ..self }
    }

    /// Lets pages of these origins call from a browser; of no other one.
    #[must_use]
    pub fn with_cors_origins(self, origins: Vec<String>) -> Api {
        Api { cors_origins: origins.into(), ..self }
    }

    /// Lets webhooks have private addresses, and plain HTTP: for tests and development.
    #[must_use]
    pub fn with_private_webhooks(self, allowed: bool) -> Api {
        Api { webhook_allow_private: allowed, ..self }
    }
}

/// Serves on `listener` until `shutdown`, then finishes the calls under way.
///
/// # Errors
/// The listener fails.
pub async fn run(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    api: Api,
    health: Health,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let reflection = |builder: tonic_reflection::server::Builder<'static>| {
        builder
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(RESET_CALLS_MAX))
        .layer(cors::layer(&api.cors_origins))
        .layer(GrpcWebLayer::new())
        .layer(MannersLayer::default())
        .add_service(health.service())
        .add_service(MovementServiceServer::new(api.clone()))
        .add_service(LedgerServiceServer::new(api.clone()))
        .add_service(AvailabilityServiceServer::new(api.clone()))
        .add_service(NetworkServiceServer::new(api.clone()))
        .add_service(ReservationServiceServer::new(api.clone()))
        .add_service(EventServiceServer::new(api.clone()))
        .add_service(ReportServiceServer::new(api));
    // A descriptor set that this build compiled itself cannot fail to be read; without it there is no
    // reflection, and nothing else is missing.
    if let Ok(v1) = reflection(tonic_reflection::server::Builder::configure()).build_v1() {
        server = server.add_service(v1);
    }
    if let Ok(v1alpha) = reflection(tonic_reflection::server::Builder::configure()).build_v1alpha()
    {
        server = server.add_service(v1alpha);
    }
    server.serve_with_incoming_shutdown(incoming, shutdown).await
}
