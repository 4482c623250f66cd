//! Publishes events to a message stream: NATS JetStream, which acknowledges what it has stored.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{
    ConnectOptions,
    jetstream::{self, Context, message::PublishMessage, stream},
};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    feed::deliver::{envelope::TYPE_PREFIX, webhook::Answer},
    ledger::outbox::{Failure, Undelivered},
};

/// Which stream.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// `nats://user:password@host:port`.
    pub url: String,
    /// What every subject begins with.
    pub subject_prefix: String,
    /// The stream that is created where there is none; `None`: somebody else looks after it.
    pub stream: Option<String>,
    /// So many available units, and fewer, are low; 0: never.
    pub low_units: i64,
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL has a password.
        let mut shown = f.debug_struct("StreamOptions");
        shown.field("subject_prefix", &self.subject_prefix).field("stream", &self.stream);
        shown.finish_non_exhaustive()
    }
}

/// A stream, connected to when it is needed first. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stream {
    options: Arc<StreamOptions>,
    timeout: Duration,
    context: Arc<OnceCell<Context>>,
}

impl Stream {
    /// A stream that is given so long to acknowledge.
    pub fn new(options: StreamOptions, timeout: Duration) -> Stream {
        Stream { options: Arc::new(options), timeout, context: Arc::default() }
    }

    /// So many available units, and fewer, are low to its readers.
    pub fn low_units(&self) -> i64 {
        self.options.low_units
    }

    /// Publishes an event once, and waits until it is stored.
    pub async fn publish(&self, event: &Undelivered) -> Answer {
        let published = tokio::time::timeout(self.timeout, self.try_publish(event)).await;
        let text = match published {
            Ok(Ok(())) => return Answer::Delivered,
            Ok(Err(text)) => text,
            Err(_) => "there was no answer in time",
        };
        Answer::Failed(Failure { status: None, text: text.to_owned() }, None)
    }

    async fn try_publish(&self, event: &Undelivered) -> Result<(), &'static str> {
        let context = self.context.get_or_try_init(|| self.connect()).await?;
        let subject = subject(&self.options.subject_prefix, &event.body);
        let message = PublishMessage::build()
            .message_id(&event.event_id)
            .header("content-type", "application/cloudevents+json; charset=utf-8")
            .payload(event.body.clone().into());
        let told = |error: jetstream::context::PublishError| {
            tracing::debug!(%error, "an event was not published");
            "the stream did not take it"
        };
        context.send_publish(subject, message).await.map_err(told)?.await.map_err(told)?;
        Ok(())
    }

    async fn connect(&self) -> Result<Context, &'static str> {
        // The client takes the one of the process. Fails where it was chosen before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ConnectOptions::new().name("stockroom").connection_timeout(self.timeout);
        let client = options.connect(&self.options.url).await.map_err(|error| {
            tracing::debug!(%error, "the message stream cannot be reached");
            "the message stream cannot be reached"
        })?;
        let context = jetstream::new(client);
        if let Some(name) = &self.options.stream {
            let config = stream::Config {
                name: name.clone(),
                subjects: vec![format!("{}.>", self.options.subject_prefix)],
                ..stream::Config::default()
            };
            context.get_or_create_stream(config).await.map_err(|error| {
                tracing::debug!(%error, "the stream cannot be created");
                "the stream cannot be created"
            })?;
        }
        Ok(context)
    }
}

/// The subject of an event: prefix, type and location. A location's dots become underscores, as a dot
/// begins the next part of a subject.
fn subject(prefix: &str, body: &str) -> String {
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or("_").to_owned()
    };
    let event_type = text(event.get("type"));
    let event_type = event_type.strip_prefix(TYPE_PREFIX).unwrap_or(&event_type);
    let location_id = text(event.get("data").and_then(|data| data.get("location_id")));
    format!("{prefix}.{event_type}.{}", location_id.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_type_and_location() {
        let body = r#"{"type": "stockroom.transfer.overdue", "data": {"location_id": "de.bln/1"}}"#;
        assert_eq!(subject("shop", body), "shop.transfer.overdue.de_bln/1");
        assert_eq!(subject("shop", "{}"), "shop._._");
    }
}
