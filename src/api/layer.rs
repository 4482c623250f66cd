//! What every call gets: room, a deadline of its own, and details on errors that come from below.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response},
};
use tower::{Layer, Service};

use crate::api::{
    arriving::{Arriving, Waiting},
    error::{deadline_exceeded, invalid, is_limited, overloaded, status},
    overload::{Room, Seat},
};

/// The answer must leave this long before the caller stops waiting for it, or a tenth of the
/// caller's time-out if that is less. Also keeps the transport from answering CANCELLED instead.
const MARGIN_MAX: Duration = Duration::from_millis(20);

/// A call that states no time-out is given up after this time: its own work has ended long before, one
/// way or the other. Of a stream this is the time to its first headers.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(60);

/// Methods whose caller may let the first message wait; it says what happens when it happens.
const CLIENT_STREAMS: [&str; 3] = ["SyncMovements", "ApplySnapshot", "ServerReflectionInfo"];

/// When a call is given up. In the extensions of every request that states a time-out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub Instant);

/// Wraps every service.
#[derive(Clone, Debug)]
pub(crate) struct MannersLayer {
    room: Room,
    waiting: Waiting,
    arrival_max: Duration,
}

/// A service with manners.
#[derive(Clone, Debug)]
pub(crate) struct Manners<S> {
    inner: S,
    shared: MannersLayer,
}

impl MannersLayer {
    /// A message has so long to arrive.
    pub(crate) fn new(arrival_max: Duration) -> MannersLayer {
        MannersLayer { room: Room::default(), waiting: Waiting::default(), arrival_max }
    }

    /// The seat of a call, which it takes now if its messages may wait, else with its message; `None`:
    /// there is none.
    fn receive(&self, request: &mut Request<Body>) -> Option<Arc<Seat>> {
        let path = request.uri().path();
        let streams = path.rsplit('/').next().is_some_and(|name| CLIENT_STREAMS.contains(&name));
        let seat = Arc::new(self.room.seat(path));
        let is_there = if streams { seat.enter() } else { seat.is_free() };
        let since = (!streams).then(Instant::now);
        let body = std::mem::take(request.body_mut());
        let arrival = (self.arrival_max, since);
        let body = Arriving::new(body, Arc::clone(&seat), self.waiting.clone(), arrival);
        *request.body_mut() = Body::new(body);
        is_there.then_some(seat)
    }
}

impl<S> Layer<S> for MannersLayer {
    type Service = Manners<S>;

    fn layer(&self, inner: S) -> Manners<S> {
        Manners { inner, shared: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Manners<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let time = stated_timeout(request.headers());
        let deadline =
            time.map(|time| Instant::now() + time.saturating_sub(MARGIN_MAX.min(time / 10)));
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline(deadline));
        }
        let Some(seat) = self.shared.receive(&mut request) else {
            return Box::pin(async { Ok(overloaded().into_http()) });
        };
        let call = self.inner.call(request);
        let deadline = deadline.unwrap_or_else(|| Instant::now() + CALL_MAX);
        Box::pin(async move {
            let response = match tokio::time::timeout_at(deadline, call).await {
                Ok(response) => with_details(response?),
                Err(_) => deadline_exceeded().into_http(),
            };
            if !is_limited(response.extensions()) {
                seat.answered(code(&response), time);
            }
            Ok(response)
        })
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
fn stated_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = digits.parse::<u32>().ok().filter(|_| digits.len() <= 8)?;
    let seconds = |factor: u64| Duration::from_secs(u64::from(number) * factor);
    match unit {
        "H" => Some(seconds(3_600)),
        "M" => Some(seconds(60)),
        "S" => Some(seconds(1)),
        "m" => Some(Duration::from_millis(number.into())),
        "u" => Some(Duration::from_micros(number.into())),
        "n" => Some(Duration::from_nanos(number.into())),
        _ => None,
    }
}

/// What a call came to; of a stream, whether it begins.
pub(crate) fn code(response: &Response<Body>) -> Code {
    response.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

fn with_details(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(bare) if bare.code() != Code::Ok && bare.details().is_empty() => {
            explained(&bare).into_http()
        }
        _ => response,
    }
}

/// Errors of the transport know nothing of details; a message that it could not decode is the
/// caller's mistake, not ours.
pub(crate) fn explained(bare: &Status) -> Status {
    match bare.code() {
        Code::Unimplemented => status(Code::Unimplemented, "NOT_IMPLEMENTED", bare.message(), &[]),
        Code::OutOfRange | Code::ResourceExhausted => {
            invalid("MESSAGE_TOO_LARGE", "message", "must be at most 4 MiB")
        }
        Code::Internal | Code::Unknown => {
            invalid("MESSAGE_MALFORMED", "message", "is not a protobuf message of this method")
        }
        code => status(code, "TRANSPORT", bare.message(), &[]),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::api::proto;

    #[test]
    fn the_methods_whose_messages_may_wait_are_those_of_the_contract() {
        let set = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
        let methods = set.file.iter().flat_map(|file| &file.service).flat_map(|it| &it.method);
        for method in methods {
            let waits = CLIENT_STREAMS.contains(&method.name());
            assert_eq!(method.client_streaming(), waits, "{}", method.name());
        }
    }
}
