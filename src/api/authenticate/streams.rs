//! Streams last longer than the moment in which their caller was known: what was shown in the beginning
//! is looked at again and again, and a stream ends when it is good no more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Bytes,
        http::{HeaderMap, Response},
    },
};

use super::{Credential, Credentials, Known, refused::Refused};
use crate::{ambient, telemetry};

/// So long a stream may go on after its credential was taken back or has expired.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Methods of which one side or both go on sending.
const STREAMS: [&str; 5] =
    ["ApplySnapshot", "ExportPositions", "SyncMovements", "WatchAvailability", "WatchReservations"];

/// What a stream answers, for as long as its credential is good.
struct Supervised {
    inner: Body,
    /// Why it is not any more; `None`: that was told.
    refused: Option<Pin<Box<dyn Future<Output = Refused> + Send>>>,
}

/// Whether a call of a method goes on.
pub(super) fn goes_on(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| STREAMS.contains(&name))
}

/// What a call answers, and goes on to answer, until what was shown for it is refused.
///
/// # Errors
/// It was refused before the answer began.
pub(super) async fn supervised<E>(
    answer: impl Future<Output = Result<Response<Body>, E>>,
    credentials: Credentials,
    shown: Credential,
) -> Result<Result<Response<Body>, E>, Refused> {
    let mut refused: Pin<Box<dyn Future<Output = Refused> + Send>> =
        Box::pin(refusal(credentials, shown));
    tokio::select! {
        refused = &mut refused => Err(refused),
        answer = answer => Ok(answer.map(|answer| {
            answer.map(|inner| Body::new(Supervised { inner, refused: Some(refused) }))
        })),
    }
}

async fn refusal(credentials: Credentials, shown: Credential) -> Refused {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let refused = match credentials.known(&shown) {
            Known::Anybody | Known::Caller(_) => None,
            Known::Refused(refused) => Some(refused),
            Known::NotYet(pending) => pending.look_up(ambient::now()).await.err(),
        };
        match refused {
            // It was good before, and nobody has said otherwise.
            None | Some(Refused::SourceAway) => {}
            Some(refused) => return refused,
        }
    }
}

impl HttpBody for Supervised {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(refused) = &mut self.refused else { return Poll::Ready(None) };
        if let Poll::Ready(refused) = refused.as_mut().poll(context) {
            self.refused = None;
            // Its work ends here, too.
            self.inner = Body::empty();
            telemetry::credential_refused(refused.reason());
            let mut trailers = HeaderMap::new();
            let told = Status::from(refused).add_header(&mut trailers);
            return Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.refused.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::api::proto;

    #[test]
    fn the_methods_that_go_on_are_those_of_the_contract() {
        let set = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
        let methods = set.file.iter().flat_map(|file| &file.service).flat_map(|it| &it.method);
        for method in methods {
            let streams = method.server_streaming() || method.client_streaming();
            assert_eq!(streams, goes_on(method.name()), "{}", method.name());
        }
    }
}
