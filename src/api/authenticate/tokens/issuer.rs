//! Where the keys of an issuer come from: a file, which is looked at every second, or an address, which
//! is asked now and then and, when a token names a key that is not known, at most every 30 s.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use reqwest::{Certificate, Client, Url, redirect};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior},
};

use super::key_set::{KeySet, KeySetError};
use crate::{config::KeySource, ledger::fault::chain};

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often an address is asked.
const ASK_EVERY: Duration = Duration::from_secs(300);
/// And at most this often, whatever tokens name.
const ASK_PAUSE: Duration = Duration::from_secs(30);
/// How long an answer may take, and a call wait for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest set of keys.
const SET_BYTES_MAX: usize = 256 * 1024;

/// The keys of an issuer, as they are now. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Issuer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: ArcSwap<KeySet>,
    asking: Mutex<Asking>,
    wanted: Arc<Notify>,
    /// Counts answers, and attempts that failed.
    asked: watch::Sender<u64>,
}

/// Whether an address is being asked.
#[derive(Debug)]
enum Asking {
    /// There is none: keys come from a file.
    Never,
    Now,
    /// Not before this time.
    NotBefore(Instant),
}

/// Why keys are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It has no keys.
    #[error("cannot use the keys of {from}")]
    Keys {
        /// A file or an address.
        from: String,
        /// Why.
        source: KeySetError,
    },
    /// The address cannot be asked.
    #[error("cannot ask {url}")]
    Address {
        /// The address.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer is too long.
    #[error("the answer of {url} is longer than 256 KiB")]
    TooLong {
        /// The address.
        url: String,
    },
}

/// Which keys, and how to get them again.
enum Origin {
    File(PathBuf),
    Address(Client, Url),
}

impl Issuer {
    /// Reads the keys, and follows them until every handle is dropped.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) async fn start(source: &KeySource) -> Result<Issuer, IssuerError> {
        let origin = Origin::of(source).await?;
        let asking = match origin {
            Origin::File(_) => Asking::Never,
            Origin::Address(..) => Asking::Now,
        };
        let issuer = Issuer(Arc::new(Inner {
            keys: ArcSwap::default(),
            asking: Mutex::new(asking),
            wanted: Arc::default(),
            asked: watch::Sender::new(0),
        }));
        match (issuer.renew(&origin).await, &origin) {
            (Err(error), Origin::File(_)) => return Err(error),
            (Err(error), Origin::Address(..)) => tell(&error),
            (Ok(_), _) => {}
        }
        // What is missing already may be asked for at once.
        issuer.asked(Duration::ZERO);
        tokio::spawn(follow(issuer.clone(), origin));
        Ok(issuer)
    }

    /// The keys as they are now.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.0.keys.load_full()
    }

    /// Waits until the issuer was asked again, if it may be asked now.
    pub(super) async fn newer_keys(&self) {
        let mut asked = self.0.asked.subscribe();
        if self.want() {
            // A time-out says that the issuer is slow: the call goes on with what is known.
            let _ = tokio::time::timeout(ANSWER_TIMEOUT, asked.changed()).await;
        }
    }

    /// Whether the issuer is being asked, now that a key is missing.
    fn want(&self) -> bool {
        let mut asking = self.0.asking.lock().unwrap_or_else(PoisonError::into_inner);
        match *asking {
            Asking::Never => false,
            Asking::Now => true,
            Asking::NotBefore(time) if time > Instant::now() => false,
            Asking::NotBefore(_) => {
                *asking = Asking::Now;
                self.0.wanted.notify_one();
                true
            }
        }
    }

    /// Notes that the issuer was asked, and is left alone for a while.
    fn asked(&self, pause: Duration) {
        let mut asking = self.0.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*asking, Asking::Never) {
            *asking = Asking::NotBefore(Instant::now() + pause);
        }
        drop(asking);
        self.0.asked.send_modify(|asked| *asked += 1);
    }

    async fn renew(&self, origin: &Origin) -> Result<(), IssuerError> {
        let bytes = origin.read().await?;
        let from = || origin.to_string();
        let read = KeySet::read(&bytes, &self.keys());
        if let Some(keys) = read.map_err(|source| IssuerError::Keys { from: from(), source })? {
            match keys.is_empty() {
                true => tracing::error!(from = from(), "there are no keys of tokens any more"),
                false => tracing::info!(from = from(), "keys of tokens were read"),
            }
            self.0.keys.store(Arc::new(keys));
        }
        Ok(())
    }
}

impl Origin {
    async fn of(source: &KeySource) -> Result<Origin, IssuerError> {
        match source {
            KeySource::File(path) => Ok(Origin::File(path.clone())),
            KeySource::Address { url, ca } => {
                // Fails where it was done before.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let failed = |source| IssuerError::Address { url: url.to_string(), source };
                let client = Client::builder()
                    .https_only(true)
                    .redirect(redirect::Policy::none())
                    .no_proxy()
                    .timeout(ANSWER_TIMEOUT)
                    .user_agent(concat!("Stockroom/", env!("CARGO_PKG_VERSION")));
                let client = match ca {
                    None => client,
                    Some(path) => {
                        let bytes = read_file(path).await?;
                        client.tls_certs_only(Certificate::from_pem_bundle(&bytes).map_err(failed)?)
                    }
                };
                Ok(Origin::Address(client.build().map_err(failed)?, url.clone()))
            }
        }
    }

    async fn read(&self) -> Result<Vec<u8>, IssuerError> {
        let (client, url) = match self {
            Origin::File(path) => return read_file(path).await,
            Origin::Address(client, url) => (client, url),
        };
        let failed = |source: reqwest::Error| {
            let source = source.without_url();
            IssuerError::Address { url: url.to_string(), source }
        };
        let answer = client.get(url.clone()).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > SET_BYTES_MAX {
                return Err(IssuerError::TooLong { url: url.to_string() });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File(path) => write!(formatter, "{}", path.display()),
            Origin::Address(_, url) => write!(formatter, "{url}"),
        }
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, IssuerError> {
    let failed = |source| IssuerError::File { path: path.display().to_string(), source };
    let size = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if size > SET_BYTES_MAX as u64 {
        return Err(failed(io::Error::other("it is larger than 256 KiB")));
    }
    tokio::fs::read(path).await.map_err(failed)
}

async fn follow(issuer: Issuer, origin: Origin) {
    let every = match origin {
        Origin::File(_) => LOOK_EVERY,
        Origin::Address(..) => ASK_EVERY,
    };
    let (inner, wanted) = (Arc::downgrade(&issuer.0), Arc::clone(&issuer.0.wanted));
    drop(issuer);
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = wanted.notified() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let issuer = Issuer(inner);
        let renewed = issuer.renew(&origin).await;
        issuer.asked(ASK_PAUSE);
        if let Err(error) = &renewed
            && !told
        {
            tell(error);
        }
        told = renewed.is_err();
    }
}

fn tell(error: &IssuerError) {
    let why = chain(error);
    tracing::error!(error = why, "keys of tokens are not renewed; the old ones are used");
}
