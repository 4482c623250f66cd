//! The ledger can be spread over many databases by `partition`: here over tables of one database,
//! where PostgreSQL refuses keys without it, and shows for every statement where it looks.
#![expect(clippy::disallowed_types, reason = "looks at plans")]

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::harness::{databases::fresh_database, mixture::Mixture};

/// Tables that each ledger table is spread over.
const SHARDS: usize = 4;
/// Partitions of the ledger.
const PARTITIONS: usize = 8;

/// Statements that look into more than one shard, by how they begin, and why they may. None is on
/// the path of a movement or of a read.
const EXCEPTIONS: [(&str, &str); 6] = [
    ("select partition from ledger_head order by partition", "lists the partitions: a row each"),
    (
        r#"select count(*) as "count!" from ledger_head"#,
        "counts them when the database is prepared",
    ),
    ("insert into ledger_head", "creates them when the database is prepared"),
    (
        r#"select clock_timestamp() as "now!: At", (select"#,
        "the feed looks at all heads: a row each",
    ),
    ("select partition, epoch, seq,", "verifies one moment of all partitions: a row each"),
    ("select (select min(partition)", "verifies that no row is outside of every partition"),
];

/// Where a file creates a table whose key begins with `partition`, it becomes a partitioned one.
fn spread(migration: &str, tables: &mut BTreeSet<String>) -> String {
    let mut statements = Vec::new();
    for statement in migration.split_inclusive(");\n") {
        let create = statement.find("create table ").map(|at| &statement[at..]);
        let Some(create) = create.filter(|create| create.contains("_pk primary key (partition"))
        else {
            statements.push(statement.to_owned());
            continue;
        };
        let name = create.split_whitespace().nth(2).unwrap();
        let (body, _options) = create.rsplit_once("\n)").unwrap();
        statements.push(format!("{body}\n) partition by hash (partition);\n"));
        statements.extend((0..SHARDS).map(|shard| {
            format!(
                "create table {name}_{shard} partition of {name}
                 for values with (modulus {SHARDS}, remainder {shard});\n"
            )
        }));
        tables.insert(name.to_owned());
    }
    statements.concat()
}

async fn spread_database() -> (String, BTreeSet<String>) {
    let url = fresh_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut tables = BTreeSet::new();
    for file in files {
        let migration = spread(&fs::read_to_string(file).unwrap(), &mut tables);
        sqlx::raw_sql(AssertSqlSafe(migration)).execute(&mut connection).await.unwrap();
    }
    // As `migrate` does.
    let heads = format!(
        "insert into ledger_head
             (partition, epoch, seq, recorded_at, system_identifier, timeline, checksum)
         select partition, 0, 0, '2000-01-01 00:00:00+00', 0, 0, 0
         from generate_series(0, {PARTITIONS} - 1) as partition"
    );
    sqlx::raw_sql(AssertSqlSafe(heads)).execute(&mut connection).await.unwrap();
    (url, tables)
}

#[tokio::test]
async fn a_ledger_spread_by_partition_takes_every_movement_and_holds() {
    let (url, tables) = spread_database().await;
    let expected = [
        "archived_entry",
        "archived_slice",
        "carried_announcement",
        "carried_position",
        "event_cursor",
        "ledger_batch",
        "ledger_entry",
        "ledger_head",
        "location_snapshot",
        "position",
        "quota",
        "request",
        "reservation",
        "reservation_line",
        "reservation_version",
        "undelivered_event",
    ];
    assert!(tables.iter().eq(&expected), "{tables:?}");
    let mixture = Mixture::new(&url).await;
    mixture.fill().await;
    let verified = mixture.ledger.verify(None, |_| ()).await.unwrap();
    assert_eq!(verified.difference, None);
    assert!(verified.entries > 190, "{verified:?}");
}

