//! Settings that contradict each other, or that nobody should have in earnest.

use crate::{cli::doctor::finding::Finding, config::ServeConfig};

/// Looks at the settings of a server.
pub(super) fn check(config: &ServeConfig) -> Vec<Finding> {
    let mut findings = vec![address("--listen", config.listen().map(Some))];
    findings.push(match config.http_listen() {
        Ok(None) => Finding::warning(
            "--http-listen",
            "is not set".to_owned(),
            "nothing tells of metrics and readiness, so that no alert can go off",
            "give it an address that Prometheus reaches, such as 127.0.0.1:9090",
        ),
        set => address("--http-listen", set),
    });
    if let Err(error) = config.tls.files() {
        findings.push(Finding::error(
            "--tls-certificate",
            error.to_string(),
            "the server does not start",
            "give the certificate and its key, or neither",
        ));
    }
    if config.insecure {
        findings.push(Finding::warning(
            "--insecure",
            "is set".to_owned(),
            "whoever reaches the network reads and changes everything",
            "configure TLS, or listen on loopback",
        ));
    }
    if config.drain_seconds == 0 {
        findings.push(Finding::warning(
            "--drain-seconds",
            "is 0".to_owned(),
            "calls under way are cut off when the server is stopped",
            "give them 10 seconds",
        ));
    }
    findings.extend(events(config));
    findings
}

fn events(config: &ServeConfig) -> Vec<Finding> {
    let events = &config.events;
    let mut findings = Vec::new();
    if u64::from(events.event_retry_ms) > u64::from(events.event_retry_max_seconds) * 1_000 {
        findings.push(Finding::warning(
            "--event-retry-ms",
            "is longer than --event-retry-max-seconds".to_owned(),
            "the pause before the second attempt is cut to the longest one",
            "make one shorter or the other longer",
        ));
    }
    let of_nats = events.nats_stream.is_some() || events.nats_low_stock_units > 0;
    let unnamed = events.nats_url.is_none() && events.nats_url_file.is_none();
    if unnamed && of_nats {
        findings.push(Finding::warning(
            "--nats-url",
            "is not set, but other settings of NATS are".to_owned(),
            "they have no effect: nothing is published",
            "set it, or leave the others out",
        ));
    }
    if events.webhook_allow_private {
        findings.push(Finding::warning(
            "--webhook-allow-private",
            "is set".to_owned(),
            "whoever may make webhooks reaches addresses of your own network, in plain text",
            "leave it to tests and development",
        ));
    }
    findings
}

fn address<A: ToString, E: std::error::Error>(
    check: &'static str,
    set: Result<Option<A>, E>,
) -> Finding {
    match set {
        Ok(address) => {
            let what =
                address.map_or_else(|| "is not set".to_owned(), |address| address.to_string());
            Finding::ok(check, what)
        }
        Err(error) => Finding::error(
            check,
            error.to_string(),
            "the server does not start",
            "give it an address and a port, and encrypt what is not on loopback",
        ),
    }
}
