//! Ports of the private servers: free when chosen, remembered, and used again.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use super::{error::EmbeddedError, files};

/// Lowest port that is tried: below it live well-known services.
const PORT_MIN: u16 = 20_000;
/// Highest port that is tried: the operating systems hand out the ports above it to outgoing
/// connections, and a cluster's bus port (port + 10000) still fits.
const PORT_MAX: u16 = 32_000;

/// How many ports are tried before giving up.
const TRIES_MAX: usize = 200;

/// The remembered port if it is free, else another one, which is remembered.
pub(super) fn choose(file: &Path) -> Result<u16, EmbeddedError> {
    if let Some(port) = remembered(file).filter(|port| is_free(*port)) {
        return Ok(port);
    }
    for _ in 0..TRIES_MAX {
        let offset = u16::from_le_bytes(files::random::<2>()?) % (PORT_MAX - PORT_MIN + 1);
        let port = PORT_MIN + offset;
        if is_free(port) {
            files::replace(file, &format!("{port}\n"), 0o644, None)?;
            return Ok(port);
        }
    }
    Err(EmbeddedError::NoFreePort { min: PORT_MIN, max: PORT_MAX })
}

/// The port of the last start.
pub(super) fn remembered(file: &Path) -> Option<u16> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Whether nobody listens on the port.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
