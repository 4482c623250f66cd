//! A wire that can be cut, slowed down or left half open, and that springs traps: it tells somebody
//! when a text is sent over it, and waits with the text until he is done.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

/// What a read takes at most.
const CHUNK_BYTES: usize = 65_536;
/// How long the far end of a half-open connection stays at least, as nobody tells it.
const FAR_END_STAYS: Duration = Duration::from_secs(6);

/// A listener in front of something that may move.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What happens to a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    /// Connections are closed, and new ones at once.
    Cut,
    /// What is sent arrives this much later.
    Delay(Duration),
}

/// Told when a trap has sprung; the text waits until this is used or dropped.
pub(super) type Sprung = oneshot::Sender<()>;

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    mode: watch::Sender<Mode>,
    /// Connections of an older generation are closed, or go dead.
    closed: watch::Sender<u64>,
    dead: watch::Sender<u64>,
    trap: Mutex<Option<Trap>>,
}

#[derive(Debug)]
struct Trap {
    text: &'static [u8],
    /// Whether the text arrives before the trap springs.
    arrives: bool,
    told: oneshot::Sender<Sprung>,
}

impl Proxy {
    /// Listens, on the loopback, in front of `upstream`.
    pub(super) async fn start(upstream: SocketAddr) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            mode: watch::Sender::new(Mode::Open),
            closed: watch::Sender::new(0),
            dead: watch::Sender::new(0),
            trap: Mutex::new(None),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, Arc::clone(&accepting)));
            }
        });
        Ok(Proxy { address, shared })
    }

    /// Connects to something else from now on; what is connected is closed.
    pub(super) fn lead_to(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
        self.close_all();
    }

    /// Closes every connection.
    pub(super) fn close_all(&self) {
        self.shared.closed.send_modify(|generation| *generation += 1);
    }

    /// Nothing arrives any more over the connections that there are, and nobody is told.
    pub(super) fn leave_half_open(&self) {
        self.shared.dead.send_modify(|generation| *generation += 1);
    }

    /// From now on.
    pub(super) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        if mode == Mode::Cut {
            self.close_all();
        }
    }

    /// Waits for the first connection that sends `text`, which is closed once the sender is used.
    pub(super) fn trap(&self, text: &'static str, arrives: bool) -> oneshot::Receiver<Sprung> {
        let (told, sprung) = oneshot::channel();
        *lock(&self.shared.trap) = Some(Trap { text: text.as_bytes(), arrives, told });
        sprung
    }

    /// Takes the trap away, if it has not sprung.
    pub(super) fn disarm(&self) {
        *lock(&self.shared.trap) = None;
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    if *shared.mode.borrow() == Mode::Cut {
        return;
    }
    let (mut closed, mut dead) = (shared.closed.subscribe(), shared.dead.subscribe());
    let address = *lock(&shared.upstream);
    let Ok(upstream) = TcpStream::connect(address).await else { return };
    // Without it small messages would wait for each other; what it costs to fail is speed.
    let _ = client.set_nodelay(true).and_then(|()| upstream.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_upstream, mut to_upstream) = upstream.into_split();
    let half_open = {
        let there = copy(&mut from_client, &mut to_upstream, &shared, true);
        let back = copy(&mut from_upstream, &mut to_client, &shared, false);
        tokio::select! {
            () = there => false,
            () = back => false,
            _ = closed.changed() => false,
            _ = dead.changed() => true,
        }
    };
    if half_open {
        let until = Instant::now() + FAR_END_STAYS;
        let mut lost = vec![0; CHUNK_BYTES];
        while let Ok(1..) = from_client.read(&mut lost).await {}
        sleep_until(until).await;
    }
}

/// Carries bytes one way until either end closes or a trap springs.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    shared: &Shared,
    traps: bool,
) {
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let Some(sent) = bytes.get(..length) else { return };
        let delay = *shared.mode.borrow();
        if let Mode::Delay(delay) = delay {
            sleep(delay).await;
        }
        let trap = if traps { shared.sprung_by(sent) } else { None };
        if trap.as_ref().is_none_or(|trap| trap.arrives) && to.write_all(sent).await.is_err() {
            return;
        }
        if let Some(trap) = trap {
            let (done, wait) = oneshot::channel();
            // Whoever armed it may have given up; the connection is closed all the same.
            if trap.told.send(done).is_ok() {
                let _ = wait.await;
            }
            return;
        }
    }
}

impl Shared {
    fn sprung_by(&self, sent: &[u8]) -> Option<Trap> {
        let mut armed = lock(&self.trap);
        let trap = armed.as_ref()?;
        let springs = sent.windows(trap.text.len()).any(|window| window == trap.text);
        armed.take_if(|_| springs)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wire to somebody who sends back what he gets, and what is said over it.
    async fn wire() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let proxy = Proxy::start(upstream).await.unwrap();
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        (proxy, stream)
    }

    /// What comes back of a text; nothing: the connection was closed.
    async fn said(stream: &mut TcpStream, text: &str) -> String {
        let mut back = vec![0; text.len()];
        let sent = stream.write_all(text.as_bytes()).await;
        match sent.and(stream.read_exact(&mut back).await.map(drop)) {
            Ok(()) => String::from_utf8(back).unwrap(),
            Err(_) => String::new(),
        }
    }

    #[tokio::test]
    async fn a_text_waits_in_a_trap_and_its_connection_is_closed() {
        let (proxy, mut stream) = wire().await;
        assert_eq!(said(&mut stream, "begin").await, "begin");
        let sprung = proxy.trap("COMMIT", false);
        assert_eq!(said(&mut stream, "insert").await, "insert");
        stream.write_all(b"COMMIT").await.unwrap();
        drop(sprung.await.unwrap());
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "it did not arrive");
        let mut next = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said(&mut next, "COMMIT").await, "COMMIT", "a trap springs once");
    }

    #[tokio::test]
    async fn what_is_cut_is_closed_and_comes_back() {
        let (proxy, mut stream) = wire().await;
        proxy.set(Mode::Cut);
        assert_eq!(said(&mut stream, "x").await, "");
        let mut closed = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said(&mut closed, "x").await, "");
        proxy.set(Mode::Open);
        let mut open = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said(&mut open, "x").await, "x");
    }

    #[tokio::test]
    async fn what_is_half_open_says_nothing_and_new_connections_do() {
        let (proxy, mut stream) = wire().await;
        assert_eq!(said(&mut stream, "x").await, "x");
        proxy.leave_half_open();
        let silent = tokio::time::timeout(Duration::from_millis(100), said(&mut stream, "x"));
        assert!(silent.await.is_err(), "neither an answer nor an end");
        let mut next = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said(&mut next, "x").await, "x");
    }
}
