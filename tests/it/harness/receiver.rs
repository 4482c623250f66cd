//! A receiver of webhooks that keeps what it is sent and answers as a test says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::HeaderMap, response::Response, routing::any};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use stockroom::{
    api::proto::{
        EventType, GetWebhookRequest, PutWebhookRequest, Webhook, WebhookProgress,
        event_service_client::EventServiceClient,
    },
    feed::deliver::{Delivery, Options, backoff::Backoff},
};
use tokio::net::TcpListener;
use tonic::transport::Channel as Connection;

use crate::harness::server::{Server, eventually};

/// What was sent.
#[derive(Clone, Debug)]
pub struct Received {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub content_type: String,
    pub body: String,
    /// The body as JSON.
    pub event: Value,
}

/// How it is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub delay: Duration,
}

type Behaviour = Box<dyn FnMut(&Received) -> Reply + Send>;

/// A receiver, for as long as it lives.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), delay: Duration::ZERO }
    }
}

impl Received {
    /// The type, without what all begin with.
    pub fn kind(&self) -> &str {
        let kind = self.event["type"].as_str().unwrap();
        kind.strip_prefix("stockroom.").unwrap()
    }

    pub fn data(&self) -> &Value {
        &self.event["data"]
    }

    /// Checks it as the specification of Standard Webhooks says: how many of the signatures are this
    /// secret's.
    pub fn signed_by(&self, secret: &str) -> usize {
        let secret = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.body).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.signature.split(' ').filter(|signature| **signature == expected).count()
    }
}

impl Receiver {
    /// Takes everything.
    pub async fn start() -> Receiver {
        Receiver::start_as(|_| Reply::status(204)).await
    }

    pub async fn start_as(behaviour: impl FnMut(&Received) -> Reply + Send + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let receiver = Receiver {
            url: format!("http://{address}/hook"),
            received: Arc::default(),
            behaviour: Arc::new(Mutex::new(Box::new(behaviour))),
        };
        let own = receiver.clone();
        let routes = Router::new().fallback(any(move |headers: HeaderMap, body: Bytes| {
            let own = own.clone();
            async move { own.take(&headers, &body).await }
        }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        receiver
    }

    /// From now on it answers like this.
    pub fn behave(&self, behaviour: impl FnMut(&Received) -> Reply + Send + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let header =
            |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let received = Received {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            content_type: header("content-type"),
            event: serde_json::from_str(&body).unwrap(),
            body,
        };
        let reply = (self.behaviour.lock().unwrap())(&received);
        self.received.lock().unwrap().push(received);
        tokio::time::sleep(reply.delay).await;
        let mut response = Response::builder().status(reply.status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        response.body(axum::body::Body::empty()).unwrap()
    }

    /// Everything so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The types of everything so far.
    pub fn kinds(&self) -> Vec<String> {
        self.received().iter().map(|received| received.kind().to_owned()).collect()
    }

    /// Waits until it was sent so many.
    pub async fn wait_for(&self, number: usize) -> Vec<Received> {
        self.wait_until(&format!("{number} events"), |received| received.len() >= number).await
    }

    pub async fn wait_until(
        &self,
        what: &str,
        seen: impl Fn(&[Received]) -> bool,
    ) -> Vec<Received> {
        eventually(what, || async {
            let received = self.received();
            seen(&received).then_some(received)
        })
        .await
    }
}

/// Options with which nothing takes long.
pub fn quick() -> Options {
    let backoff = Backoff { attempts_max: 3, first: 20_000, longest: 100_000 };
    Options { backoff, timeout: Duration::from_secs(2), allow_private: true, ..Options::default() }
}

/// A webhook that wants these types; none: all.
pub fn webhook(webhook_id: &str, url: &str, event_types: &[EventType]) -> Webhook {
    Webhook {
        webhook_id: webhook_id.to_owned(),
        url: url.to_owned(),
        event_types: event_types.iter().map(|wanted| *wanted as i32).collect(),
        ..Webhook::default()
    }
}

impl Server {
    pub fn events(&self) -> EventServiceClient<Connection> {
        EventServiceClient::new(self.connection())
    }

    /// Puts a webhook; its secret, if it is new.
    pub async fn put_webhook(&self, webhook: Webhook) -> String {
        let request = PutWebhookRequest { webhook: Some(webhook), ..Default::default() };
        self.events().put_webhook(request).await.unwrap().into_inner().secret
    }

    /// Begins to send events.
    pub fn deliver(&self) -> Delivery {
        Delivery::start(self.ledger.clone(), quick()).unwrap()
    }

    pub async fn progress(&self, webhook_id: &str) -> WebhookProgress {
        let request = GetWebhookRequest { webhook_id: webhook_id.to_owned() };
        self.events().get_webhook(request).await.unwrap().into_inner().progress.unwrap()
    }
}
