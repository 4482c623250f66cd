//! A connection to Redis that fails at once while Redis is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo as _, Pipeline, RedisError, Script,
    ScriptInvocation, ServerErrorKind, TlsCertificates, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use tokio::time::Instant;

use super::{
    fault::{Fault, Kind},
    wire::Wire,
};

/// After a fault Redis counts as away for this long: calls do not wait one after the other.
const AWAY: Duration = Duration::from_millis(250);
/// Redis that did not answer for this long is gone, and not only slow.
const GONE_AFTER: Duration = Duration::from_secs(1);
/// Nobody insists for longer, even where others are answered now and then.
const INSIST_MAX: Duration = Duration::from_secs(3);
/// Between two calls of somebody who insists.
const INSIST_PAUSE: Duration = Duration::from_millis(20);
/// A connection that takes longer counts as none.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// One multiplexed connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    wire: Wire,
    breaker: Arc<Breaker>,
}

impl Connection {
    /// Connects when it is needed first. An answer that takes longer than `answer_within` counts as
    /// none. Only who is certified by the `authorities` is believed; `None`: by those of the system.
    #[cfg_attr(
        not(feature = "simulation"),
        expect(clippy::useless_conversion, reason = "there the wire is the manager itself")
    )]
    pub(super) fn new(
        url: &str,
        authorities: Option<&[u8]>,
        answer_within: Duration,
    ) -> Result<Connection, RedisError> {
        // Redis' client takes the one of the process. Fails where it was chosen before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let info = url.into_connection_info()?;
        // Nobody need know the library, and a user with few rights may not say it.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(settings);
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = match authorities {
            None => Client::open(info)?,
            Some(pem) => {
                let root_cert = Some(pem.to_vec());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })?
            }
        };
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(answer_within));
        let manager = ConnectionManager::new_lazy_with_config(client, config)?;
        Ok(Connection { wire: manager.into(), breaker: Arc::new(Breaker::new()) })
    }

    /// Leads to a server that is simulated.
    #[cfg(feature = "simulation")]
    pub(super) fn simulated(
        server: Arc<dyn super::wire::Server>,
        answer_within: Duration,
    ) -> Connection {
        let wire = Wire::Simulated(server, answer_within);
        Connection { wire, breaker: Arc::new(Breaker::new()) }
    }

    /// Sends one command.
    pub(super) async fn command(&self, doing: &'static str, command: &Cmd) -> Result<Value, Fault> {
        self.guard(doing, async |mut wire| command.query_async(&mut wire).await).await
    }

    /// Calls one script.
    pub(super) async fn call(
        &self,
        doing: &'static str,
        call: &ScriptInvocation<'_>,
    ) -> Result<Value, Fault> {
        self.guard(doing, async |mut wire| call.invoke_async(&mut wire).await).await
    }

    /// As [`Connection::call`], again and again until Redis answers or is gone: without it nobody knows
    /// what is held, so that what it is only slow to say should not be done without. The script must
    /// have no second effect.
    pub(super) async fn insist(
        &self,
        doing: &'static str,
        call: &ScriptInvocation<'_>,
    ) -> Result<Value, Fault> {
        let begin = Instant::now();
        loop {
            match self.call(doing, call).await {
                Err(fault)
                    if fault.kind == Kind::Away
                        && !self.breaker.is_gone()
                        && begin.elapsed() < INSIST_MAX =>
                {
                    tokio::time::sleep(INSIST_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }

    /// Calls a script several times in one round trip.
    pub(super) async fn call_all(
        &self,
        doing: &'static str,
        script: &Script,
        calls: &[ScriptInvocation<'_>],
    ) -> Result<Vec<Value>, Fault> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.invoke_script(call);
        }
        let send = async |mut wire: Wire| match pipeline.query_async(&mut wire).await {
            Err(error) if is_unknown_script(&error) => {
                script.prepare_invoke().load_async(&mut wire).await?;
                pipeline.query_async(&mut wire).await
            }
            answered => answered,
        };
        self.guard(doing, send).await
    }

    async fn guard<T>(
        &self,
        doing: &'static str,
        send: impl AsyncFnOnce(Wire) -> Result<T, RedisError>,
    ) -> Result<T, Fault> {
        if !self.breaker.lets_through() {
            return Err(Fault::away(doing));
        }
        let answered = send(self.wire.clone()).await;
        let refused = matches!(&answered, Err(error) if error.is_connection_refusal());
        let answered = answered.map_err(|source| Fault::redis(doing, source));
        match &answered {
            Err(fault) if fault.kind == Kind::Away => self.breaker.trip(refused),
            _ => self.breaker.reset(),
        }
        answered
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Lets nothing through for a while after a fault, then one call that decides.
#[derive(Debug)]
struct Breaker {
    begin: Instant,
    /// Microseconds after `begin`; 0: not away.
    away_until: AtomicU64,
    /// From when on it counts as gone if nothing changes; 0: not away.
    gone_from: AtomicU64,
}

impl Breaker {
    fn new() -> Breaker {
        let (away_until, gone_from) = (AtomicU64::new(0), AtomicU64::new(0));
        Breaker { begin: Instant::now(), away_until, gone_from }
    }

    fn lets_through(&self) -> bool {
        let until = self.away_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        // Whoever moves the end is the one that tries.
        let relaxed = Ordering::Relaxed;
        self.after(Duration::ZERO) >= until
            && self.away_until.compare_exchange(until, self.after(AWAY), relaxed, relaxed).is_ok()
    }

    fn is_gone(&self) -> bool {
        let from = self.gone_from.load(Ordering::Relaxed);
        from != 0 && self.after(Duration::ZERO) >= from
    }

    /// Where nobody listens there is nothing to wait for.
    fn trip(&self, refused: bool) {
        let relaxed = Ordering::Relaxed;
        self.away_until.store(self.after(AWAY), relaxed);
        match refused {
            true => self.gone_from.store(1, relaxed),
            false => {
                // The first fault counts; it does not matter who is the first of several.
                let _ =
                    self.gone_from.compare_exchange(0, self.after(GONE_AFTER), relaxed, relaxed);
            }
        }
    }

    fn reset(&self) {
        if self.away_until.load(Ordering::Relaxed) != 0 {
            self.away_until.store(0, Ordering::Relaxed);
            self.gone_from.store(0, Ordering::Relaxed);
        }
    }

    fn after(&self, span: Duration) -> u64 {
        u64::try_from((self.begin.elapsed() + span).as_micros()).unwrap_or(u64::MAX)
    }
}
