//! The message of a request on its way in: it has a time to arrive in, and a place to wait at.
//!
//! A call takes its seat when its first message is there: who sends byte by byte keeps nobody out. What
//! has arrived of unfinished messages is bounded for all calls together.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status, body::Body, codegen::Bytes};

use crate::api::{
    error::{overloaded, status},
    overload::Seat,
};

/// What may have arrived of messages that are not complete, of all calls together.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// What has arrived of messages that are not complete. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<AtomicUsize>);

/// The body of a request.
pub(super) struct Arriving {
    inner: Body,
    seat: Arc<Seat>,
    waiting: Waiting,
    time: Duration,
    /// Since when a message is awaited; none: nothing need come.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    message: Progress,
}

/// How far a message is.
#[derive(Debug, Default)]
struct Progress {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// What of it is still to come, once its head is there.
    rest: usize,
    arrived: usize,
}

impl Arriving {
    /// The body of a call; `now`, where its first message has to come without delay.
    pub(super) fn new(
        inner: Body,
        seat: Arc<Seat>,
        waiting: Waiting,
        (time, now): (Duration, Option<Instant>),
    ) -> Arriving {
        let (timer, message) = (None, Progress::default());
        Arriving { inner, seat, waiting, time, since: now, timer, message }
    }

    fn forget(&mut self) {
        self.waiting.0.fetch_sub(self.message.arrived, Ordering::Relaxed);
        self.message = Progress::default();
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            let before = bytes.len();
            let complete = self.message.take(&mut bytes);
            let took = before - bytes.len();
            self.message.arrived += took;
            let waiting = self.waiting.0.fetch_add(took, Ordering::Relaxed) + took;
            if complete {
                self.forget();
                (self.since, self.timer) = (None, None);
                if !self.seat.enter() {
                    return Err(overloaded());
                }
            } else if waiting > BYTES_MAX {
                return Err(overloaded());
            } else if self.since.is_none() {
                self.since = Some(Instant::now());
            }
        }
        Ok(())
    }
}

impl Progress {
    /// Takes of `bytes` what belongs to this message, and says whether it is complete.
    fn take(&mut self, bytes: &mut &[u8]) -> bool {
        while let (Some(to), Some((first, rest))) =
            (self.head.get_mut(self.head_bytes), bytes.split_first())
        {
            *to = *first;
            *bytes = rest;
            self.head_bytes += 1;
            if self.head_bytes == HEAD_BYTES {
                let [_, length @ ..] = self.head;
                self.rest = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            }
        }
        let (_, rest) = bytes.split_at(self.rest.min(bytes.len()));
        self.rest -= bytes.len() - rest.len();
        *bytes = rest;
        self.head_bytes == HEAD_BYTES && self.rest == 0
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            let taken = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(Ok(()), |bytes| this.take(bytes)),
                _ => Ok(()),
            };
            return Poll::Ready(taken.err().map(Err).or(frame));
        }
        let Some(since) = this.since else { return Poll::Pending };
        let time = this.time;
        let timer =
            this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + time)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(too_slow(time))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.forget();
    }
}

pub(crate) fn too_slow(time: Duration) -> Status {
    let seconds = time.as_secs().to_string();
    let message = format!("the message did not arrive within {seconds} s");
    status(Code::DeadlineExceeded, "MESSAGE_TOO_SLOW", message, &[("seconds", &seconds)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let length_bytes = u32::try_from(length).unwrap().to_be_bytes();
        [&[0][..], &length_bytes, &vec![7; length]].concat()
    }

    #[test]
    fn a_message_is_complete_with_its_last_byte_however_it_is_cut() {
        let sent = [message(3), message(0), message(300)].concat();
        for size in 1..sent.len() {
            let (mut progress, mut complete) = (Progress::default(), Vec::new());
            let mut seen = 0;
            for mut part in sent.chunks(size) {
                while !part.is_empty() {
                    let before = part.len();
                    let whole = progress.take(&mut part);
                    seen += before - part.len();
                    if whole {
                        complete.push(seen);
                        progress = Progress::default();
                    }
                }
            }
            assert_eq!(complete, [8, 13, 318], "in parts of {size}");
        }
    }
}
