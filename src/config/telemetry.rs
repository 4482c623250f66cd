//! Settings of logs and traces.

use crate::telemetry::traces::Options;

/// What operators see.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryConfig {
    /// Collector that spans are sent to by OTLP over gRPC, as http://host:4317. Default: none are made
    #[arg(long, env = "STOCKROOM_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub otlp_endpoint: Option<String>,
    /// Share of the traces that begin here that are sent, from 0 to 1; callers decide on those that they
    /// began
    #[arg(long, env = "STOCKROOM_OTLP_SAMPLE_RATIO", default_value_t = 0.1, value_name = "RATIO")]
    #[arg(value_parser = ratio)]
    pub otlp_sample_ratio: f64,
    /// What the collector calls this service
    #[arg(long, env = "STOCKROOM_OTLP_SERVICE", default_value = "stockroom", value_name = "NAME")]
    pub otlp_service: String,
}

impl TelemetryConfig {
    /// How spans are sent; `None`: they are not.
    pub fn traces(&self) -> Option<Options> {
        let endpoint = self.otlp_endpoint.clone()?;
        Some(Options {
            endpoint,
            ratio: self.otlp_sample_ratio,
            service: self.otlp_service.clone(),
        })
    }
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let good = host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace));
    good.then(|| text.to_owned()).ok_or("http:// or https://, host and port")
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("a number from 0 to 1")
}
