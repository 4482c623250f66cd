//! Who is calling: turns what a call shows into a [`Caller`], or answers UNAUTHENTICATED.
//!
//! Where no source of credentials is configured everybody is the anonymous caller. One configured source
//! turns that off: from then on only health checks are answered without a credential. What is known
//! already is found without waiting, and nothing of a credential reaches a handler or a log. A stream ends
//! when its credential does.

mod keys;
pub(super) mod refused;
mod streams;
mod tokens;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{self, Either};
use tonic::{
    Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response, header::AUTHORIZATION},
};
use tower::{Layer, Service};

use self::{
    keys::Keys,
    refused::{Flaw, Refused},
    streams::{goes_on, supervised},
    tokens::{IssuerError, Tokens},
};
use crate::{
    access::{Caller, KEY_MARK, KeyText, Rule, rule_of},
    ambient,
    api::connection::{ConnectionInfo, Peer},
    config::{ConfigError, CredentialConfig},
    ledger::{Ledger, fault::Fault},
    stock::time::Timestamp,
    telemetry,
};

/// Every source of credentials of a server; by default none, so that everybody may do everything. Cheap
/// to clone.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    keys: Option<Keys>,
    tokens: Option<Tokens>,
    /// Whether clients are asked for certificates.
    terminals: bool,
}

/// Why a source of credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// API keys cannot be read.
    #[error("cannot read the API keys")]
    Keys(#[from] Fault),
    /// The keys of tokens cannot be read.
    #[error("cannot verify tokens")]
    Tokens(#[from] IssuerError),
    /// Settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What a call says of who is calling.
struct Credential {
    shown: Shown,
    peer: Option<Arc<Peer>>,
}

/// What a call shows.
#[derive(Clone)]
enum Shown {
    Nothing,
    Key(KeyText),
    Token(String),
    /// Nothing that could be taken.
    Flawed(Flaw),
}

/// Whether it is known who calls.
enum Known {
    /// Nobody in particular: nothing is asked for.
    Anybody,
    Caller(Arc<Caller>),
    Refused(Refused),
    /// Another server, or the issuer, may know of it.
    NotYet(Pending),
}

/// What must be looked up.
enum Pending {
    Key(Keys, KeyText),
    Token(Tokens, String, Option<Arc<Peer>>),
}

impl Credentials {
    /// The sources that are configured. `terminals`: clients are asked for certificates.
    ///
    /// # Errors
    /// The database of the API keys is away, or the file of the keys of tokens cannot be used.
    pub async fn start(
        config: &CredentialConfig,
        terminals: bool,
        ledger: &Ledger,
    ) -> Result<Credentials, CredentialsError> {
        let mut credentials = Credentials { terminals, ..Credentials::default() };
        if config.api_keys {
            credentials.keys = Some(Keys::start(ledger.clone()).await?);
        }
        if let Some(config) = config.tokens()? {
            credentials.tokens = Some(Tokens::start(&config).await?);
        }
        Ok(credentials)
    }

    /// Whether any source is configured, so that nobody is anonymous.
    fn any(&self) -> bool {
        self.keys.is_some() || self.tokens.is_some() || self.terminals
    }

    fn known(&self, credential: &Credential) -> Known {
        if !self.any() {
            return Known::Anybody;
        }
        let peer = credential.peer.as_ref();
        let now = ambient::now();
        let found = match (&credential.shown, &self.keys, &self.tokens) {
            (Shown::Nothing, ..) => match peer {
                Some(peer) => peer.terminal(now),
                None => Err(Refused::Missing),
            },
            (Shown::Flawed(flaw), ..) => Err(Refused::Invalid(*flaw)),
            (Shown::Key(text), Some(keys), _) => match keys.known(text, now) {
                None => return Known::NotYet(Pending::Key(keys.clone(), text.clone())),
                Some(found) => found,
            },
            (Shown::Token(token), _, Some(tokens)) => {
                match tokens.known(token, peer.map(|peer| &**peer), now) {
                    None => {
                        let pending = Pending::Token(tokens.clone(), token.clone(), peer.cloned());
                        return Known::NotYet(pending);
                    }
                    Some(found) => found,
                }
            }
            (Shown::Key(_), None, _) => Err(Refused::Invalid(Flaw::UnknownKey)),
            (Shown::Token(_), _, None) => Err(Refused::Invalid(Flaw::KeyUnknown)),
        };
        found.map_or_else(Known::Refused, Known::Caller)
    }
}

impl Credential {
    /// Takes off what a call shows, so that nothing else sees it.
    fn take(request: &mut Request<Body>) -> Credential {
        let shown = shown(request.headers());
        request.headers_mut().remove(AUTHORIZATION);
        let peer = request.extensions().get::<ConnectionInfo>();
        Credential { shown, peer: peer.and_then(|info| info.peer.clone()) }
    }
}

impl Pending {
    async fn look_up(self, now: Timestamp) -> Result<Arc<Caller>, Refused> {
        match self {
            Pending::Key(keys, text) => keys.look_up(&text, now).await,
            Pending::Token(tokens, token, peer) => {
                tokens.look_up(&token, peer.as_deref(), now).await
            }
        }
    }
}

fn shown(headers: &HeaderMap) -> Shown {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Shown::Nothing };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let token = text.and_then(|text| text.split_once(' ')).and_then(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_ascii())
    });
    match token {
        None => Shown::Flawed(Flaw::Scheme),
        Some(token) if token.starts_with(KEY_MARK) => {
            KeyText::parse(token).map_or(Shown::Flawed(Flaw::UnknownKey), Shown::Key)
        }
        Some("") => Shown::Flawed(Flaw::Scheme),
        Some(token) => Shown::Token(token.to_owned()),
    }
}

