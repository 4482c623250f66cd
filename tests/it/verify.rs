//! Verification finds every change behind the program's back, and nothing else.
#![expect(clippy::disallowed_types, reason = "changes rows behind the program's back")]

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use stockroom::{
    ledger::{Ledger, verify::Verified},
    stock::{
        draft::Draft,
        kind::Kind,
        machine::Plan,
        movement::Command,
        reservation::CancelledBy,
        step::{self, Action},
        time::{SECOND, Timestamp},
    },
    writer::Verdict,
};

use crate::harness::{
    databases::fresh_database,
    mixture::{Mixture, about, correct, draft},
    steps::{Steps, create},
};

/// Each ledger table with its key.
const TABLES: [(&str, &[&str]); 7] = [
    ("ledger_head", &["partition"]),
    ("ledger_entry", &["partition", "seq"]),
    ("position", &["partition", "location", "item"]),
    ("request", &["partition", "digest", "location"]),
    ("reservation", &["partition", "no"]),
    ("reservation_line", &["partition", "no", "line"]),
    ("reservation_version", &["partition", "no", "version"]),
];
/// Columns of `reservation` that no entry tells anything of once they are set.
const UNKNOWABLE: [&str; 6] =
    ["ready_by", "expires_at", "ttl_given", "answer_by", "paid_at", "reason"];
const PARTITIONS: u16 = 4;

/// A way to change one column of one row.
struct Change {
    column: String,
    /// Which rows it can be done to.
    which: String,
    /// The new value.
    value: String,
}

async fn mixture(url: &str) -> Mixture {
    Ledger::migrate(url, PARTITIONS).await.unwrap();
    Mixture::new(url).await
}

async fn verify(ledger: &Ledger) -> Verified {
    ledger.verify(None, |_| ()).await.unwrap()
}

async fn execute(connection: &mut PgConnection, sql: String) -> u64 {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
}

async fn texts(connection: &mut PgConnection, sql: String) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The name of a row, as an SQL expression.
fn name(table: &str, key: &[&str]) -> String {
    let parts = key.iter().map(|column| format!("|| ' {column}=' || {column}"));
    format!("'{table}' {}", parts.collect::<String>())
}

/// Makes the ledger tables take any change, and keeps them as they are now.
async fn prepare(connection: &mut PgConnection) {
    for (table, _) in TABLES {
        let constraints = texts(
            connection,
            format!(
                "select conname::text from pg_constraint
                 where conrelid = '{table}'::regclass and contype = 'c'"
            ),
        );
        for constraint in constraints.await {
            execute(connection, format!("alter table {table} drop constraint {constraint}")).await;
        }
        execute(connection, format!("create table kept_{table} as table {table}")).await;
    }
}

async fn restore(connection: &mut PgConnection, table: &str) {
    let sql = format!("truncate {table}; insert into {table} table kept_{table}");
    execute(connection, sql).await;
}

/// Every way to change each column of a table.
async fn changes(connection: &mut PgConnection, table: &str, key: &[&str]) -> Vec<Change> {
    let columns = sqlx::query_as::<_, (String, String, bool)>(
        "select column_name::text, data_type::text, is_nullable = 'YES'
         from information_schema.columns where table_name = $1 order by ordinal_position",
    );
    let columns = columns.bind(table).fetch_all(connection).await.unwrap();
    assert!(columns.len() >= 4);
    let mut changes = Vec::new();
    for (column, data_type, nullable) in columns {
        let (other, new) = match &*data_type {
            // Further than any row that is there.
            "smallint" | "integer" | "bigint" if key.contains(&&*column) => {
                (format!("{column} + 10000"), "1")
            }
            "smallint" | "integer" | "bigint" => (format!("{column} + 1"), "1"),
            "timestamp with time zone" => {
                (format!("{column} + interval '1 microsecond'"), "timestamptz '2020-02-02'")
            }
            "text" => (format!("{column} || 'x'"), "''"),
            "boolean" => (format!("not {column}"), "true"),
            "jsonb" => (format!("jsonb_set({column}, '{{lines,0,picked}}', '77')"), "'{}'"),
            "uuid" => ("gen_random_uuid()".to_owned(), "gen_random_uuid()"),
            "bytea" => (format!("set_byte({column}, 7, get_byte({column}, 7) # 1)"), "''"),
            other => panic!("no idea how to change a {other}"),
        };
        let change = |which: &str, value: &str| Change {
            column: column.clone(),
            which: format!("{column} is {which}"),
            value: value.to_owned(),
        };
        let unknowable = table == "reservation" && UNKNOWABLE.contains(&&*column);
        if !unknowable {
            changes.push(change("not null", &other));
        }
        if nullable && !unknowable {
            changes.push(change("not null", "null"));
        }
        if nullable {
            changes.push(change("null", new));
        }
    }
    changes
}

