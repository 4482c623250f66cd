//! Connections: how many there are, how long they live, and what one of them may cost.
//!
//! HTTP/2 itself is hyper's; what is here is what a server on the open network needs besides. A
//! connection is closed in good order (GOAWAY, then a grace in which its calls end) when it is old,
//! when the server stops, and when its reader leaves an answer lying; and at once when it does not begin.

mod flow;
mod gate;

use std::{convert::Infallible, future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, TryFutureExt as _};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rand::Rng as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::Instant,
};
use tonic::{
    body::Body,
    codegen::http::{Extensions, Request, Response},
    transport::server::Connected,
};
use tower::{Service, ServiceExt as _};

use self::flow::{Begun, Flow, Leaving};
pub(super) use self::gate::incoming;
use crate::{api::connection::ConnectionInfo, telemetry};

/// A connection that does not answer a ping within this time is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often an idle connection is pinged, so that it survives address translation.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// Calls of one connection at once; the next ones are refused by their stream, and clients wait.
const STREAMS_MAX: u32 = 200;
/// Headers of a call, and of its answer to come; larger ones end the call, endless ones the connection.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// A frame: the least that the protocol allows, so that calls take turns.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// What a client may send before it was looked at: of one call, and of all of a connection.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// What waits for the reader of one call, beyond one message.
const SEND_BYTES_MAX: usize = 256 * 1024;
/// Headers of a call over HTTP/1.
const HTTP1_BYTES_MAX: usize = 64 * 1024;
/// Calls that a client may have given up before they were looked at. Under overload many do at once, and
/// a connection with more of them is closed, with everything else on it.
const RESET_CALLS_MAX: usize = 1_000;
/// The age at which a connection ends is spread by this share, in per cent, to either side: clients that
/// came together do not come back together.
const AGE_SPREAD_PERCENT: u64 = 10;
/// Calls of a connection whose reader left an answer lying may end within this time.
const STALLED_GRACE: Duration = Duration::from_secs(5);

/// How many connections there may be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of the whole server; one more is closed as soon as it is made.
    pub connections_max: usize,
    /// From one address; of IPv6 from one network of 64 bits, which is what one customer is given.
    pub per_address_max: usize,
    /// A connection of this age is closed in good order.
    pub age_max: Duration,
    /// How long its calls may go on then.
    pub age_grace: Duration,
    /// A request message has so long to arrive; a connection that says nothing at all, too.
    pub arrival_max: Duration,
    /// A connection on which an answer lies for so long, and nothing of it is taken, is closed.
    pub unread_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            connections_max: 10_000,
            per_address_max: 1_000,
            age_max: Duration::from_secs(1_800),
            age_grace: Duration::from_secs(60),
            arrival_max: Duration::from_secs(20),
            unread_max: Duration::from_secs(60),
        }
    }
}

/// Serves every connection of `incoming` until `shutdown`; then each as long as its calls last.
pub(super) async fn serve<S, I, IO>(
    incoming: I,
    shutdown: impl Future<Output = ()>,
    service: S,
    limits: ConnectionLimits,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    I: Stream<Item = IO>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    IO::ConnectInfo: Clone + Send + Sync + 'static,
{
    let builder = builder();
    let (stop, stopped) = watch::channel(());
    {
        // Dropped before the last calls are waited for: the port is closed at once.
        let mut incoming = pin!(incoming);
        let mut shutdown = pin!(shutdown);
        loop {
            let connection = tokio::select! {
                () = &mut shutdown => break,
                connection = incoming.next() => connection,
            };
            let Some(connection) = connection else { break };
            let (builder, service) = (builder.clone(), service.clone());
            tokio::spawn(converse(connection, builder, service, stopped.clone(), limits));
        }
    }
    stop.send_replace(());
    drop(stopped);
    stop.closed().await;
}

/// Who calls, as far as an address says: what one customer is given of them.
pub(super) fn peer_of(extensions: &Extensions) -> Option<IpAddr> {
    let info = extensions.get::<ConnectionInfo>()?;
    info.tcp.remote_addr().map(|address| gate::customer(address.ip()))
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_pending_accept_reset_streams(RESET_CALLS_MAX);
    // Pages call with gRPC-Web over HTTP/1 too.
    builder.http1().timer(TokioTimer::new()).max_buf_size(HTTP1_BYTES_MAX);
    builder
}

/// One connection, until one of both sides has enough.
async fn converse<S, IO>(
    connection: IO,
    builder: Builder<TokioExecutor>,
    service: S,
    mut stopped: watch::Receiver<()>,
    limits: ConnectionLimits,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    IO::ConnectInfo: Clone + Send + Sync + 'static,
{
    let (flow, peer) = (Arc::new(Flow::default()), connection.connect_info());
    let answers = Arc::clone(&flow);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let flow = Arc::clone(&answers);
        let answer = service.clone().oneshot(request);
        answer.map_ok(move |answer| answer.map(|body| Leaving::new(body, flow)))
    });
    let connection = Begun::new(connection, Arc::clone(&flow));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let mut look = tokio::time::interval(flow::look_every(limits.unread_max));
    let since = Instant::now();
    let old = tokio::time::sleep(with_spread(limits.age_max));
    let mut old = pin!(old);
    // Until when its calls may go on, once it ends; without a bound while the server stops, which has
    // one of its own.
    let mut ending: Option<Option<Instant>> = None;
    loop {
        let grace = tokio::select! {
            ended = &mut serving => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection failed");
                }
                return;
            }
            _ = stopped.changed(), if ending.is_none() => None,
            () = &mut old, if ending.is_none() => Some(limits.age_grace),
            at = look.tick() => {
                if flow.is_silent() && since + limits.arrival_max <= at {
                    return telemetry::connection_ended("silent");
                }
                if ending.flatten().is_some_and(|end| end <= at) {
                    return telemetry::connection_ended("cut");
                }
                match flow.look() && ending.is_none() {
                    true => Some(STALLED_GRACE),
                    false => continue,
                }
            }
        };
        telemetry::connection_ended(match grace {
            None => "stopped",
            Some(STALLED_GRACE) => "stalled",
            Some(_) => "old",
        });
        ending = Some(grace.map(|grace| Instant::now() + grace));
        serving.as_mut().graceful_shutdown();
    }
}

fn with_spread(age: Duration) -> Duration {
    let share = rand::rng().random_range(100 - AGE_SPREAD_PERCENT..=100 + AGE_SPREAD_PERCENT);
    age.mul_f64(Duration::from_millis(share * 10).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_made_together_do_not_end_together() {
        let age = Duration::from_secs(1_000);
        let ages: Vec<_> = (0..100).map(|_| with_spread(age).as_secs()).collect();
        assert!(ages.iter().all(|age| (900..=1_100).contains(age)), "{ages:?}");
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(most - least > 50, "{ages:?}");
    }
}
