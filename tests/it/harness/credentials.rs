//! Servers that ask who is calling, and callers who say it.
#![expect(clippy::disallowed_types, reason = "clients that show a credential")]

use std::sync::atomic::{AtomicU8, Ordering};

use stockroom::{
    access::{KeyText, Scope},
    api::{
        authenticate::Credentials,
        connection::tls::Tls,
        proto::{ListLocationsRequest, network_service_client::NetworkServiceClient},
    },
    config::{CredentialConfig, TlsConfig},
    ledger::{Ledger, api_key::NewApiKey},
    stock::time::Timestamp,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel as Connection,
};

use crate::harness::{
    databases,
    redis::Redis,
    secrets,
    server::{Server, migrated_database},
};

/// How a server finds out who calls; by default it does not.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    pub credentials: CredentialConfig,
    pub tls: TlsConfig,
}

/// Shows a credential with each call.
#[derive(Clone)]
pub struct Bearer(Vec<MetadataValue<Ascii>>);

/// A connection whose calls show a credential.
pub type Holder = InterceptedService<Connection, Bearer>;

impl Guard {
    /// As the program starts it.
    pub async fn start(&self, ledger: &Ledger) -> (Credentials, Option<Tls>) {
        let files = self.tls.files().unwrap();
        let terminals = files.as_ref().is_some_and(|files| files.client_ca.is_some());
        let credentials = Credentials::start(&self.credentials, terminals, ledger).await;
        let tls = match files {
            Some(files) => Some(Tls::start(files, !self.credentials.any()).await.unwrap()),
            None => None,
        };
        (credentials.unwrap(), tls)
    }

    /// Asks for API keys.
    pub fn keys() -> Guard {
        let credentials = CredentialConfig { api_keys: true, ..CredentialConfig::default() };
        Guard { credentials, ..Guard::default() }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for shown in &self.0 {
            request.metadata_mut().append("authorization", shown.clone());
        }
        Ok(request)
    }
}

impl Server {
    /// Starts on a database of its own, for known callers only.
    pub async fn start_for(guard: &Guard) -> Server {
        let url = migrated_database().await;
        let redis = Redis::of_this_run().reach(&databases::redis_url().await).await;
        Server::start_guarded(&url, &url, redis, guard).await
    }

    /// A connection whose calls show this as `authorization`.
    pub fn shows(&self, authorization: &str) -> Holder {
        shows(self.connection(), &[authorization])
    }
}

/// The same over any connection, with any number of them.
pub fn shows(connection: Connection, authorization: &[&str]) -> Holder {
    let shown = authorization.iter().map(|shown| shown.parse().unwrap());
    InterceptedService::new(connection, Bearer(shown.collect()))
}

/// What a holder is answered that lists locations.
pub async fn lists(holder: &Holder) -> Result<(), Status> {
    let request = ListLocationsRequest::default();
    NetworkServiceClient::new(holder.clone()).list_locations(request).await.map(|_| ())
}

/// What is sent for a key.
pub fn bearer(key: &KeyText) -> String {
    format!("Bearer {key}")
}

/// Makes a key with all scopes.
pub async fn key(ledger: &Ledger, name: &str, expires_at: Option<Timestamp>) -> KeyText {
    static KEYS: AtomicU8 = AtomicU8::new(1);
    let number = KEYS.fetch_add(1, Ordering::Relaxed);
    let text = KeyText::new([number; 6], [number ^ 0x5a; 32]);
    let key = NewApiKey {
        prefix: text.prefix().to_owned(),
        secret_sha256: text.secret_sha256(),
        name: name.to_owned(),
        scopes: Scope::all().map(|scope| scope.to_string()).collect(),
        location_ids: None,
        channel_ids: None,
        expires_at,
    };
    assert!(ledger.create_api_key(&key).await.unwrap());
    secrets::register(&text.to_string());
    text
}
