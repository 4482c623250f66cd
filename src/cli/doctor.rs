//! `stockroom doctor`: looks at the configuration and at the databases, and says what is wrong, why it
//! matters and what to do.

mod databases;
mod files;
mod finding;
mod settings;

use crate::{
    ambient,
    availability::Availability,
    cli::doctor::finding::{Finding, Level},
    config::ServeConfig,
    ledger::{Ledger, condition::newest_migration},
};

/// What to look at: the settings of a server.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    serve: ServeConfig,
    /// Servers that share the databases, or will
    #[arg(long, env = "STOCKROOM_SERVERS", default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    servers: u32,
}

/// Looks and prints. Returns whether nothing is wrong that must be put right.
///
/// # Errors
/// It is not known which databases to look at.
pub async fn run(args: DoctorArgs) -> anyhow::Result<bool> {
    let mut findings = settings::check(&args.serve);
    findings.extend(files::check(&args.serve));
    findings.extend(check_postgres(&args).await?);
    findings.extend(check_redis(&args.serve).await?);
    if args.serve.json {
        println!("{}", finding::as_json(&findings));
    } else {
        print!("{}", finding::as_text(&findings));
    }
    Ok(findings.iter().all(|finding| finding.level != Level::Error))
}

async fn check_postgres(args: &DoctorArgs) -> anyhow::Result<Vec<Finding>> {
    let databases = &args.serve.databases;
    let url = databases.running_database()?;
    let connections = databases.ledger(url.clone()).connections_max().saturating_mul(args.servers);
    Ok(match Ledger::condition(&url, &databases::POSTGRES_SETTINGS).await {
        Ok(condition) => {
            let clock = ambient::now();
            databases::check_postgres(&condition, connections, newest_migration(), clock)
        }
        Err(fault) => vec![Finding::error(
            "postgresql",
            format!("does not answer: {}", fault.chain()),
            "it is the authority: without it nothing is recorded or reserved",
            "start it, or mend DATABASE_URL, its password or its pg_hba.conf",
        )],
    })
}

async fn check_redis(config: &ServeConfig) -> anyhow::Result<Vec<Finding>> {
    let Some(url) = config.databases.running_redis()? else {
        return Ok(vec![Finding::warning(
            "redis",
            "none is named, so it was not looked at".to_owned(),
            "a server would start one of its own",
            "set REDIS_URL as the servers do",
        )]);
    };
    let availability = Availability::open(&config.databases.availability(url)?)?;
    Ok(match availability.condition(&databases::REDIS_SETTINGS).await {
        Ok(condition) => databases::check_redis(&condition, ambient::now()),
        Err(fault) => vec![Finding::error(
            "redis",
            format!("does not answer: {}", fault.chain()),
            "reads and holds then fall back to PostgreSQL, which bears much less",
            "start it, or mend REDIS_URL",
        )],
    })
}
