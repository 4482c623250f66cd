//! Traces: a span for each call, under the one that its caller names by W3C trace context, and one for
//! each batch, linked to the calls that it carries. They are sent to a collector by OTLP.
//!
//! Without a collector there are no spans: what is asked for on the hot path is whether there is one.
//! A collector that is away costs spans and nothing else: they wait in a bounded queue, which a thread
//! of its own empties.

use std::{
    borrow::Cow,
    future::Future,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use opentelemetry::{
    Context, ContextGuard, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{
        FutureExt as _, Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status,
        TraceContextExt as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};

/// How spans are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The collector, as `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// Share of the traces that begin here of which spans are sent, 0 to 1. Those that callers began
    /// are sent if they say so.
    pub ratio: f64,
    /// What the collector calls this service.
    pub service: String,
}

/// Sends spans for as long as it lives.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

/// A call that is traced.
#[derive(Clone, Debug)]
pub struct Traced(SpanContext);

/// The span of a call under way.
#[derive(Debug)]
pub struct CallSpan(Context);

/// Spans that wait to be sent; what comes after them is dropped.
const QUEUE_SPANS_MAX: usize = 8_192;
/// Spans of one message.
const MESSAGE_SPANS_MAX: usize = 512;
/// How often spans are sent.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// A collector that does not answer within this time is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Calls that a batch is linked to.
const LINKS_MAX: usize = 128;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();
/// Whether logs name the trace of a caller although no spans are sent.
static LOGS_NAME_TRACES: AtomicBool = AtomicBool::new(false);

/// Begins to send spans. Does not wait for the collector.
///
/// # Errors
/// The address is malformed.
pub fn start(options: &Options) -> anyhow::Result<Traces> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&options.endpoint)
        .with_timeout(ANSWER_WITHIN)
        .build()
        .context("cannot use --otlp-endpoint")?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS_MAX)
        .with_max_export_batch_size(MESSAGE_SPANS_MAX)
        .with_scheduled_delay(SEND_EVERY)
        .build();
    let resource = Resource::builder()
        .with_service_name(options.service.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(
            BatchSpanProcessor::builder(exporter).with_batch_config(config).build(),
        )
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.ratio))))
        .with_resource(resource)
        .build();
    // A second collector of one process would get nothing.
    TRACER.get_or_init(|| provider.tracer("stockroom"));
    Ok(Traces(provider))
}

/// From now on logs name the traces of callers, also where no spans are sent.
pub(super) fn name_in_logs() {
    LOGS_NAME_TRACES.store(true, Ordering::Relaxed);
}

impl Traces {
    /// Sends what waits, but does not take longer than `within`.
    pub async fn stop(self, within: Duration) {
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(within));
        match stopped.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "some spans were not sent"),
            Err(error) => tracing::warn!(%error, "spans were not sent"),
        }
    }
}

/// Begins the span of a call. `header` reads the headers of the request. `None`: nobody wants one.
pub fn begin_call(method: &str, header: impl Fn(&str) -> Option<String>) -> Option<CallSpan> {
    let tracer = TRACER.get();
    if tracer.is_none() && !LOGS_NAME_TRACES.load(Ordering::Relaxed) {
        return None;
    }
    let parent = parent_of(&header);
    let Some(tracer) = tracer else {
        return parent.map(CallSpan);
    };
    let (service, name) = method.split_once('/').unwrap_or(("", method));
    let attributes = [
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rpc.service", service.to_owned()),
        KeyValue::new("rpc.method", name.to_owned()),
    ];
    let span = SpanBuilder::from_name(method.to_owned())
        .with_kind(SpanKind::Server)
        .with_attributes(attributes)
        .start_with_context(tracer, &parent.clone().unwrap_or_default());
    Some(CallSpan(parent.unwrap_or_default().with_span(span)))
}

impl CallSpan {
    /// What is done while the guard lives is part of the call.
    pub fn enter(&self) -> ContextGuard {
        self.0.clone().attach()
    }

    /// Ends the span with what the call came to: the number and name of its code.
    pub fn end(self, number: i32, code: &'static str, failed: bool) {
        let span = self.0.span();
        if !span.is_recording() {
            return;
        }
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(number)));
        if failed {
            span.set_status(Status::error(Cow::Borrowed(code)));
        }
        span.end();
    }
}

/// The call that this task works for, if its spans are sent.
pub fn current() -> Option<Traced> {
    TRACER.get()?;
    Context::map_current(|context| {
        let span = context.span();
        let found = span.span_context();
        found.is_sampled().then(|| Traced(found.clone()))
    })
}

/// Runs a batch under a span of its own, part of the first call that it carries and linked to the
/// others; without one where no call is traced.
pub async fn of_batch<T>(
    calls: Vec<Traced>,
    partition: i16,
    commands: usize,
    batch: impl Future<Output = T>,
) -> T {
    let mut calls = calls.into_iter().map(|Traced(call)| call);
    let (Some(tracer), Some(first)) = (TRACER.get(), calls.next()) else {
        return batch.await;
    };
    let links = calls.take(LINKS_MAX).map(Link::with_context).collect();
    let attributes = [
        KeyValue::new("stockroom.partition", i64::from(partition)),
        KeyValue::new("stockroom.commands", i64::try_from(commands).unwrap_or(i64::MAX)),
    ];
    let parent = Context::new().with_remote_span_context(first);
    let mut span = SpanBuilder::from_name("batch")
        .with_kind(SpanKind::Internal)
        .with_attributes(attributes)
        .with_links(links)
        .start_with_context(tracer, &parent);
    let context = Context::new().with_remote_span_context(span.span_context().clone());
    let done = batch.with_context(context).await;
    span.end();
    done
}

/// The trace and the span of what this task works for, as logs write them.
pub(super) fn in_logs() -> Option<(String, String)> {
    Context::map_current(|context| {
        let span = context.span();
        let found = span.span_context();
        found.is_valid().then(|| (found.trace_id().to_string(), found.span_id().to_string()))
    })
}

/// The span that the caller names in its headers.
fn parent_of(header: &impl Fn(&str) -> Option<String>) -> Option<Context> {
    /// The two headers of W3C trace context.
    struct Headers([Option<String>; 2]);
    impl Extractor for Headers {
        fn get(&self, key: &str) -> Option<&str> {
            let Headers([parent, state]) = self;
            match key {
                "traceparent" => parent.as_deref(),
                "tracestate" => state.as_deref(),
                _ => None,
            }
        }

        fn keys(&self) -> Vec<&str> {
            Vec::new()
        }
    }
    let parent = header("traceparent")?;
    let headers = Headers([Some(parent), header("tracestate")]);
    let found = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    let valid = found.span().span_context().is_valid();
    valid.then_some(found)
}
