//! `stockroom serve`: databases, ledger, writer, interface; then wait for a signal and drain.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::MissedTickBehavior,
};

use crate::{
    api::{
        self, Api,
        authenticate::Credentials,
        connection::tls::Tls,
        health::{Drain, Health},
    },
    availability::Availability,
    config::ServeConfig,
    embedded::{self, Embedded, Wanted},
    feed::{Feed, anchoring::Anchoring, deliver::Delivery},
    ledger::{Ledger, fault::Kind},
    telemetry::{self, traces},
    writer::{Writer, counted::Counting, reschedule::Rescheduler, sweep::Sweeper},
};

/// How often changes of master data by other servers are looked for.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// How long the last spans may take to be sent.
const TRACES_WITHIN: Duration = Duration::from_secs(3);
/// How often a database that is away is tried again at the start.
const CONNECT_EVERY: Duration = Duration::from_millis(500);

/// The databases of a server: its own, or those that it was told of.
struct Databases {
    embedded: Option<Embedded>,
    own_postgres: bool,
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
    let metrics = telemetry::metrics::install()?;
    let delivery = config.events.delivery()?;
    let traces = config.telemetry.traces().map(|options| traces::start(&options)).transpose()?;
    let asked = stop_signal()?;
    let (stop, stopped) = watch::channel(false);
    let tls = start_tls(&config).await?;
    let databases = start_databases(&config).await?;
    let served = async {
        let ledger = Ledger::new(&config.databases.ledger(databases.database_url.clone()))?;
        let redis = config.databases.availability(databases.redis_url.clone())?;
        let availability = Availability::open(&redis)?;
        if databases.own_postgres {
            Ledger::migrate(&databases.database_url, config.ledger.partitions()).await?;
        }
        let writer = start_writer(&ledger, &availability, &asked).await?;
        let feed = Feed::start(ledger.clone(), availability.clone(), writer.committed());
        let (mut health, drain) = Health::start(ledger.clone(), availability.clone());
        health.ready().await;
        let delay = Duration::from_secs(config.drain_delay_seconds);
        tokio::spawn(stop_after(asked.clone(), drain, delay, stop));
        if databases.embedded.is_some() {
            let Databases { database_url, redis_url, .. } = &databases;
            embedded::write_connections(&config.databases.data_dir(), database_url, redis_url)?;
        }
        let terminals = config.tls.tls_client_ca.is_some();
        let credentials = Credentials::start(&config.credentials, terminals, &ledger).await?;
        let listener = bind(listen).await?;
        if let Some(address) = http_listen {
            let (listener, stopped) = (bind(address).await?, wait(stopped.clone()));
            let (tls, health) = (tls.clone(), health.clone());
            tokio::spawn(api::health::serve_http(listener, tls, stopped, health, metrics));
        }
        let refresh = tokio::spawn(refresh(ledger.clone()));
        let sweeper = Sweeper::start(&writer);
        let rescheduler = Rescheduler::start(&writer);
        let counting = Counting::start(&writer);
        tracing::info!(address = %listener.local_addr()?, "listening");
        let delivery = Delivery::start(ledger.clone(), delivery)?;
        let anchoring = Anchoring::start(ledger.clone(), config.audit.anchors())?;
        let api = Api::new(ledger.clone(), availability, writer.clone(), stopped.clone())
            .with_credentials(credentials)
            .with_tls(tls);
        let api = configured(api, &config);
        let serving = api::run(listener, wait(stopped.clone()), api, health);
        drain_after(serving, stopped.clone(), &config).await;
        refresh.abort();
        sweeper.stop();
        drop(rescheduler);
        delivery.stop().await;
        drop(feed);
        note_the_last(&writer, &counting).await;
        anchoring.stop().await;
        ledger.close().await;
        anyhow::Ok(())
    }
    .await;
    if let Some(embedded) = databases.embedded {
        embedded.stop().await.context("cannot stop the private databases")?;
    }
    if let Some(traces) = traces {
        traces.stop(TRACES_WITHIN).await;
    }
    served?;
    tracing::info!("stopped");
    Ok(())
}

async fn start_tls(config: &ServeConfig) -> anyhow::Result<Option<Tls>> {
    let Some(files) = config.tls.files()? else { return Ok(None) };
    // Who shows neither a certificate nor anything else could call nothing.
    let client_required = !config.credentials.any();
    Ok(Some(Tls::start(files, client_required).await.context("cannot serve TLS")?))
}

/// The services as they are configured.
fn configured(api: Api, config: &ServeConfig) -> Api {
    api.with_drop_limits(config.drop_limits())
        .with_cors_origins(config.cors_origin.clone())
        .with_connections(config.connections.limits())
        .with_rates(config.callers.rates())
        .with_hold_caps(config.callers.hold_caps())
        .with_abuse_limits(config.callers.abuse_limits())
        .with_private_webhooks(config.events.webhook_allow_private)
}

async fn start_databases(config: &ServeConfig) -> anyhow::Result<Databases> {
    let (database_url, redis_url) =
        (config.databases.database_url()?, config.databases.redis_url()?);
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
        own_postgres: wanted.postgres,
        embedded,
    })
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}"))
}

/// Writes what is kept in memory and written now and then.
async fn note_the_last(writer: &Writer, counting: &Counting) {
    if let Err(fault) = writer.resume_points().flush().await {
        tracing::warn!(fault = fault.chain(), "resume points were not written");
    }
    if let Err(fault) = counting.tell().await {
        tracing::warn!(fault = fault.chain(), "refusals were not added up");
    }
}

/// Waits for a database that is away; gives up on one that was not prepared.
async fn start_writer(
    ledger: &Ledger,
    availability: &Availability,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Writer> {
    loop {
        let started = async {
            ledger.check_schema().await?;
            Writer::start(ledger.clone(), availability.clone()).await
        };
        match started.await {
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

/// Once asked to stop, says first that the server is not ready, and stops it after a delay.
async fn stop_after(
    asked: watch::Receiver<bool>,
    drain: Drain,
    delay: Duration,
    stop: watch::Sender<bool>,
) {
    wait(asked).await;
    drain.begin();
    tracing::info!(delay_seconds = delay.as_secs(), "not ready any more");
    tokio::time::sleep(delay).await;
    stop.send_replace(true);
}

/// Serves; once stopped, gives the calls under way a bounded time.
async fn drain_after(
    serving: impl Future<Output = ()>,
    stopped: watch::Receiver<bool>,
    config: &ServeConfig,
) {
    let grace = Duration::from_secs(config.drain_seconds);
    let expired = async {
        wait(stopped).await;
        tracing::info!("stopping; no new calls are taken");
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = serving => {}
        () = expired => tracing::warn!("calls were cut off at the end of the grace period"),
    }
}
