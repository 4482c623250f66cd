//! What the server says of itself: `grpc.health.v1`, and `/live`, `/ready` and `/metrics` over HTTP.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::MissedTickBehavior};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{availability::Availability, ledger::Ledger};

/// How often the databases are asked whether they are there.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A database that does not answer within this time counts as away.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Services whose readiness is named separately from that of the process.
const NAMED: [&str; 5] = [
    "stockroom.v1.MovementService",
    "stockroom.v1.LedgerService",
    "stockroom.v1.NetworkService",
    "stockroom.v1.EventService",
    "stockroom.v1.ReportService",
];

/// The state of the server, for whoever asks. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    service: HealthServer<HealthService>,
    seen: watch::Receiver<Seen>,
}

/// Which databases answered last.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    postgres: bool,
    redis: bool,
    draining: bool,
}

/// Says that the server is about to stop.
#[derive(Debug)]
pub struct Drain(Arc<watch::Sender<Seen>>);

impl Health {
    /// Starts to watch the databases; ends when every handle is dropped. Not ready until they were
    /// seen for the first time.
    pub fn start(ledger: Ledger, availability: Availability) -> (Health, Drain) {
        let reporter = HealthReporter::new();
        let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        let (sender, seen) = watch::channel(Seen::default());
        let sender = Arc::new(sender);
        let watched = Arc::clone(&sender);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(CHECK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while watched.receiver_count() > 0 {
                ticks.tick().await;
                let postgres = tokio::time::timeout(CHECK_TIMEOUT, ledger.ping());
                let redis = tokio::time::timeout(CHECK_TIMEOUT, availability.ping());
                let (postgres, redis) = tokio::join!(postgres, redis);
                watched.send_modify(|seen| {
                    seen.postgres = matches!(postgres, Ok(Ok(())));
                    seen.redis = matches!(redis, Ok(Ok(())));
                });
                let status = match watched.borrow().is_ready() {
                    true => ServingStatus::Serving,
                    false => ServingStatus::NotServing,
                };
                for name in NAMED {
                    reporter.set_service_status(name, status).await;
                }
            }
        });
        (Health { service, seen }, Drain(sender))
    }

    /// Waits until the server is ready for the first time.
    pub async fn ready(&mut self) {
        // The sender lives as long as the watching task, which this handle keeps alive.
        let _ = self.seen.wait_for(|seen| seen.is_ready()).await;
    }

    pub(super) fn service(&self) -> HealthServer<HealthService> {
        self.service.clone()
    }
}

impl Drain {
    /// From now on the server is not ready: new work should go elsewhere.
    pub fn begin(&self) {
        self.0.send_modify(|seen| seen.draining = true);
    }
}

impl Seen {
    /// Redis is missed, and told of, but the ledger works without it.
    fn is_ready(self) -> bool {
        self.postgres && !self.draining
    }
}

/// Serves `/live`, `/ready` and `/metrics` on `listener` until `shutdown`.
///
/// # Errors
/// The listener fails.
pub async fn serve_http(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
    health: Health,
    metrics: PrometheusHandle,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/live", get(|| async { Json(json!({ "live": true })) }))
        .route("/ready", get(ready).with_state(health))
        .route("/metrics", get(render).with_state(metrics));
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let seen = *health.seen.borrow();
    let status = if seen.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": seen.is_ready(),
        "postgres": seen.postgres,
        "redis": seen.redis,
        "draining": seen.draining,
    });
    (status, Json(body))
}

async fn render(State(metrics): State<PrometheusHandle>) -> String {
    metrics_process::Collector::default().collect();
    metrics.render()
}
