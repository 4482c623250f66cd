//! gRPC: decodes, calls once, encodes. No rule of stock is in here.
//!
//! Who calls is found out in [`authenticate`]; TLS is in [`connection`].
//!
//! [`run`] is a whole server: its socket and its stop signal are arguments. `movements`, `ledger` and
//! `network` are the services; `wire` turns messages into the core's types and back, `error` turns
//! refusals into statuses, and `layer` gives every call its deadline and every error its details. `authorise`
//! holds calls to the rule of their method, `reach` to what exists for their caller.
#![expect(clippy::disallowed_types, reason = "this is where gRPC lives")]

mod arriving;
pub mod authenticate;
mod authorise;
mod availability;
mod budget;
pub mod connection;
pub mod contract;
mod cors;
mod cursor;
mod error;
mod events;
pub mod guard;
pub mod health;
mod layer;
mod ledger;
mod movements;
mod network;
mod observe;
mod overload;
mod page;
pub mod proto;
pub mod rates;
mod reach;
mod report;
mod reservations;
mod token;
pub mod transport;
mod wire;

use std::{future::Future, sync::Arc};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;

use crate::{
    api::{
        authenticate::{AuthenticateLayer, Credentials},
        authorise::AuthoriseLayer,
        connection::tls::Tls,
        guard::{AbuseLimits, Guard},
        health::Health,
        layer::MannersLayer,
        movements::snapshot::Snapshots,
        observe::ObserveLayer,
        proto::{
            availability_service_server::AvailabilityServiceServer,
            event_service_server::EventServiceServer, ledger_service_server::LedgerServiceServer,
            movement_service_server::MovementServiceServer,
            network_service_server::NetworkServiceServer,
            report_service_server::ReportServiceServer,
            reservation_service_server::ReservationServiceServer,
        },
        rates::{RateLayer, RateLimits},
        transport::ConnectionLimits,
    },
    availability::Availability,
    feed::{follow::Follow, watch::Watch},
    ledger::Ledger,
    reads::Reads,
    stock::snapshot::DropLimits,
    writer::{Writer, hold::HoldCaps},
};

/// Largest message.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

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
    credentials: Credentials,
    tls: Option<Tls>,
    connections: ConnectionLimits,
    rates: RateLimits,
    guard: Arc<Guard>,
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
            credentials: Credentials::default(),
            tls: None,
            connections: ConnectionLimits::default(),
            rates: RateLimits::default(),
            guard: Arc::new(Guard::new(AbuseLimits::default())),
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

    /// Lets only those call who show one of these credentials.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Api {
        Api { credentials, ..self }
    }

    /// The same with other bounds of what connections may cost.
    #[must_use]
    pub fn with_connections(self, limits: ConnectionLimits) -> Api {
        Api { connections: limits, ..self }
    }

    /// The same with other bounds of how often a caller may call.
    #[must_use]
    pub fn with_rates(self, limits: RateLimits) -> Api {
        Api { rates: limits, ..self }
    }

    /// The same with other bounds of what does no good.
    #[must_use]
    pub fn with_abuse_limits(self, limits: AbuseLimits) -> Api {
        Api { guard: Arc::new(Guard::new(limits)), ..self }
    }

    /// Serves TLS instead of plain text.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Api {
        Api { tls, ..self }
    }

    /// The same with caps of what may be held at once.
    #[must_use]
    pub fn with_hold_caps(self, caps: HoldCaps) -> Api {
        Api { writer: self.writer.with_hold_caps(caps), ..self }
    }

    /// Lets webhooks have private addresses, and plain HTTP: for tests and development.
    #[must_use]
    pub fn with_private_webhooks(self, allowed: bool) -> Api {
        Api { webhook_allow_private: allowed, ..self }
    }
}

/// Serves on `listener` until `shutdown`, then finishes the calls under way.
pub async fn run(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    api: Api,
    health: Health,
) {
    let (limits, tls) = (api.connections, api.tls.clone());
    let service = ServiceBuilder::new()
        .layer(cors::layer(&api.cors_origins))
        .layer(GrpcWebLayer::new())
        .layer(ObserveLayer)
        .layer(AuthenticateLayer(api.credentials.clone()))
        .layer(MannersLayer::new(limits.arrival_max))
        .layer(RateLayer::new(api.rates))
        .layer(AuthoriseLayer)
        .service(routes(api, &health));
    let incoming = connection::grpc(transport::incoming(listener, limits), tls);
    transport::serve(incoming, shutdown, service, limits).await;
}

/// Every service.
fn routes(api: Api, health: &Health) -> Routes {
    let reflection = |builder: tonic_reflection::server::Builder<'static>| {
        builder
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::new(health.service())
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
        routes = routes.add_service(v1);
    }
    if let Ok(v1alpha) = reflection(tonic_reflection::server::Builder::configure()).build_v1alpha()
    {
        routes = routes.add_service(v1alpha);
    }
    routes.prepare()
}
