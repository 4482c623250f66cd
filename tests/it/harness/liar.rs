//! A Redis that lies: a wire in front of the real one that falsifies many of its answers, so that they
//! are still understood.
//!
//! What sets up a connection, and the loading of scripts, is left alone: it is the client library's
//! own business.

mod lie;
mod resp;
mod tests;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::seed::seed;
use resp::Value;

/// Of so many answers that could be falsified one is: above one in ten of all.
const LIES_PER_CENT: u32 = 25;
/// Commands whose answers are always true.
const TRUE: [&str; 6] = ["HELLO", "CLIENT", "AUTH", "SELECT", "PING", "SCRIPT"];

/// A wire to a Redis.
pub struct Liar {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    seed: u64,
    connections: AtomicU64,
    answers: AtomicU64,
    lies: AtomicU64,
}

impl Liar {
    /// Starts in front of the Redis that `redis_url` names, with the seed of this run.
    pub async fn start(redis_url: &str) -> Liar {
        Liar::start_with(redis_url, seed()).await
    }

    /// Starts with a seed: the same answers in the same order over a connection are falsified alike.
    pub async fn start_with(redis_url: &str, seed: u64) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: host_and_port(redis_url).to_owned(),
            seed,
            connections: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            lies: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(carry(client, number, Arc::clone(&accepting)));
            }
        });
        Liar { address, shared }
    }

    /// The same Redis, through the wire.
    pub fn url(&self, redis_url: &str) -> String {
        redis_url.replacen(host_and_port(redis_url), &self.address.to_string(), 1)
    }

    /// Answers so far to commands that are not always answered truly.
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::SeqCst)
    }

    /// How many of them were falsified.
    pub fn lies(&self) -> u64 {
        self.shared.lies.load(Ordering::SeqCst)
    }
}

/// Carries commands one way and answers the other until either end closes.
async fn carry(mut client: TcpStream, number: u64, shared: Arc<Shared>) {
    let Ok(mut upstream) = TcpStream::connect(&shared.upstream).await else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let mut rng = ChaCha8Rng::seed_from_u64(shared.seed);
    rng.set_stream(number);
    let (mut commands, mut answers) = (Vec::new(), Vec::new());
    // Of every command without an answer yet, whether that must be true.
    let mut waiting = VecDeque::new();
    let mut subscribed = false;
    loop {
        tokio::select! {
            read = client.read_buf(&mut commands) => {
                let Ok(1..) = read else { return };
                let mut at = 0;
                while let Some((command, length)) = resp::parse(&commands[at..]) {
                    let command = command.command();
                    waiting.push_back(TRUE.contains(&&*command));
                    // From then on answers come unasked.
                    subscribed |= command.ends_with("SUBSCRIBE");
                    at += length;
                }
                if upstream.write_all(&commands[..at]).await.is_err() {
                    return;
                }
                commands.drain(..at);
            }
            read = upstream.read_buf(&mut answers) => {
                let Ok(1..) = read else { return };
                let (mut at, mut told) = (0, Vec::new());
                while let Some((answer, length)) = resp::parse(&answers[at..]) {
                    let answer = match subscribed {
                        true => answer,
                        false => shared.tell(answer, &mut waiting, &mut rng),
                    };
                    answer.write(&mut told);
                    at += length;
                }
                answers.drain(..at);
                if client.write_all(&told).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Shared {
    fn tell(&self, answer: Value, waiting: &mut VecDeque<bool>, rng: &mut ChaCha8Rng) -> Value {
        // What nobody asked for: news of a subscription, attributes of the answer that follows.
        if matches!(answer, Value::Many(b'>' | b'|', _)) {
            return answer;
        }
        if waiting.pop_front().expect("Redis answers what it was asked") {
            return answer;
        }
        self.answers.fetch_add(1, Ordering::SeqCst);
        let lies = rng.random_range(0..100) < LIES_PER_CENT;
        match lies.then(|| lie::lie(&answer, rng)).flatten() {
            Some(lie) => {
                self.lies.fetch_add(1, Ordering::SeqCst);
                lie
            }
            None => answer,
        }
    }
}

fn host_and_port(redis_url: &str) -> &str {
    let (_, rest) = redis_url.split_once("://").expect("a URL");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    host.split(['/', '?']).next().expect("a host")
}