fn assert_names(verified: &Verified, names: &[String], what: &str) {
    let difference = verified.difference.as_deref();
    let difference = difference.unwrap_or_else(|| panic!("{what} was not noticed"));
    let named = |name: &String| difference.starts_with(&format!("{name}:"));
    assert!(names.iter().any(named), "{what} of {names:?} was taken for: {difference}");
}

#[tokio::test]
async fn a_ledger_of_every_kind_of_movement_holds() {
    let mixture = mixture(&fresh_database().await).await;
    let empty = verify(&mixture.ledger).await;
    let expected = Verified { partitions: u64::from(PARTITIONS), ..Verified::default() };
    assert_eq!(empty, expected);
    mixture.fill().await;
    let verified = verify(&mixture.ledger).await;
    assert_eq!(verified.difference, None);
    assert!(verified.entries > 190 && verified.positions == 17, "{verified:?}");
    assert!(verified.sellable > 0 && verified.on_hand > verified.sellable, "{verified:?}");
}

#[tokio::test]
async fn every_change_of_every_column_is_found_and_its_row_named() {
    let url = fresh_database().await;
    let mixture = mixture(&url).await;
    mixture.fill().await;
    let connection = &mut PgConnection::connect(&url).await.unwrap();
    prepare(connection).await;
    let mut changed = 0;
    for (table, key) in TABLES {
        for Change { column, which, value } in changes(connection, table, key).await {
            let name = name(table, key);
            let rows = format!(
                "select ctid::text from {table} where {which} order by {} limit 1",
                key.join(", ")
            );
            let Some(row) = texts(connection, rows).await.pop() else {
                panic!("no {table} where {which}: the mixture is not rich enough")
            };
            let mut names =
                texts(connection, format!("select {name} from {table} where ctid = '{row}'")).await;
            let change = format!("update {table} set {column} = {value} where ctid = '{row}'");
            names.extend(texts(connection, format!("{change} returning {name}")).await);
            assert_names(&verify(&mixture.ledger).await, &names, &change);
            restore(connection, table).await;
            changed += 1;
        }
    }
    assert!(changed > 100, "{changed}");
    assert_eq!(verify(&mixture.ledger).await.difference, None);
}

#[tokio::test]
async fn a_lost_row_and_a_surplus_row_are_named() {
    let url = fresh_database().await;
    let mixture = mixture(&url).await;
    mixture.fill().await;
    let connection = &mut PgConnection::connect(&url).await.unwrap();
    prepare(connection).await;
    for (table, key) in TABLES {
        let name = name(table, key);
        for order in [key.join(", "), key.join(" desc, ") + " desc"] {
            let lose = format!(
                "delete from {table} where ctid = (select ctid from {table}
                 where partition in (select partition from location) order by {order} limit 1)"
            );
            let names = texts(connection, format!("{lose} returning {name}")).await;
            assert_names(&verify(&mixture.ledger).await, &names, &lose);
            restore(connection, table).await;
        }
        let surplus = match table {
            "ledger_entry" => {
                "seq = (select max(seq) + 1 from kept_ledger_entry k where k.partition = new.partition)"
            }
            "ledger_head" => "partition = new.partition + 10000",
            "position" => "item = new.item + 10000",
            "reservation" => "no = new.no + 10000, hold = null, held_as = null",
            "reservation_line" => "line = new.line + 10000",
            "reservation_version" => "version = new.version + 10000",
            _ => "digest = gen_random_uuid()",
        };
        execute(connection, "drop table if exists new".to_owned()).await;
        let one = format!("create table new as select * from {table} limit 1");
        execute(connection, one).await;
        execute(connection, format!("update new set {surplus}")).await;
        let add = format!("insert into {table} table new");
        let names = texts(connection, format!("{add} returning {name}")).await;
        assert_names(&verify(&mixture.ledger).await, &names, &add);
        restore(connection, table).await;
    }
    for (table, _) in TABLES.into_iter().filter(|(table, _)| *table != "ledger_head") {
        let stray = format!(
            "create table stray as select * from {table} limit 1; update stray set partition = 9;
             insert into {table} table stray; drop table stray"
        );
        execute(connection, stray).await;
        let difference = verify(&mixture.ledger).await.difference.unwrap();
        assert_eq!(difference, format!("{table} partition=9: the partition has no head"));
        restore(connection, table).await;
    }
}

