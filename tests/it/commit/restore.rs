//! A ledger that is restored from a backup: what is gone, who is told, and what comes back.

use std::sync::atomic::{AtomicU32, Ordering};

use stockroom::api::proto::{
    ExportPositionsRequest, ExportPositionsResponse, GetPositionRequest, GetPositionResponse,
    GetReservationRequest,
};
use tonic::Code;

use crate::harness::{
    databases::{self, number},
    errors::explained,
    folder::Folder,
    movements::{Became as _, receipt, sale},
    private_redis::free_address,
    redis::Redis,
    server::Server,
    shell::Shell,
};

const CREATE: &str = "
for programs in /usr/lib/postgresql/*/bin; do PATH=$PATH:$programs; done
export PGHOST=127.0.0.1 PGUSER=stockroom
initdb -D data -U $PGUSER --auth trust --encoding UTF8 --locale C --no-sync
mkdir archive
cat >> data/postgresql.conf <<END
unix_socket_directories = ''
archive_mode = on
archive_command = 'cp %p $PWD/archive/%f'
fsync = off
END
pg_ctl start -w -D data -l log
createdb $PGDATABASE";

/// Everything after the last base backup goes on from the archive up to the named point.
const RECOVER: &str = "
file=$(psql -Atc 'select pg_walfile_name(pg_switch_wal())')
archived() { psql -Atc \"select last_archived_wal >= '$file' from pg_stat_archiver\"; }
for try in $(seq 600); do archived | grep -q t && break; sleep 0.1; done
pg_ctl stop -m immediate -D data
mv data lost
mv base data
cat >> data/postgresql.conf <<END
restore_command = 'cp $PWD/archive/%f %p'
recovery_target_name = 'here'
recovery_target_action = promote
END
touch data/recovery.signal
pg_ctl start -w -D data -l log
timeout 60 sh -c \"until psql -Atc 'select pg_is_in_recovery()' | grep -q f; do sleep 0.05; done\"";

/// A PostgreSQL that may be lost, in a folder with a shell.
struct Cluster<'a> {
    shell: Shell<'a>,
    url: String,
}

impl<'a> Cluster<'a> {
    async fn start(folder: &'a Folder) -> Cluster<'a> {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let port = free_address().port();
        // The name is also what the keys in the common Redis begin with.
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("restored_{}_{number}", std::process::id());
        let url = format!("postgres://stockroom@127.0.0.1:{port}/{name}");
        let mut shell = Shell::start(folder);
        let exports = format!("export PGPORT={port} PGDATABASE={name} DATABASE_URL={url}");
        shell.run(&exports, "where it is");
        let mut cluster = Cluster { shell, url };
        cluster.run(CREATE);
        cluster.run("stockroom migrate --partitions 4");
        cluster
    }

    fn run(&mut self, commands: &str) -> String {
        self.shell.run(commands, "the cluster")
    }

    /// A server on it, with the Redis of all tests.
    async fn serve(&self) -> Server {
        let redis = Redis::honest().reach(&databases::redis_url().await).await;
        Server::start_with(&self.url, &self.url, redis).await
    }

    async fn epoch(&self) -> i64 {
        number(&self.url, "select max(epoch) from ledger_head").await
    }

    /// Bumps it as an operator does.
    async fn bump_epoch(&mut self) {
        let before = self.epoch().await;
        let told = self.run("stockroom epoch bump --json");
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let epoch = told["epoch"].as_i64().unwrap();
        assert!(epoch > before, "{epoch} after {before}");
        let all = "select min(epoch) from ledger_head";
        assert_eq!(number(&self.url, all).await, epoch, "every partition is in it");
    }

    /// The chain holds over what was lost.
    fn audit(&mut self) {
        let told = self.run("stockroom audit");
        assert!(told.contains("everything is as it was recorded"), "{told}");
    }

    fn stop(mut self) {
        self.run("pg_ctl stop -m immediate -D data");
        self.shell.end();
    }
}

/// What callers know of a history that is about to be lost.
struct Known {
    token: String,
    cursor: String,
    reservation_id: String,
}

/// What the backup has: ten received, one sold, two reserved.
async fn before(server: &Server) {
    server.put_locations(&["shop"]).await;
    server.record_one(receipt("r", "shop", "jam", 10)).await.recorded();
    server.record_one(sale("s1", "shop", "jam", 1)).await.recorded();
    server.reserve("kept", "shop", "jam", 2).await.unwrap();
}

/// What it has not: three sold at a location and of an item that are new, three reserved.
async fn after(server: &Server) -> Known {
    server.put_locations(&["new-shop"]).await;
    server.record_one(sale("s2", "new-shop", "honey", 3)).await.recorded();
    let response = server.record(vec![sale("s3", "shop", "jam", 1)]).await;
    response.results[0].recorded();
    let reservation = server.reserve("lost", "shop", "jam", 3).await.unwrap();
    server.caught_up().await;
    let export = export(server, String::new()).await;
    Known {
        token: response.token,
        cursor: export.last().unwrap().cursor.clone(),
        reservation_id: reservation.reservation_id,
    }
}

async fn export(server: &Server, cursor: String) -> Vec<ExportPositionsResponse> {
    let request = ExportPositionsRequest { cursor, ..ExportPositionsRequest::default() };
    let mut stream = server.ledger().export_positions(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        messages.push(message);
    }
    messages
}

async fn read(server: &Server, token: &str) -> GetPositionResponse {
    let request = GetPositionRequest {
        location_id: "shop".to_owned(),
        sku: "jam".to_owned(),
        token: token.to_owned(),
        ..GetPositionRequest::default()
    };
    server.ledger().get_position(request).await.unwrap().into_inner()
}

/// What is missing says so, and comes back when it is sent again.
async fn is_mended(server: &Server, known: &Known) {
    let response = read(server, &known.token).await;
    assert!(response.degraded, "the write of the token is lost");
    let position = response.position.unwrap();
    assert_eq!((position.sellable, position.reserved), (9, 2));
    let messages = export(server, known.cursor.clone()).await;
    assert!(messages[0].reset, "everything that was exported is void");
    let told = messages.iter().flat_map(|message| &message.positions).count();
    assert_eq!(told, 1, "and what there is follows");
    let request = GetReservationRequest { reservation_id: known.reservation_id.clone() };
    let status = server.reservations().get_reservation(request).await.unwrap_err();
    explained(&status, Code::NotFound, "RESERVATION_UNKNOWN");
    server.caught_up().await;
    assert_eq!(server.available("shop", "jam").await, 7);

    server.put_locations(&["new-shop"]).await;
    server.record_one(receipt("r", "shop", "jam", 10)).await.duplicate();
    server.record_one(sale("s1", "shop", "jam", 1)).await.duplicate();
    server.record_one(sale("s2", "new-shop", "honey", 3)).await.recorded();
    let response = server.record(vec![sale("s3", "shop", "jam", 1)]).await;
    response.results[0].recorded();
    assert!(!read(server, &response.token).await.degraded, "a token of now");
    server.reserve("kept", "shop", "jam", 2).await.unwrap();
    server.reserve("lost", "shop", "jam", 3).await.unwrap();
    server.caught_up().await;
    assert_eq!(server.available("shop", "jam").await, 3);
    assert_eq!(server.ledger.verify(None, |_| ()).await.unwrap().difference, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_recovery_to_a_point_in_time_the_rest_is_missed_and_can_be_sent_again() {
    let folder = Folder::new(&[]);
    let mut cluster = Cluster::start(&folder).await;
    let server = cluster.serve().await;
    server.put_locations(&["early"]).await;
    cluster.run("pg_basebackup -D base --checkpoint fast --wal-method none");
    before(&server).await;
    cluster.run("psql -Atc \"select pg_create_restore_point('here')\"");
    let known = after(&server).await;
    server.stop().await;

    cluster.run(RECOVER);
    cluster.bump_epoch().await;
    let server = cluster.serve().await;
    is_mended(&server, &known).await;
    server.stop().await;
    cluster.audit();
    cluster.stop();
}

/// Neither the system nor the timeline tells such a copy from what was lost.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_old_copy_of_the_data_only_a_bump_of_the_epoch_makes_a_difference() {
    let folder = Folder::new(&[]);
    let mut cluster = Cluster::start(&folder).await;
    let server = cluster.serve().await;
    before(&server).await;
    server.stop().await;
    cluster.run("pg_ctl stop -D data; cp -r data copy; pg_ctl start -w -D data -l log");
    let server = cluster.serve().await;
    let known = after(&server).await;
    let epoch = cluster.epoch().await;
    server.stop().await;

    cluster.run("pg_ctl stop -D data; rm -r data; mv copy data; pg_ctl start -w -D data -l log");
    let unaware = cluster.serve().await;
    assert_eq!(unaware.ledger.mend_epoch().await.unwrap(), None, "nothing is noticed");
    assert_eq!(cluster.epoch().await, epoch);
    unaware.stop().await;

    cluster.bump_epoch().await;
    let server = cluster.serve().await;
    is_mended(&server, &known).await;
    server.stop().await;
    cluster.audit();
    cluster.stop();
}
