//! The hash chain, and the audit that walks it.
#![expect(clippy::disallowed_types, reason = "alters rows behind the server's back")]

mod anchors;
mod archive;
mod changes;
mod command;
mod encoding;
mod gaps;
mod prune;
mod tampering;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use stockroom::{
    ledger::{
        Ledger,
        audit::{Audited, anchor::Anchor},
        chain::Chain,
        queries::EntryFilter,
    },
    stock::{
        entry::Entry,
        ids::{Partition, Seq},
        kind::Kind,
    },
};

use crate::harness::{
    databases::{execute, fresh_database},
    mixture::{Mixture, draft},
};

const PARTITIONS: u16 = 4;
/// Of the first two shops of a mixture.
const BUSY: &str = "(select partition from ledger_entry group by 1 order by count(*) desc limit 1)";

/// An empty ledger.
async fn ledger() -> (String, Mixture) {
    let url = fresh_database().await;
    Ledger::migrate(&url, PARTITIONS).await.unwrap();
    let mixture = Mixture::new(&url).await;
    (url, mixture)
}

/// A ledger with a bit of everything.
async fn filled() -> (String, Mixture) {
    let (url, mixture) = ledger().await;
    mixture.fill().await;
    (url, mixture)
}

async fn audit(mixture: &Mixture, anchors: &[Anchor]) -> Audited {
    mixture.ledger.audit(anchors, None, |_| ()).await.unwrap()
}

/// The first difference, which there must be.
async fn difference(mixture: &Mixture, anchors: &[Anchor], of: &str) -> String {
    let audited = audit(mixture, anchors).await;
    let first = audited.differences.first();
    first.unwrap_or_else(|| panic!("{of} was not noticed")).to_string()
}

/// Nothing differs. Returns the number of anchors that fit.
async fn assert_holds(mixture: &Mixture, anchors: &[Anchor]) -> u64 {
    let audited = audit(mixture, anchors).await;
    assert_eq!(audited.differences, []);
    audited.partitions.iter().map(|(_, found)| found.anchors).sum()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn numbers(connection: &mut PgConnection, sql: &str) -> Vec<i64> {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
}

/// The partition with the most entries, and its last one.
async fn busy(url: &str) -> (Partition, Seq) {
    let connection = &mut connect(url).await;
    let partition = numbers(connection, &format!("select {BUSY}::bigint")).await[0];
    let seq = format!("select seq from ledger_head where partition = {partition}");
    (Partition(partition as i16), numbers(connection, &seq).await[0])
}

/// Lets tables take any change.
async fn unguard(connection: &mut PgConnection) {
    for table in ["ledger_head", "ledger_entry", "ledger_batch"] {
        let constraints = format!(
            "select conname::text from pg_constraint
             where conrelid = '{table}'::regclass and contype = 'c'"
        );
        let constraints: Vec<String> = sqlx::query_scalar(AssertSqlSafe(constraints))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        for constraint in constraints {
            run(connection, &format!("alter table {table} drop constraint {constraint}")).await;
        }
    }
}

/// All entries of a partition.
async fn entries(ledger: &Ledger, partition: Partition) -> Vec<Entry<'static>> {
    let filter = EntryFilter::default();
    let found = ledger.list_entries(&filter, (partition, 0), 10_000).await.unwrap();
    found.into_iter().filter(|entry| entry.partition == partition).collect()
}

/// Writes the whole chain of a partition anew, as somebody would who may write to every table and
/// knows how it is made.
async fn forge(url: &str, ledger: &Ledger, partition: Partition) {
    let connection = &mut connect(url).await;
    let Partition(number) = partition;
    let lasts = format!("select last_seq from ledger_batch where partition = {number} order by 1");
    let lasts = numbers(connection, &lasts).await;
    let entries = entries(ledger, partition).await;
    let mut chain = Chain::default();
    for last in lasts {
        let epoch = "select epoch from ledger_batch where partition = ";
        let epoch = format!("{epoch}{number} and last_seq = {last}");
        let epoch = numbers(connection, &epoch).await[0];
        let own: Vec<_> = entries
            .iter()
            .filter(|entry| (chain.seq + 1..=last).contains(&entry.seq))
            .cloned()
            .collect();
        let chained = chain.extend(partition, epoch, chain.seq, &own);
        for (entry, checksum) in own.iter().zip(&chained.checksums) {
            let row = format!("partition = {number} and seq = {}", entry.seq);
            let sql = format!("update ledger_entry set checksum = {checksum} where {row}");
            run(connection, &sql).await;
        }
        let link = chained.links.last().unwrap();
        sqlx::query(
            "update ledger_batch set previous = $3, hash = $4, digests = $5
             where partition = $1 and last_seq = $2",
        )
        .bind(number)
        .bind(last)
        .bind(link.previous.to_vec())
        .bind(link.hash.to_vec())
        .bind(link.digests.clone())
        .execute(&mut *connection)
        .await
        .unwrap();
        chain = chained.chain;
    }
    sqlx::query("update ledger_head set chain_hash = $2, chain_checksum = $3 where partition = $1")
        .bind(number)
        .bind(chain.hash.to_vec())
        .bind(chain.checksum(partition))
        .execute(connection)
        .await
        .unwrap();
}

/// Writes some more in every partition.
async fn go_on(mixture: &Mixture, key: &str) {
    for shop in &mixture.shops {
        mixture.post(vec![draft(Kind::Receipt, &format!("{key}-{shop}"), shop, "tea", 3)]).await;
    }
}

/// Lets the last batches look as if a server of the version before had written them.
async fn as_before(url: &str, partition: Partition, chain_seq: Seq) {
    let Partition(number) = partition;
    let chain = match chain_seq {
        0 => Chain::default(),
        seq => {
            let connection = &mut connect(url).await;
            let sql = "select hash from ledger_batch where partition = $1 and last_seq = $2";
            let hash: Vec<u8> =
                sqlx::query_scalar(sql).bind(number).bind(seq).fetch_one(connection).await.unwrap();
            Chain { seq, hash: hash.try_into().unwrap() }
        }
    };
    let hash: String = chain.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let checksum = if chain_seq == 0 { 0 } else { chain.checksum(partition) };
    let sql = format!(
        "delete from ledger_batch where partition = {number} and last_seq > {chain_seq};
         update ledger_head set chain_seq = {chain_seq}, chain_hash = '\\x{hash}',
             chain_checksum = {checksum} where partition = {number}"
    );
    execute(url, &sql).await;
}
