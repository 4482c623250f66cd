//! `stockroom serve`: databases, ledger, writer, interface; then wait for a signal and drain.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::MissedTickBehavior,
};

use crate::{
    api::{self, Api, health::Health},
    availability::Availability,
    config::ServeConfig,
    embedded::{self, Embedded, Wanted},
    feed::{Feed, deliver::Delivery},
    ledger::{Ledger, fault::Kind},
    telemetry,
    writer::{Writer, counted::Counting, reschedule::Rescheduler, sweep::Sweeper},
};

/// How often changes of master data by other servers are looked for.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// How often a database that is away is tried again at the start.
const CONNECT_EVERY: Duration = Duration::from_millis(500);

/// The databases of a server: its own, or those that it was told of.
struct Databases {
    embedded: Option<Embedded>,
    database_url: String,
    redis_url: String,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Something that is needed cannot be had.
pub async fn run(config: ServeConfig) -> anyhow::Result<()> {
    let (listen, http_listen) = (config.listen()?, config.http_listen()?);
    telemetry::log(config.log_format(), &config.log)?;
    let metrics = telemetry::install()?;
    let stopped = stop_signal()?;
    let databases = start_databases(&config).await?;
    let served = async {
        let ledger = Ledger::new(&config.databases.ledger(databases.database_url.clone()))?;
        let availability = Availability::new(&databases.redis_url, &config.databases.redis_prefix)?;
        if databases.embedded.is_some() && config.databases.database_url.is_none() {
            Ledger::migrate(&databases.database_url, config.ledger.partitions()).await?;
        }
        let writer = start_writer(&ledger, &availability, &stopped).await?;
        let feed = Feed::start(ledger.clone(), availability.clone(), writer.committed());
        let (mut health, drain) = Health::start(ledger.clone(), availability.clone());
        health.ready().await;
        if databases.embedded.is_some() {
            let Databases { database_url, redis_url, .. } = &databases;
            embedded::write_connections(&config.databases.data_dir(), database_url, redis_url)?;
        }
        let bind = |address| async move {
            let bound = TcpListener::bind(address).await;
            bound.with_context(|| format!("cannot listen on {address}"))
        };
        let listener = bind(listen).await?;
        if let Some(address) = http_listen {
            let (listener, stopped) = (bind(address).await?, stopped.clone());
            let http = api::health::serve_http(listener, wait(stopped), health.clone(), metrics);
            tokio::spawn(http);
        }
        let refresh = tokio::spawn(refresh(ledger.clone()));
        let sweeper = Sweeper::start(&writer);
        let rescheduler = Rescheduler::start(&writer);
        let counting = Counting::start(&writer);
        tracing::info!(address = %listener.local_addr()?, "listening");
        let delivery = Delivery::start(ledger.clone(), config.events.delivery())?;
        let api = Api::new(ledger.clone(), availability, writer.clone(), stopped.clone())
            .with_drop_limits(config.drop_limits())
            .with_cors_origins(config.cors_origin.clone())
            .with_private_webhooks(config.events.webhook_allow_private);
        let serving = api::run(listener, wait(stopped.clone()), api, health);
        drain_after(serving, stopped.clone(), &config, || drain.begin()).await?;
        refresh.abort();
        sweeper.stop();
        drop(rescheduler);
        delivery.stop().await;
        drop(feed);
        if let Err(fault) = writer.resume_points().flush().await {
            tracing::warn!(fault = fault.chain(), "resume points were not written");
        }
        if let Err(fault) = counting.tell().await {
            tracing::warn!(fault = fault.chain(), "refusals were not added up");
        }
        ledger.close().await;
        anyhow::Ok(())
    }
    .await;
    if let Some(embedded) = databases.embedded {
        embedded.stop().await.context("cannot stop the private databases")?;
    }
    served?;
    tracing::info!("stopped");
    Ok(())
}

async fn start_databases(config: &ServeConfig) -> anyhow::Result<Databases> {
    let (database_url, redis_url) =
        (config.databases.database_url.clone(), config.databases.redis_url.clone());
    let wanted = Wanted { postgres: database_url.is_none(), redis: redis_url.is_none() };
    let embedded = match wanted.postgres || wanted.redis {
        true => Some(Embedded::start(&config.databases.data_dir(), wanted).await?),
        false => None,
    };
    let own = embedded.as_ref();
    let database_url = database_url.or_else(|| own?.database_url().map(str::to_owned));
    let redis_url = redis_url.or_else(|| own?.redis_url().map(str::to_owned));
    Ok(Databases {
        database_url: database_url.context("no PostgreSQL was started")?,
        redis_url: redis_url.context("no Redis was started")?,
        embedded,
    })
}

/// Waits for a database that is away; gives up on one that was not prepared.
async fn start_writer(
    ledger: &Ledger,
    availability: &Availability,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Writer> {
    loop {
        match Writer::start(ledger.clone(), availability.clone()).await {
            Ok(writer) => return Ok(writer),
            Err(fault) if fault.kind == Kind::Unavailable && !*stopped.borrow() => {
                tracing::warn!(fault = fault.chain(), "waiting for the database");
                tokio::time::sleep(CONNECT_EVERY).await;
            }
            Err(fault) => return Err(fault.into()),
        }
    }
}

async fn refresh(ledger: Ledger) {
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(fault) = ledger.directory().refresh().await {
            tracing::debug!(fault = fault.chain(), "master data was not refreshed");
        }
    }
}

/// True from the first SIGTERM or SIGINT on.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (sender, stopped) = watch::channel(false);
    let sender = Arc::new(sender);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("cannot listen for signals")?;
        let sender = Arc::clone(&sender);
        tokio::spawn(async move {
            signals.recv().await;
            sender.send_replace(true);
        });
    }
    Ok(stopped)
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error says that the sender is gone, and with it every reason to go on.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Serves; once stopped, gives the calls under way a bounded time.
async fn drain_after<E: std::error::Error + Send + Sync + 'static>(
    serving: impl Future<Output = Result<(), E>>,
    stopped: watch::Receiver<bool>,
    config: &ServeConfig,
    begin: impl FnOnce(),
) -> anyhow::Result<()> {
    let grace = Duration::from_secs(config.drain_seconds);
    let expired = async {
        wait(stopped).await;
        begin();
        tracing::info!("stopping; no new calls are taken");
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        served = serving => served.context("the interface failed"),
        () = expired => {
            tracing::warn!("calls were cut off at the end of the grace period");
            Ok(())
        }
    }
}
