//! A wire between a server and PostgreSQL that can be cut at a chosen place.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What happens to a connection over which the server sends some text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The text never arrives.
    Before,
    /// The text arrives and is answered, and the answer is lost.
    After,
    /// As `After`, and from then on PostgreSQL is down.
    AfterAndClose,
    /// The text never arrives, and the connection stays open until the proxy closes.
    Hold,
}

/// A proxy in front of PostgreSQL.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    trap: Mutex<Option<Trap>>,
    sprung: AtomicUsize,
    /// Whether connections are let through.
    open: watch::Sender<bool>,
}

#[derive(Clone)]
struct Trap {
    text: Vec<u8>,
    cut: Cut,
    times: usize,
}

impl Proxy {
    /// Starts in front of the server that `database_url` names.
    pub async fn start(database_url: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: host_and_port(database_url).to_owned(),
            trap: Mutex::new(None),
            sprung: AtomicUsize::new(0),
            open: watch::Sender::new(true),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, Arc::clone(&accepting)));
            }
        });
        Proxy { address, shared }
    }

    /// The same database, through the proxy.
    pub fn url(&self, database_url: &str) -> String {
        let direct = host_and_port(database_url);
        database_url.replacen(direct, &self.address.to_string(), 1)
    }

    /// From now on, does this to the next `times` connections that send `text`.
    pub fn trap(&self, text: &str, cut: Cut, times: usize) {
        let trap = Trap { text: text.as_bytes().to_vec(), cut, times };
        *self.shared.trap.lock().unwrap() = Some(trap);
    }

    /// How many connections were trapped.
    pub fn sprung(&self) -> usize {
        self.shared.sprung.load(Ordering::SeqCst)
    }

    /// Cuts every connection and takes no new one, as if PostgreSQL were down.
    pub fn close(&self) {
        self.shared.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }
}

impl Shared {
    fn springs(&self, sent: &[u8]) -> Option<Cut> {
        let mut armed = self.trap.lock().unwrap();
        let trap = armed.as_mut()?;
        if !sent.windows(trap.text.len()).any(|window| window == trap.text) {
            return None;
        }
        let cut = trap.cut;
        trap.times -= 1;
        if trap.times == 0 {
            *armed = None;
        }
        self.sprung.fetch_add(1, Ordering::SeqCst);
        Some(cut)
    }
}

/// Carries bytes both ways until either end closes or the wire is cut.
async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let mut open = shared.open.subscribe();
    if !*open.borrow() {
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(&shared.upstream).await else { return };
    let (mut to_upstream, mut to_client) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut to_upstream) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &to_upstream[..length];
                match shared.springs(sent) {
                    None => {}
                    Some(Cut::Before) => return,
                    Some(Cut::Hold) => return shut(&mut open).await,
                    Some(cut) => {
                        upstream.write_all(sent).await.unwrap();
                        // The answer says that it has happened.
                        let _ = upstream.read(&mut to_client).await;
                        if cut == Cut::AfterAndClose {
                            shared.open.send_replace(false);
                        }
                        return;
                    }
                }
                if upstream.write_all(sent).await.is_err() {
                    return;
                }
            }
            read = upstream.read(&mut to_client) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&to_client[..length]).await.is_err() {
                    return;
                }
            }
            () = shut(&mut open) => return,
        }
    }
}

async fn shut(open: &mut watch::Receiver<bool>) {
    // The proxy is gone together with the test.
    let _ = open.wait_for(|open| !open).await;
}

fn host_and_port(database_url: &str) -> &str {
    let (_, rest) = database_url.split_once("://").expect("a URL");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    host.split(['/', '?']).next().expect("a host")
}
