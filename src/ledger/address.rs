//! The address of the database, and what every connection to it is set to.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;

use super::fault::{Defect, Fault};

/// A server in the middle of a transaction that stops responding is disconnected after this time,
/// so that its locks do not stop the others.
const IDLE_IN_TRANSACTION: &str = "5s";
/// What an address may say after its question mark, besides `options[...]`. The client passes over what
/// it does not know: with `sslmode` written wrongly it would do without TLS.
#[rustfmt::skip]
const PARAMETERS: [&str; 19] = [
    "", "sslmode", "ssl-mode", "sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey",
    "ssl-key", "statement-cache-capacity", "host", "hostaddr", "port", "dbname", "user", "password",
    "application_name", "options",
];

/// How every connection is made, those of pools and the one that migrates.
pub(super) fn connect_options(url: &str) -> Result<PgConnectOptions, Fault> {
    let doing = "read the address of PostgreSQL";
    if !knows_parameters(url) {
        return Err(Fault::defect(doing, Defect::ParameterUnknown));
    }
    let options = PgConnectOptions::from_str(url).map_err(Fault::doing(doing))?;
    Ok(options.application_name("stockroom").options([
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10s"),
        ("synchronous_commit", "on"),
    ]))
}

fn knows_parameters(url: &str) -> bool {
    let Some((_, query)) = url.split_once('?') else { return true };
    let query = query.split('#').next().unwrap_or_default();
    let mut keys = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    keys.all(|key| PARAMETERS.contains(&key) || key.starts_with("options["))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_wrong_is_refused_and_its_password_not_shown() {
        let wrong = [
            "postgres://shop:canary@db/shop?sslmod=verify-full",
            "postgres://shop:can?ary@db/shop",
            "postgres://shop:canary@db/shop?sslmode=maybe",
            "postgres://shop:canary@db:port/shop",
            "postgres://shop:7/canary@db/shop?canary=canary",
            "postgres://shop:canary#@db/shop",
            "canary",
        ];
        for url in wrong {
            let fault = connect_options(url).map(|_| url).unwrap_err();
            let shown = format!("{} {fault:?}", fault.chain());
            assert!(shown.starts_with("cannot read the address of PostgreSQL: "), "{shown}");
            assert!(!shown.contains("canary") && !shown.contains("ary@"), "{shown}");
        }
    }

    #[test]
    fn an_address_may_ask_for_tls() {
        let url = "postgres://shop:a%3Fb@db/shop?sslmode=verify-full&sslrootcert=/run/ca.pem";
        let options = connect_options(url).unwrap();
        assert!(matches!(options.get_ssl_mode(), sqlx::postgres::PgSslMode::VerifyFull));
    }
}
