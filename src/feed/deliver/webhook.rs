//! Posts events to webhooks: to public addresses only, without following anybody anywhere.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use reqwest::{
    Client, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect,
};

use crate::{
    ambient,
    feed::deliver::{address::is_public, signature::signatures},
    ledger::{outbox::Failure, webhook::Webhook},
    stock::time::{Micros, SECOND, Timestamp},
};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// What is read of an answer, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;
const CONTENT: &str = "application/cloudevents+json; charset=utf-8";

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has the event.
    Delivered,
    /// It wants no more events, ever.
    Gone,
    /// It does not have it, and asks to wait so long.
    Failed(Failure, Option<Micros>),
}

/// Posts to webhooks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Post {
    client: Client,
    allow_private: bool,
}

/// The host has no address that may be called.
#[derive(Debug, thiserror::Error)]
#[error("the host has no public address")]
struct NotPublic;

struct Resolver {
    allow_private: bool,
}

impl Post {
    /// Prepares to post. `allow_private` is for tests and development: it also allows plain HTTP.
    ///
    /// # Errors
    /// There are no certificates to trust.
    pub fn new(timeout: Duration, allow_private: bool) -> Result<Post, reqwest::Error> {
        // Fails where it was done before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .https_only(!allow_private)
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .connect_timeout(timeout)
            .timeout(timeout)
            .user_agent(concat!("Stockroom/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Post { client, allow_private })
    }

    /// Posts an event once.
    pub async fn post(&self, webhook: &Webhook, event_id: &str, body: &str) -> Answer {
        if url_flaw(&webhook.url, self.allow_private).is_some() {
            return failed("the URL is not allowed", None);
        }
        let now = ambient::now();
        let seconds = now.0.div_euclid(SECOND);
        let retired = webhook.retired.iter().filter(|(_, until)| *until > now);
        let secrets = std::iter::once(&webhook.secret).chain(retired.map(|(secret, _)| secret));
        let request = self
            .client
            .post(&webhook.url)
            .header(CONTENT_TYPE, CONTENT)
            .header("webhook-id", event_id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signatures(secrets, event_id, seconds, body))
            .body(body.to_owned());
        match request.send().await {
            Ok(mut response) => {
                let status = response.status();
                let asked = response.headers().get(RETRY_AFTER);
                let asked = asked.and_then(|asked| retry_after(asked.to_str().ok()?, now));
                let mut read = 0;
                while let Ok(Some(chunk)) = response.chunk().await {
                    read += chunk.len();
                    if read > ANSWER_BYTES_MAX {
                        break;
                    }
                }
                answer(status, asked)
            }
            Err(error) => failed(told(&error), None),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public = found.filter(|address| allow_private || is_public(address.ip()));
            let public: Vec<SocketAddr> = public.collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Why this is no URL of a webhook; names are looked up when they are called. `allow_private` also allows
/// plain HTTP.
pub fn url_flaw(url: &str, allow_private: bool) -> Option<&'static str> {
    if url.len() > URL_BYTES_MAX {
        return Some("must be at most 2,048 characters");
    }
    let Ok(url) = Url::parse(url) else { return Some("is not a URL") };
    if url.scheme() != "https" && !(allow_private && url.scheme() == "http") {
        return Some("must be https");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Some("must have no user, no password and no fragment");
    }
    // What looks like a number of any form was made an address by the parser.
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
    match literal {
        Ok(address) if !allow_private && !is_public(address) => {
            Some("must not be a private address")
        }
        _ if !allow_private && is_local_name(host) => Some("must not be a local name"),
        _ => None,
    }
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.is_empty() || host == "localhost" || host.ends_with(".localhost")
}

fn answer(status: StatusCode, asked: Option<Micros>) -> Answer {
    match status {
        StatusCode::GONE => Answer::Gone,
        status if status.is_success() => Answer::Delivered,
        status => {
            let text = match status.is_redirection() {
                true => "redirects are not followed".to_owned(),
                false => format!("answered with status {}", status.as_u16()),
            };
            Answer::Failed(Failure { status: Some(status.as_u16()), text }, asked)
        }
    }
}

fn failed(text: &str, asked: Option<Micros>) -> Answer {
    Answer::Failed(Failure { status: None, text: text.to_owned() }, asked)
}

/// In words of ours: an address that was found must not reach whoever put the webhook.
fn told(error: &reqwest::Error) -> &'static str {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<NotPublic>() {
            return "the host has no public address";
        }
        source = cause.source();
    }
    match error {
        error if error.is_timeout() => "there was no answer in time",
        error if error.is_connect() => "the host could not be reached",
        _ => "the request failed",
    }
}

/// `Retry-After` of HTTP: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Micros> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(i64::from(seconds) * SECOND);
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some((at.timestamp().as_microsecond() - now.0).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https_is_a_url_of_a_webhook() {
        for (url, good) in [
            ("https://example.com/hook?shop=1", true),
            ("https://example.com:8443/", true),
            ("https://8.8.8.8/", true),
            ("https://[2606:4700:4700::1111]/", true),
            ("http://example.com/", false),
            ("ftp://example.com/", false),
            ("example.com", false),
            ("https://", false),
            ("https://user@example.com/", false),
            ("https://user:password@example.com/", false),
            ("https://example.com/#part", false),
            ("https://127.0.0.1/", false),
            ("https://127.1/", false),
            ("https://2130706433/", false),
            ("https://0x7f.1/", false),
            ("https://0177.0.0.1/", false),
            ("https://[::1]/", false),
            ("https://[::ffff:10.0.0.1]/", false),
            ("https://169.254.169.254/latest", false),
            ("https://localhost/", false),
            ("https://LOCALHOST./", false),
            ("https://a.localhost/", false),
        ] {
            assert_eq!(url_flaw(url, false).is_none(), good, "{url}");
        }
        assert!(url_flaw(&format!("https://example.com/{}", "a".repeat(2_048)), false).is_some());
        assert_eq!(url_flaw("http://127.0.0.1:8080/hook", true), None);
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_resolved() {
        let resolve = |allow_private| {
            Resolver { allow_private }.resolve("localhost".parse().expect("a name"))
        };
        assert!(resolve(false).await.is_err_and(|error| error.is::<NotPublic>()));
        assert!(resolve(true).await.is_ok_and(|mut found| found.next().is_some()));
    }

    #[test]
    fn a_receiver_may_ask_to_wait_in_seconds_or_until_a_date() {
        let now = Timestamp(784_111_777 * SECOND);
        assert_eq!(retry_after("120", now), Some(120 * SECOND));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(60 * SECOND));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:37 GMT", now), Some(0));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
