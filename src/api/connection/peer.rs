//! The certificate that a client showed in its handshake, and the terminal that it names.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustls::{CertificateError, Error as TlsError, pki_types::CertificateDer};
use sha2::{Digest as _, Sha256};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::{
    access::{Caller, Reach, Scope, Scopes, Terminal},
    api::{
        authenticate::refused::{Flaw, Refused},
        connection::tls::Tls,
    },
    stock::{
        ids::{ID_BYTES_MAX, is_identifier},
        time::{SECOND, Timestamp},
    },
};

/// What a subject alternative name of a terminal begins with; location and device follow.
const TERMINAL_URI: &str = "stockroom://terminal/";

/// What a terminal may do. It sees its own location only, and reports as itself.
const TERMINAL_SCOPES: Scopes = Scopes::of(&[
    Scope::MovementsWrite,
    Scope::CountsWrite,
    Scope::CorrectionsWrite,
    Scope::LedgerRead,
    Scope::AvailabilityRead,
    Scope::HoldsWrite,
    Scope::ReservationsRead,
    Scope::ReservationsWrite,
    Scope::ReservationsFulfil,
    Scope::NetworkRead,
]);

/// A client with a certificate for which an authority vouched in the handshake.
#[derive(Debug)]
pub(crate) struct Peer {
    chain: Vec<CertificateDer<'static>>,
    sha256: [u8; 32],
    not_after: Timestamp,
    terminal: Option<Arc<Caller>>,
    tls: Tls,
    /// The generation of the authorities that vouched for it last.
    verified_by: AtomicU64,
}

impl Peer {
    /// Reads a chain that was verified; `None`: it cannot be read.
    pub(super) fn new(chain: &[CertificateDer<'_>], tls: Tls) -> Option<Peer> {
        let end_entity = chain.first()?;
        let (_, certificate) = X509Certificate::from_der(end_entity).ok()?;
        let terminal = terminal(&certificate);
        let not_after = certificate.validity().not_after.timestamp();
        Some(Peer {
            sha256: Sha256::digest(end_entity).into(),
            not_after: Timestamp(not_after.saturating_mul(SECOND)),
            terminal: terminal.map(|terminal| Arc::new(caller(terminal))),
            chain: chain.iter().map(|part| part.clone().into_owned()).collect(),
            tls,
            // Whatever changed since the handshake began is looked at with the first call.
            verified_by: AtomicU64::new(0),
        })
    }

    /// SHA-256 of the certificate, to which tokens may be bound.
    pub(crate) fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The terminal that it names, as long as the authorities vouch for it.
    pub(crate) fn terminal(&self, now: Timestamp) -> Result<Arc<Caller>, Refused> {
        self.check(now)?;
        self.terminal.clone().ok_or(Refused::Invalid(Flaw::NoTerminal))
    }

    /// Whether the certificate is still good: a connection may outlive it, or be open when it is taken
    /// back.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), Refused> {
        if now > self.not_after {
            return Err(Refused::Expired);
        }
        let generation = self.tls.generation();
        if self.verified_by.load(Ordering::Relaxed) == generation {
            return Ok(());
        }
        let (end_entity, intermediates) =
            self.chain.split_first().ok_or(Refused::Invalid(Flaw::Certificate))?;
        match self.tls.verify(end_entity, intermediates) {
            Ok(_) => {
                self.verified_by.store(generation, Ordering::Relaxed);
                Ok(())
            }
            Err(TlsError::InvalidCertificate(CertificateError::Revoked)) => Err(Refused::Revoked),
            Err(_) => Err(Refused::Invalid(Flaw::Certificate)),
        }
    }
}

fn caller(terminal: Terminal) -> Caller {
    Caller {
        id: format!("{}/{}", terminal.location_id, terminal.device_id),
        scopes: TERMINAL_SCOPES,
        locations: Reach::only([terminal.location_id.as_str()]),
        channels: Reach::All,
        terminal: Some(terminal),
    }
}

/// The terminal that a certificate names; `None`: none, or more than one.
fn terminal(certificate: &X509Certificate<'_>) -> Option<Terminal> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut terminals = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(TERMINAL_URI),
        _ => None,
    });
    let only = terminals.next().filter(|_| terminals.next().is_none())?;
    terminal_of(only)
}

/// `<location>/<device>`, in which everything may stand as `%XX`, and a slash must.
fn terminal_of(text: &str) -> Option<Terminal> {
    let (location, device) = text.split_once('/')?;
    let terminal = Terminal { location_id: decoded(location)?, device_id: decoded(device)? };
    let bytes = terminal.location_id.len() + 1 + terminal.device_id.len();
    (bytes <= ID_BYTES_MAX).then_some(terminal)
}

fn decoded(text: &str) -> Option<String> {
    let mut id = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '/' => return None,
            '%' => {
                let mut digit = || rest.next()?.to_digit(16);
                let code = digit()? * 16 + digit()?;
                id.push(char::from_u32(code)?);
            }
            other => id.push(other),
        }
    }
    is_identifier(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_read_from_its_uri() {
        let read = |text: &str| terminal_of(text).map(|t| (t.location_id, t.device_id));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(read("berlin-1/till-7"), pair("berlin-1", "till-7"));
        assert_eq!(read("de%2Fberlin:1/till%2d7"), pair("de/berlin:1", "till-7"));
        let long = "x".repeat(60);
        let too_long = format!("{long}/till-7");
        for bad in [
            "", "/", "a", "a/", "/b", "a/b/c", "a%/b", "a%2/b", "a%zz/b", "a b/c", "a/b?x",
            "a/b%00", "%C3%A4/b", &too_long,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
