//! How many calls a second a caller may make, by its credential. Who needs none is not limited: such a
//! server is for one machine, or stands behind something that knows its callers.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{Either, Ready, ready};
use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use tonic::{
    body::Body,
    codegen::http::{Request, Response},
};
use tower::{Layer, Service};

use crate::{
    access::Caller,
    api::{error::limited, overload::Kind},
    telemetry,
};

/// What has happened is the last to be limited: so many times the rate of what is asked for.
const FACTS_FACTOR: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);
/// Every so many calls callers are forgotten that have their whole allowance again.
const FORGET_EVERY: u64 = 65_536;

/// How many calls a caller may make, of those that read, that ask for stock, and that say what has
/// happened; each kind counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// A second; of those that say what has happened four times as many. None: any number.
    pub per_second: Option<NonZeroU32>,
    /// At once, after a pause; of those that say what has happened four times as many.
    pub burst: NonZeroU32,
}

impl Default for RateLimits {
    fn default() -> RateLimits {
        let thousand = |count: u32| NonZeroU32::MIN.saturating_add(1_000 * count - 1);
        RateLimits { per_second: Some(thousand(5)), burst: thousand(10) }
    }
}

/// Limits what callers may call.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateLayer(Option<Arc<Rates>>);

#[derive(Debug)]
struct Rates {
    reads: DefaultKeyedRateLimiter<String>,
    promises: DefaultKeyedRateLimiter<String>,
    facts: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    calls: AtomicU64,
}

/// A service whose callers are limited.
#[derive(Clone, Debug)]
pub(crate) struct Limited<S> {
    inner: S,
    rates: Option<Arc<Rates>>,
}

impl RateLayer {
    pub(crate) fn new(limits: RateLimits) -> RateLayer {
        let Some(per_second) = limits.per_second else { return RateLayer(None) };
        let asked = Quota::per_second(per_second).allow_burst(limits.burst);
        let told = Quota::per_second(per_second.saturating_mul(FACTS_FACTOR))
            .allow_burst(limits.burst.saturating_mul(FACTS_FACTOR));
        RateLayer(Some(Arc::new(Rates {
            reads: DefaultKeyedRateLimiter::keyed(asked),
            promises: DefaultKeyedRateLimiter::keyed(asked),
            facts: DefaultKeyedRateLimiter::keyed(told),
            clock: DefaultClock::default(),
            calls: AtomicU64::new(0),
        })))
    }
}

impl Rates {
    /// How long a call has to wait.
    fn wait(&self, caller: &Caller, path: &str) -> Option<Duration> {
        if self.calls.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            for limiter in [&self.reads, &self.promises, &self.facts] {
                limiter.retain_recent();
            }
        }
        let limiter = match Kind::of(path) {
            Kind::Read => &self.reads,
            Kind::Promise => &self.promises,
            Kind::Fact => &self.facts,
        };
        let early = limiter.check_key(&caller.id).err()?;
        Some(early.wait_time_from(self.clock.now()))
    }
}

impl<S> Layer<S> for RateLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { inner, rates: self.0.clone() }
    }
}

impl<S> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Arc<Caller>>();
        let known = self.rates.as_ref().zip(caller.filter(|caller| !caller.is_anonymous()));
        match known.and_then(|(rates, caller)| rates.wait(caller, request.uri().path())) {
            None => Either::Left(self.inner.call(request)),
            Some(wait) => {
                telemetry::call_limited("rate");
                let refused = limited("RATE_LIMITED", "too many calls of this caller", wait);
                Either::Right(ready(Ok(refused.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::{Code, Status};
    use tonic_types::StatusExt as _;

    use super::*;

    const READ: &str = "/stockroom.v1.LedgerService/GetPosition";
    const HOLD: &str = "/stockroom.v1.ReservationService/HoldStock";
    const RECORD: &str = "/stockroom.v1.MovementService/RecordMovements";

    async fn refusal(layer: &RateLayer, caller: &str, path: &str) -> Option<Status> {
        let answers = tower::service_fn(|_| async { Ok::<_, Infallible>(Response::default()) });
        let mut service = layer.layer(answers);
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        let caller = Caller { id: caller.to_owned(), ..Caller::anonymous() };
        request.extensions_mut().insert(Arc::new(caller));
        let answer = service.call(request).await.unwrap();
        Status::from_header_map(answer.headers())
    }

    #[tokio::test]
    async fn a_caller_has_its_own_rate_and_facts_are_the_last_to_be_limited() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let layer = RateLayer::new(RateLimits { per_second: Some(number(1)), burst: number(5) });
        for path in [READ, HOLD] {
            for _ in 0..5 {
                assert!(refusal(&layer, "web", path).await.is_none(), "{path}");
            }
            let refused = refusal(&layer, "web", path).await.unwrap();
            assert_eq!(refused.code(), Code::ResourceExhausted);
            assert_eq!(refused.get_details_error_info().unwrap().reason, "RATE_LIMITED");
            let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
            assert!(!wait.is_zero() && wait <= Duration::from_secs(1), "{wait:?}");
        }
        for _ in 0..20 {
            assert!(refusal(&layer, "web", RECORD).await.is_none());
            assert!(refusal(&layer, "", HOLD).await.is_none(), "nobody has no rate");
        }
        assert!(refusal(&layer, "web", RECORD).await.is_some());
        assert!(refusal(&layer, "app", HOLD).await.is_none(), "another caller");
    }

    #[tokio::test]
    async fn without_a_rate_nobody_is_limited() {
        let layer = RateLayer::new(RateLimits { per_second: None, burst: NonZeroU32::MIN });
        for _ in 0..100 {
            assert!(refusal(&layer, "web", HOLD).await.is_none());
        }
    }
}
