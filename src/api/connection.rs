//! Connections as they come in: plain, or TLS after its handshake.
//!
//! Handshakes run beside the loop that accepts, so that a slow one keeps nobody waiting; they have a
//! time limit, and while too many are under way the oldest makes room for the newest.

mod peer;
pub mod tls;

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _, future::Either, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::AbortHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

pub(crate) use self::peer::Peer;
use self::tls::Tls;
use crate::telemetry;

/// Handshakes that may be under way.
const HANDSHAKES_MAX: usize = 512;
/// How long one may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that wait to be served: the loop that serves takes them at once.
const WAITING_MAX: usize = 64;

/// What is served on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// gRPC and gRPC-Web; clients may be asked for a certificate.
    Grpc,
    /// HTTP/1.1 for probes and metrics; clients are asked for none.
    Http,
}

/// A connection that can be served.
#[derive(Debug)]
pub(crate) enum Connection<IO> {
    /// Nothing is encrypted.
    Plain(IO),
    /// After its handshake, with what the client showed.
    Tls(Box<TlsStream<IO>>, Option<Arc<Peer>>),
}

/// What a call knows of its connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    /// Both its addresses.
    pub(crate) tcp: TcpConnectInfo,
    /// The certificate of the client, if it showed one.
    pub(crate) peer: Option<Arc<Peer>>,
}

/// Connections for gRPC, in plain text or after their handshakes.
pub(super) fn grpc<S, IO>(accepted: S, tls: Option<Tls>) -> impl Stream<Item = Connection<IO>>
where
    S: Stream<Item = IO> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match tls {
        None => Either::Left(accepted.map(Connection::Plain)),
        Some(tls) => Either::Right(shaken(accepted, tls, Protocol::Grpc)),
    }
}

/// Connections for HTTP after their handshakes.
pub(super) struct Https {
    address: Option<SocketAddr>,
    connections: Pin<Box<dyn Stream<Item = Connection<TcpStream>> + Send>>,
}

impl Https {
    /// Those of a listener.
    pub(super) fn new(listener: TcpListener, tls: Tls) -> Https {
        let address = listener.local_addr().ok();
        let accepted = stream::unfold(listener, |mut listener| async move {
            // Failures are logged, and waited out.
            let (stream, _) = axum::serve::Listener::accept(&mut listener).await;
            Some((stream, listener))
        });
        Https { address, connections: Box::pin(shaken(accepted, tls, Protocol::Http)) }
    }
}

impl axum::serve::Listener for Https {
    type Io = Connection<TcpStream>;
    type Addr = Option<SocketAddr>;

    async fn accept(&mut self) -> (Connection<TcpStream>, Option<SocketAddr>) {
        match self.connections.next().await {
            Some(connection) => (connection, self.address),
            // Nobody accepts any more: the runtime is ending.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.address)
    }
}

/// What was accepted, as soon as its handshake is done, for as long as somebody takes it.
fn shaken<S, IO>(accepted: S, tls: Tls, protocol: Protocol) -> impl Stream<Item = Connection<IO>>
where
    S: Stream<Item = IO> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connections) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let mut accepted = pin!(accepted);
        let mut handshakes: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = tokio::select! {
                biased;
                () = sender.closed() => return,
                stream = accepted.next() => stream,
            };
            let Some(stream) = stream else { return };
            make_room(&mut handshakes);
            let task = tokio::spawn(shake_hands(tls.clone(), protocol, stream, sender.clone()));
            handshakes.push_back(task.abort_handle());
        }
    });
    ReceiverStream::new(connections)
}

fn make_room(handshakes: &mut VecDeque<AbortHandle>) {
    while handshakes.front().is_some_and(AbortHandle::is_finished) {
        handshakes.pop_front();
    }
    if handshakes.len() >= HANDSHAKES_MAX {
        handshakes.retain(|handshake| !handshake.is_finished());
    }
    if handshakes.len() >= HANDSHAKES_MAX
        && let Some(oldest) = handshakes.pop_front()
    {
        oldest.abort();
        telemetry::handshake_failed("late");
    }
}

async fn shake_hands<IO: AsyncRead + AsyncWrite + Unpin>(
    tls: Tls,
    protocol: Protocol,
    stream: IO,
    sender: mpsc::Sender<Connection<IO>>,
) {
    let acceptor = TlsAcceptor::from(tls.settings(protocol));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates();
            let peer = chain.and_then(|chain| Peer::new(chain, tls)).map(Arc::new);
            // An error says that the server is stopping.
            let _ = sender.send(Connection::Tls(Box::new(stream), peer)).await;
        }
        Ok(Err(error)) => {
            telemetry::handshake_failed("refused");
            tracing::debug!(%error, "a handshake failed");
        }
        Err(_) => telemetry::handshake_failed("late"),
    }
}

impl<IO: Connected<ConnectInfo = TcpConnectInfo>> Connected for Connection<IO> {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        match self {
            Connection::Plain(stream) => ConnectionInfo { tcp: stream.connect_info(), peer: None },
            Connection::Tls(stream, peer) => {
                ConnectionInfo { tcp: stream.get_ref().0.connect_info(), peer: peer.clone() }
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Connection::Tls(stream, _) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Connection::Tls(stream, _) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Connection::Tls(stream, _) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Connection::Plain(stream) => stream.is_write_vectored(),
            Connection::Tls(stream, _) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_flush(context),
            Connection::Tls(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Connection::Tls(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
