//! What a connection has said, and what lies on it unread.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::{Status, body::Body, codegen::Bytes};

/// Looks between the moment at which an answer is handed out and that at which it counts as left lying.
const LOOKS: usize = 6;
/// What is handed out at once.
const PART_BYTES_MAX: usize = super::FRAME_BYTES_MAX as usize;
/// What a client of HTTP/2 says first has this length; no request over HTTP/1.1 is shorter.
const PREFACE_BYTES: usize = 24;

/// Of one connection: what was read from it, and the answers that were handed out and not yet taken, by
/// the look before.
#[derive(Debug, Default)]
pub(super) struct Flow {
    bytes_read: AtomicUsize,
    handed_out: [AtomicUsize; LOOKS + 1],
    now: AtomicUsize,
}

/// How often to look so that an answer counts as left lying after `unread_max`.
pub(super) fn look_every(unread_max: Duration) -> Duration {
    (unread_max / u32::try_from(LOOKS).unwrap_or(u32::MAX)).max(Duration::from_millis(1))
}

impl Flow {
    /// Whether it has not even said which protocol it speaks.
    pub(super) fn is_silent(&self) -> bool {
        self.bytes_read.load(Ordering::Relaxed) < PREFACE_BYTES
    }

    /// Whether an answer lies since `LOOKS` looks, of which this is one.
    pub(super) fn look(&self) -> bool {
        let next = (self.now.load(Ordering::Relaxed) + 1) % (LOOKS + 1);
        let lying = self.handed_out.get(next).is_some_and(|out| out.load(Ordering::Relaxed) > 0);
        if !lying {
            self.now.store(next, Ordering::Relaxed);
        }
        lying
    }

    fn hand_out(&self) -> usize {
        let now = self.now.load(Ordering::Relaxed);
        self.count(now).fetch_add(1, Ordering::Relaxed);
        now
    }

    fn taken(&self, at: usize) {
        self.count(at).fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&self, at: usize) -> &AtomicUsize {
        let [first, ..] = &self.handed_out;
        self.handed_out.get(at).unwrap_or(first)
    }
}

/// The body of an answer, in parts of a frame. hyper asks for one part more than the reader has room for,
/// so that only the last two of an answer can lie somewhere without being counted.
pub(super) struct Leaving {
    inner: Body,
    flow: Arc<Flow>,
    /// What is left of a part that is longer than a frame.
    rest: Bytes,
    /// Where what was handed out last is counted.
    out: Option<usize>,
}

impl Leaving {
    pub(super) fn new(inner: Body, flow: Arc<Flow>) -> Leaving {
        let out = Some(flow.hand_out());
        Leaving { inner, flow, rest: Bytes::new(), out }
    }

    /// As much of it as fits a frame; the rest comes next.
    fn cut(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        self.rest = bytes.split_off(PART_BYTES_MAX.min(bytes.len()));
        self.out = Some(self.flow.hand_out());
        Frame::data(bytes)
    }

    fn taken(&mut self) {
        if let Some(at) = self.out.take() {
            self.flow.taken(at);
        }
    }
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.taken();
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.cut(rest))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| match frame?.into_data() {
            Ok(bytes) => Ok(self.cut(bytes)),
            Err(trailers) => Ok(trailers),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.inner.size_hint() } else { SizeHint::default() }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.taken();
    }
}

/// A connection that counts what it has said.
pub(super) struct Begun<IO> {
    inner: IO,
    flow: Arc<Flow>,
}

impl<IO> Begun<IO> {
    pub(super) fn new(inner: IO, flow: Arc<Flow>) -> Begun<IO> {
        Begun { inner, flow }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Begun<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        if self.flow.is_silent() {
            let bytes = buffer.filled().len().saturating_sub(before);
            self.flow.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Begun<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_as_left_lying_after_so_many_looks_and_not_once_it_was_taken() {
        let flow = Flow::default();
        let first = flow.hand_out();
        assert!((1..LOOKS).all(|_| !flow.look()));
        let second = flow.hand_out();
        assert!(!flow.look());
        assert!(flow.look() && flow.look(), "the first lies");
        flow.taken(first);
        assert!((1..LOOKS).all(|_| !flow.look()));
        assert!(flow.look(), "the second lies");
        flow.taken(second);
        assert!((0..100).all(|_| !flow.look()));
    }
}
