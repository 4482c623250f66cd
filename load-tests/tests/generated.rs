//! A generated file goes through server and importer and ends where a naive recomputation that
//! shares no code with them says that it must.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_types, reason = "makes the databases that it runs against")]

use std::{path::Path, process::Command};

use clap::Parser as _;
use stockroom::{
    api::{
        self, Api,
        health::Health,
        proto::{
            BatchGetPositionsRequest, PositionRef, ledger_service_client::LedgerServiceClient,
        },
    },
    availability::{Availability, PREFIX},
    cli::Cli,
    embedded::{Embedded, Wanted},
    ledger::{Ledger, Options},
    writer::Writer,
};
use tokio::{net::TcpListener, sync::watch};

/// Positions of one request.
const POSITIONS_MAX: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_file_ends_where_a_naive_recomputation_says() {
    let folder = tempfile::Builder::new().prefix("stockroom-generated-").tempdir().unwrap();
    let wanted = Wanted { postgres: true, redis: true };
    let embedded = Embedded::start(folder.path(), wanted).await.unwrap();
    for seed in [1, 2] {
        let name = format!("{}_{seed}", embedded.database_url().unwrap());
        assert_seed(&embedded, &name, seed, folder.path()).await;
    }
    embedded.stop().await.unwrap();
}

async fn assert_seed(embedded: &Embedded, url: &str, seed: u64, folder: &Path) {
    create_database(embedded.database_url().unwrap(), url).await;
    let (file, positions) = (folder.join("year.csv.zst"), folder.join("positions.csv"));
    let seed = seed.to_string();
    let small = ["--lines", "12000", "--shops", "12", "--items", "400"];
    let out = ["--seed", &seed, "--out", file.to_str().unwrap()];
    load_tests(&[&["generate"], &out[..], &small].concat());
    let to = ["--positions", positions.to_str().unwrap()];
    load_tests(&[&["expect", file.to_str().unwrap()], &to[..]].concat());

    let (stop, stopped) = watch::channel(false);
    let options = Options {
        url: url.to_owned(),
        writers_max: 4,
        readers_max: 4,
        acquire_timeout: std::time::Duration::from_secs(5),
    };
    Ledger::migrate(url, 4).await.unwrap();
    let ledger = Ledger::new(&options).unwrap();
    let availability = Availability::new(embedded.redis_url().unwrap(), PREFIX).unwrap();
    let writer = Writer::start(ledger.clone(), availability.clone()).await.unwrap();
    let (health, _drain) = Health::start(ledger.clone(), availability.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = format!("http://{}", listener.local_addr().unwrap());
    let until = async move { drop(stopped.clone().wait_for(|stopped| *stopped).await) };
    let api = Api::new(ledger.clone(), availability, writer, stop.subscribe());
    let serving = tokio::spawn(api::run(listener, until, api, health));

    let import = ["stockroom", "import", "csv", file.to_str().unwrap(), "--addr", &addr];
    let zone = ["--time-zone", "Europe/Paris"];
    Cli::parse_from([&import[..], &zone].concat()).run().await;
    assert_positions(&addr, &positions).await;
    let verified = ledger.verify(None, |_| ()).await.unwrap();
    assert_eq!(verified.difference, None);

    stop.send_replace(true);
    serving.await.unwrap();
    ledger.close().await;
}

/// Compares every position that the recomputation expects with what the server says.
async fn assert_positions(addr: &str, expected: &Path) {
    let mut rows = csv::Reader::from_path(expected).unwrap();
    let rows: Vec<(String, String, i64, i64)> = rows.deserialize().map(Result::unwrap).collect();
    assert!(rows.len() > 500, "only {} positions", rows.len());
    let mut ledger = LedgerServiceClient::connect(addr.to_owned()).await.unwrap();
    for rows in rows.chunks(POSITIONS_MAX) {
        let pair = |(location_id, sku, ..): &(String, String, i64, i64)| PositionRef {
            location_id: location_id.clone(),
            sku: sku.clone(),
        };
        let positions = rows.iter().map(pair).collect();
        let request = BatchGetPositionsRequest { positions, ..Default::default() };
        let told = ledger.batch_get_positions(request).await.unwrap().into_inner().positions;
        for ((location_id, sku, sellable, blocked), told) in rows.iter().zip(told) {
            let at = (&told.location_id, &told.sku);
            assert_eq!((location_id, sku), at);
            assert_eq!((*sellable, *blocked), (told.sellable, told.blocked), "{at:?}");
        }
    }
}

fn load_tests(arguments: &[&str]) {
    let status = Command::new(env!("CARGO_BIN_EXE_load-tests")).args(arguments).status();
    assert!(status.unwrap().success(), "load-tests {arguments:?}");
}

async fn create_database(server: &str, url: &str) {
    use sqlx::{Connection as _, PgConnection};
    let mut connection = PgConnection::connect(server).await.unwrap();
    let (_, name) = url.rsplit_once('/').unwrap();
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
}