#[tokio::test]
async fn every_statement_looks_into_one_shard_of_each_table() {
    let (url, tables) = spread_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let custom = "set plan_cache_mode = force_custom_plan";
    sqlx::raw_sql(custom).execute(&mut connection).await.unwrap();
    let mut excepted = BTreeSet::new();
    let mut checked = 0;
    for statement in statements() {
        let named: Vec<_> = tables.iter().filter(|table| names(&statement, table)).collect();
        if named.is_empty() {
            continue;
        }
        let words = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let exception = EXCEPTIONS.iter().position(|(begin, _)| words.starts_with(begin));
        if let Some(exception) = exception {
            assert!(excepted.insert(exception), "two statements begin like {words}");
            continue;
        }
        let plan = explain(&mut connection, &statement).await;
        let mut shards = BTreeSet::new();
        relations(&plan, &mut shards);
        for table in named {
            let looks_into = |shard: &&String| {
                let number = shard.strip_prefix(&**table).and_then(|rest| rest.strip_prefix('_'));
                number.is_some_and(|number| number.parse::<usize>().is_ok())
            };
            let shards: Vec<_> = shards.iter().filter(looks_into).collect();
            // An insert goes where the value says.
            let inserts = words.contains(&format!("insert into {table} ("));
            assert_eq!(shards.len(), usize::from(!inserts), "{shards:?} by {words}\n{plan:#}");
        }
        checked += 1;
    }
    assert_eq!(excepted.len(), EXCEPTIONS.len(), "an exception that nothing needs any more");
    assert!(checked >= 20, "{checked}");
}

/// Every statement of the program.
fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .map(|file| {
            let prepared: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
            prepared["query"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Whether a statement names a table, as a word.
fn names(statement: &str, table: &str) -> bool {
    let word = |character: char| !character.is_alphanumeric() && character != '_';
    statement.split(word).any(|word| word == table)
}

/// The plan of a statement for any values.
async fn explain(connection: &mut PgConnection, statement: &str) -> Value {
    let run = |sql: String| sqlx::raw_sql(AssertSqlSafe(sql));
    run(format!("prepare statement as {statement}")).execute(&mut *connection).await.unwrap();
    let types = "select unnest(parameter_types)::text from pg_prepared_statements
                 where name = 'statement'";
    let types = sqlx::query_scalar::<_, String>(types).fetch_all(&mut *connection).await.unwrap();
    let values: Vec<_> = types.iter().zip(1..).map(|(name, number)| value(name, number)).collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let explain = format!("explain (format json) execute statement{values}");
    let plan = run(explain.clone()).fetch_one(&mut *connection).await;
    let plan = plan.unwrap_or_else(|error| panic!("{explain}: {error}\n{statement}"));
    run("deallocate statement".to_owned()).execute(connection).await.unwrap();
    let plan: String = plan.get_unchecked(0);
    serde_json::from_str(&plan).unwrap()
}

/// A value of the type of parameter `number`. Later ones are greater, so that a range is not empty.
fn value(type_name: &str, number: i32) -> String {
    // A composite of the program's own.
    if type_name.contains("_row") {
        return format!("'{{}}'::{type_name}");
    }
    if let Some(element) = type_name.strip_suffix("[]") {
        // One that every condition on a state allows, and all that other parameters may be: or nothing
        // would be looked into.
        let numbers = if element == "smallint" { 1..=1 } else { 1..=number };
        let values: Vec<_> = numbers.map(|number| value(element, number)).collect();
        return format!("array[{}]::{type_name}", values.join(", "));
    }
    let (moment, number) = (format!("2026-01-01 00:{number:02}"), number.to_string());
    let value = match type_name {
        "smallint" | "integer" | "bigint" | "double precision" => &*number,
        "text" => "x",
        "boolean" => "true",
        "uuid" => "00000000-0000-0000-0000-000000000001",
        "timestamp with time zone" => &moment,
        "jsonb" => "{}",
        "bytea" => "",
        other => panic!("no value of type {other}"),
    };
    format!("'{value}'::{type_name}")
}

/// The tables that a plan looks into or updates.
fn relations(plan: &Value, found: &mut BTreeSet<String>) {
    match plan {
        Value::Array(parts) => parts.iter().for_each(|part| relations(part, found)),
        Value::Object(fields) => {
            found.extend(fields.get("Relation Name").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|part| relations(part, found));
        }
        _ => {}
    }
}
