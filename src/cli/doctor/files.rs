//! Files with secrets in them: only their owner should read them.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use crate::{cli::doctor::finding::Finding, config::ServeConfig};

/// Permissions that let others than the owner read or write.
const OTHERS: u32 = 0o077;
/// A key may be read by a group of its own, as containers mount it.
const STRANGERS: u32 = 0o027;

/// Looks at the files that a server's settings name.
pub(super) fn check(config: &ServeConfig) -> Vec<Finding> {
    let connections = config.databases.data_dir().join("connections.env");
    let mut findings = Vec::new();
    if connections.exists() {
        findings.push(private("connections.env", &connections, OTHERS));
    }
    let nats = config.events.nats_url_file.as_deref().map(|path| ("--nats-url-file", path));
    let key = config.tls.tls_key.as_deref().map(|path| ("--tls-key", path));
    let secrets = config.databases.secret_files().chain(nats).chain(key);
    findings.extend(secrets.map(|(name, path)| private(name, path, STRANGERS)));
    findings
}

fn private(check: &'static str, path: &Path, forbidden: u32) -> Finding {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.mode() & forbidden == 0 => {
            Finding::ok(check, format!("'{shown}' is private"))
        }
        Ok(found) => Finding::error(
            check,
            format!("'{shown}' has the mode {:o}", found.mode() & 0o777),
            "other accounts of this machine can read or change the secret in it",
            "take the permissions away with chmod o=,g-w, or chmod 600",
        ),
        Err(error) => Finding::error(
            check,
            format!("'{shown}' cannot be looked at: {error}"),
            "the server does not start without it",
            "put it there, or mend its name",
        ),
    }
}
