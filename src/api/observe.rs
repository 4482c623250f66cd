//! What operators see of every call: its metrics, its span, and a line in the log where debugging is on.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
};

use rustc_hash::FxHashMap;
use tokio::time::Instant;
use tonic::{
    Code,
    body::Body,
    codegen::http::{HeaderMap, Request, Response},
};
use tower::{Layer, Service};

use crate::{
    api::{contract::services, layer::code},
    telemetry::{
        calls::{Method, code_name},
        traces::{self, CallSpan},
    },
};

/// Every method by its path.
static METHODS: LazyLock<FxHashMap<String, Arc<Method>>> = LazyLock::new(|| {
    let methods = services().iter().flat_map(|service| {
        service.methods.iter().map(|method| {
            let short = service.name.rsplit('.').next().unwrap_or_default();
            let counted = Arc::new(Method::new(format!("{short}/{method}")));
            (format!("/{}/{method}", service.name), counted)
        })
    });
    methods.collect()
});
/// Health, reflection, and what does not exist.
static OTHER: LazyLock<Arc<Method>> = LazyLock::new(|| Arc::new(Method::new("other".to_owned())));

/// Wraps everything that answers calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ObserveLayer;

/// A service that is observed.
#[derive(Clone, Debug)]
pub(crate) struct Observe<S>(S);

/// A call under way.
pub(crate) struct Observed<F> {
    inner: F,
    call: Call,
}

struct Call {
    method: Arc<Method>,
    begun: Instant,
    span: Option<CallSpan>,
    ended: bool,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe(inner)
    }
}

impl<S> Service<Request<Body>> for Observe<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = Arc::clone(METHODS.get(request.uri().path()).unwrap_or(&OTHER));
        let begun = Instant::now();
        let span = traces::begin_call(method.name(), |name| header(request.headers(), name));
        let call = Call { method, begun, span, ended: false };
        let entered = call.span.as_ref().map(CallSpan::enter);
        let inner = self.0.call(request);
        drop(entered);
        Observed { inner, call }
    }
}

impl<F, E> Future for Observed<F>
where
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let entered = self.call.span.as_ref().map(CallSpan::enter);
        let answer = ready!(Pin::new(&mut self.inner).poll(context));
        self.call.end(answer.as_ref().map_or(Code::Internal, code));
        drop(entered);
        Poll::Ready(answer)
    }
}

impl Call {
    fn end(&mut self, code: Code) {
        self.ended = true;
        let (took, number) = (self.begun.elapsed(), code as i32);
        self.method.answered(number, took);
        tracing::debug!(
            method = self.method.name(),
            code = code_name(number),
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "a call was answered"
        );
        if let Some(span) = self.span.take() {
            span.end(number, code_name(number), is_our_fault(code));
        }
    }
}

impl Drop for Call {
    /// Whoever called went away before there was an answer.
    fn drop(&mut self) {
        if !self.ended {
            self.end(Code::Cancelled);
        }
    }
}

/// Whether the server failed, and not the caller.
fn is_our_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