/// Wraps every service.
#[derive(Clone, Debug)]
pub(crate) struct AuthenticateLayer(pub(crate) Credentials);

/// A service whose calls have a caller in their extensions; health checks may have none.
#[derive(Clone, Debug)]
pub(crate) struct Authenticate<S> {
    inner: S,
    credentials: Credentials,
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate { inner, credentials: self.0.clone() }
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, E> Service<Request<Body>> for Authenticate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = E, Future = Answer<E>>,
    S: Clone + Send + 'static,
    E: Send + 'static,
{
    type Response = Response<Body>;
    type Error = E;
    type Future = Answer<E>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let credential = Credential::take(&mut request);
        let goes_on = goes_on(request.uri().path());
        let caller = match self.credentials.known(&credential) {
            Known::Anybody => return self.inner.call(request),
            Known::Refused(_) | Known::NotYet(_) if is_open(&request) => {
                return self.inner.call(request);
            }
            Known::Refused(refused) => return Box::pin(async move { Ok(answer(refused)) }),
            Known::Caller(caller) if !goes_on => {
                request.extensions_mut().insert(caller);
                return self.inner.call(request);
            }
            Known::Caller(caller) => Either::Left(future::ready(Ok(caller))),
            Known::NotYet(pending) => Either::Right(pending.look_up(ambient::now())),
        };
        // What was ready is the one that is here, not its clone.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let credentials = self.credentials.clone();
        Box::pin(async move {
            match caller.await {
                Ok(caller) => request.extensions_mut().insert(caller),
                Err(refused) => return Ok(answer(refused)),
            };
            let call = inner.call(request);
            if !goes_on {
                return call.await;
            }
            let answered = supervised(call, credentials, credential).await;
            answered.unwrap_or_else(|refused| Ok(answer(refused)))
        })
    }
}

fn is_open(request: &Request<Body>) -> bool {
    matches!(rule_of(request.uri().path()), Some(Rule::Open))
}

fn answer(refused: Refused) -> Response<Body> {
    telemetry::credential_refused(refused.reason());
    Status::from(refused).into_http()
}