#[tokio::test]
async fn verification_holds_while_others_write() {
    let mixture = mixture(&fresh_database().await).await;
    mixture.fill().await;
    let [a, b, c, d] = &mixture.shops;
    let steps = Steps { ledger: &mixture.ledger };
    let (place, salt) = (steps.place(c).await, steps.item("salt").await);
    let write = async {
        for round in 0..60 {
            let key = |name: &str| format!("w{round}-{name}");
            let mut drafts = Vec::new();
            for (shop, to) in [(a, c), (b, d), (c, a), (d, a)] {
                let key = |name: &str| key(&format!("{name}-{shop}"));
                let sold = |line| draft(Kind::Sale, &key(&format!("s{line}")), shop, "tea", 1);
                drafts.extend((0..20).map(sold));
                drafts.push(Draft {
                    to_location_id: to.clone(),
                    ..draft(Kind::TransferShip, &key("t"), shop, "tea", 2)
                });
                drafts.push(Draft {
                    occurred_at: mixture.ago(i64::from(round % 7)),
                    ..draft(Kind::Count, &key("n"), shop, "tea", 50)
                });
            }
            let answers = mixture.report(drafts).await;
            assert!(answers.iter().all(|answer| matches!(answer, Verdict::Recorded(_))));
            mixture
                .post(vec![
                    about(&key(&format!("s0-{a}")), draft(Kind::Return, &key("r"), d, "tea", 1)),
                    correct(&key(&format!("s1-{b}")), draft(Kind::Correct, &key("c"), b, "tea", 0)),
                    correct(&key(&format!("t-{b}")), draft(Kind::Correct, &key("ct"), b, "tea", 0)),
                ])
                .await;
            let id = steps.create(&key("made"), place, create(&[(salt, 3)])).await.id;
            steps.change(&key("picked"), id, step::Change::StartPicking).await;
            let by = CancelledBy::Customer;
            steps.change(&key("cancelled"), id, step::Change::Cancel { by }).await;
        }
    };
    let read = async {
        let mut entries = Vec::new();
        while entries.len() < 10 {
            let verified = verify(&mixture.ledger).await;
            assert_eq!(verified.difference, None);
            entries.push(verified.entries);
        }
        entries
    };
    let ((), entries) = tokio::join!(write, read);
    assert!(entries.is_sorted() && entries.first() < entries.last(), "{entries:?}");
    let verified = verify(&mixture.ledger).await;
    assert_eq!(verified.difference, None);
    assert!(verified.entries > 60 * 90, "{verified:?}");
}

#[tokio::test]
async fn what_is_reserved_without_a_reservation_is_found() {
    let mixture = mixture(&fresh_database().await).await;
    mixture.fill().await;
    let steps = Steps { ledger: &mixture.ledger };
    let (place, soap) = (steps.place(&mixture.shops[0]).await, steps.item("soap").await);
    let create = Action::Create(Box::new(create(&[(soap, 3)])));
    let step = Command::Step(Box::new(steps.step("lost", place, create).await));
    // As a machine would write it that forgets the reservation over its entry.
    let forget = |plan: &mut Plan<'_>| {
        plan.reservations.clear();
        let entries = plan.logs.values_mut().flat_map(|log| &mut log.entries);
        entries.for_each(|entry| entry.reservation_state = None);
    };
    steps.take(&[step], forget).await;
    let (partition, location) = (place.partition.0, place.location.0);
    let name = format!("position partition={partition} location={location} item={}", soap.0);
    assert_names(&verify(&mixture.ledger).await, &[name], "a promise of nobody");
}

#[tokio::test]
async fn what_refers_to_itself_holds() {
    let mixture = mixture(&fresh_database().await).await;
    let [a, ..] = &mixture.shops;
    let answers = mixture
        .report(vec![
            correct("c1", draft(Kind::Correct, "c1", a, "tea", 0)),
            about("b1", draft(Kind::Return, "b1", a, "tea", 1)),
        ])
        .await;
    assert_eq!(verify(&mixture.ledger).await.difference, None, "{answers:?}");
}

#[tokio::test]
async fn a_return_that_comes_with_its_sale_of_another_shop_holds() {
    let mixture = mixture(&fresh_database().await).await;
    let [a, _, c, _] = &mixture.shops;
    for round in 0..20 {
        let key = format!("s{round}");
        let answers = mixture
            .report(vec![
                about(&key, draft(Kind::Return, &format!("b{round}"), c, "tea", 1)),
                draft(Kind::Sale, &key, a, "tea", 1),
            ])
            .await;
        assert_eq!(verify(&mixture.ledger).await.difference, None, "{answers:?}");
    }
}

#[tokio::test]
async fn a_return_whose_sale_of_another_shop_was_refused_holds() {
    let mixture = mixture(&fresh_database().await).await;
    let [a, _, c, _] = &mixture.shops;
    let future = Some(Timestamp(mixture.ago(0).unwrap().0 + 3_600 * SECOND));
    let answers = mixture
        .report(vec![
            Draft { occurred_at: future, ..draft(Kind::Sale, "s", a, "tea", 1) },
            about("s", draft(Kind::Return, "b", c, "tea", 1)),
        ])
        .await;
    assert_eq!(verify(&mixture.ledger).await.difference, None, "{answers:?}");
}
