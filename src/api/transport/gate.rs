//! How many connections there are, from whom.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, stream};
use rustc_hash::FxHashMap;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::ConnectionLimits;
use crate::telemetry;

/// How long to wait when no connection can be accepted: mostly there is no descriptor left, and those
/// that there are go on.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Counts connections.
#[derive(Debug)]
struct Gate {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// Of addresses that have any.
    by_address: FxHashMap<IpAddr, usize>,
}

/// That a connection counts; until it is dropped.
#[derive(Debug)]
struct Pass {
    gate: Arc<Gate>,
    address: IpAddr,
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    stream: TcpStream,
    _pass: Pass,
}

/// The connections of a listener, as many as there may be; the others are closed.
pub(crate) fn incoming(
    listener: TcpListener,
    limits: ConnectionLimits,
) -> impl Stream<Item = Admitted> {
    let gate = Arc::new(Gate { limits, open: Mutex::default() });
    stream::unfold((listener, gate), |(listener, gate)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let Some(pass) = gate.admit(address.ip()) else {
                        telemetry::connection_ended("too_many");
                        continue;
                    };
                    // Without it answers wait for acknowledgements; nothing is wrong besides.
                    let _ = stream.set_nodelay(true);
                    return Some((Admitted { stream, _pass: pass }, (listener, gate)));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

impl Gate {
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Pass> {
        let address = customer(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let there = open.by_address.get(&address).copied().unwrap_or_default();
        if open.all >= self.limits.connections_max || there >= self.limits.per_address_max {
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, there + 1);
        Some(Pass { gate: Arc::clone(self), address })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(there) = open.by_address.get_mut(&self.address) {
            *there -= 1;
            if *there == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// What one customer is given: an address, or a network of 64 bits.
pub(crate) fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
    }
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_from_one_address_and_in_all_and_forgotten_when_they_end() {
        let limits =
            ConnectionLimits { connections_max: 3, per_address_max: 2, ..Default::default() };
        let gate = Arc::new(Gate { limits, open: Mutex::default() });
        let admit = |address: &str| gate.admit(address.parse().unwrap());
        let one = admit("2001:db8::1").unwrap();
        let two = admit("2001:db8::ffff:2").unwrap();
        assert!(admit("2001:db8::3").is_none(), "the same network");
        let other = admit("::ffff:192.0.2.1").unwrap();
        assert!(admit("192.0.2.2").is_none(), "the server has enough");
        drop((one, two));
        let again = admit("192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none(), "however it is written");
        drop((other, again));
        let open = gate.open.lock().unwrap();
        assert_eq!((open.all, open.by_address.len()), (0, 0));
    }
}
