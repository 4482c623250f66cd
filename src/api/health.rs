//! What the server says of itself: `grpc.health.v1`, and `/live`, `/ready` and `/metrics` over HTTP.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::MissedTickBehavior};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{
    api::connection::{Https, tls::Tls},
    api::contract::services,
    availability::Availability,
    ledger::{Ledger, pools::PoolUse},
    telemetry,
};

/// How often the databases are asked whether they are there.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often what only they know is looked at.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// A database that does not answer within this time counts as away.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
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
        let looked_at = Arc::downgrade(&sender);
        tokio::spawn(measure(ledger.clone(), availability.clone(), looked_at));
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(CHECK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while watched.receiver_count() > 0 {
                ticks.tick().await;
                let postgres = tokio::time::timeout(CHECK_TIMEOUT, ledger.ping());
                let redis = tokio::time::timeout(CHECK_TIMEOUT, availability.ping());
                let (postgres, redis) = tokio::join!(postgres, redis);
                let (postgres, redis) =
                    (matches!(postgres, Ok(Ok(()))), matches!(redis, Ok(Ok(()))));
                watched.send_modify(|seen| (seen.postgres, seen.redis) = (postgres, redis));
                telemetry::databases_up(postgres, redis);
                for PoolUse { name, in_use, idle, max, waiting } in ledger.pools() {
                    telemetry::pool_used(name, in_use, idle, max, waiting);
                }
                let status = match watched.borrow().is_ready() {
                    true => ServingStatus::Serving,
                    false => ServingStatus::NotServing,
                };
                for service in services() {
                    reporter.set_service_status(&service.name, status).await;
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

/// Says now and then what only the databases know, for as long as somebody watches them.
async fn measure(ledger: Ledger, availability: Availability, watched: Weak<watch::Sender<Seen>>) {
    let mut ticks = tokio::time::interval(MEASURE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while watched.upgrade().is_some_and(|seen| seen.receiver_count() > 0) {
        ticks.tick().await;
        match ledger.oldest().await {
            Ok(oldest) => telemetry::oldest_transaction(oldest.open_us, oldest.transactions),
            Err(fault) => tracing::debug!(fault = fault.chain(), "transactions were not seen"),
        }
        let Ok(partitions) = ledger.partitions().await else { continue };
        match availability.live_holds(partitions).await {
            Ok(holds) => telemetry::live_holds(holds),
            Err(fault) => tracing::debug!(fault = fault.chain(), "holds were not counted"),
        }
    }
}

/// Serves `/live`, `/ready` and `/metrics` on `listener` until `shutdown`, to whom it asks for no
/// certificate.
///
/// # Errors
/// The listener fails.
pub async fn serve_http(
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send + 'static,
    health: Health,
    metrics: PrometheusHandle,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/live", get(|| async { Json(json!({ "live": true })) }))
        .route("/ready", get(ready).with_state(health))
        .route("/metrics", get(render).with_state(metrics));
    match tls {
        None => axum::serve(listener, router).with_graceful_shutdown(shutdown).await,
        Some(tls) => {
            let listener = Https::new(listener, tls);
            axum::serve(listener, router).with_graceful_shutdown(shutdown).await
        }
    }
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
