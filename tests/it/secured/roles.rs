//! Who may do what in the databases, as the files in `deploy` set it up.
#![expect(clippy::disallowed_types, reason = "tries what a role may not do")]

use std::{collections::BTreeSet, fs, path::Path};

use sqlx::{Connection as _, PgConnection};
use stockroom::api::proto::EventType;

use crate::{
    fuzz::server::tell_stories,
    harness::{
        binary::run,
        databases,
        movements::{receipt, sale},
        raw_redis::Raw,
        receiver::{Receiver, webhook},
        redis::Reached,
        secured::{Roles, SecuredRedis, secured},
        server::{Server, prefix_of},
    },
};

/// The SQLSTATE of a privilege that is lacking.
const DENIED: &str = "42501";

#[tokio::test]
async fn a_server_does_everything_as_the_application() {
    let secured = secured().await;
    let Roles { superuser, application, reader, .. } = &secured.database_with_roles().await;
    let redis = SecuredRedis::start_plain(prefix_of(application)).await;
    let reached = Reached { url: redis.url(), liar: None };
    let server = Server::start_with(superuser, application, reached).await;
    server.put_locations(&["a", "b", "berlin"]).await;
    server.put_channel("web").await;
    let receiver = Receiver::start().await;
    server.put_webhook(webhook("shop", &receiver.url, &[EventType::OutOfStock])).await;
    let delivery = server.deliver();
    server.record(vec![receipt("r", "berlin", "A", 1), sale("s", "berlin", "A", 1)]).await;
    receiver.wait_for(1).await;
    tell_stories(&server).await;
    server.caught_up().await;
    delivery.stop().await;

    let address = redis.url();
    let environment = [("DATABASE_URL", reader.as_str()), ("REDIS_URL", &address)];
    let prefix = ["--redis-prefix", prefix_of(application)];
    let verified = run(&[&["verify", "--json"][..], &prefix].concat(), &environment).await;
    let told = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && told.contains(r#""compared":true"#), "{verified:?}");
    let looks: [&[&str]; 5] =
        [&["audit"], &["entries"], &["position", "berlin", "A"], &["rejected"], &["changes"]];
    for command in looks {
        let output = run(command, &environment).await;
        assert!(output.status.success(), "{output:?}");
    }
    server.stop().await;

    let denied = Raw::new(&redis.operator_url()).command(&["ACL", "LOG"]).await;
    assert_eq!(denied, redis::Value::Array(Vec::new()));
    let name = prefix_of(application);
    for file in fs::read_dir(&secured.logs).unwrap() {
        let log = fs::read_to_string(file.unwrap().path()).unwrap();
        let denied = log.lines().find(|line| line.contains(name) && line.contains("denied"));
        assert_eq!(denied, None);
    }
}

/// What comes of a statement: the code of its error.
async fn code_of(url: &str, statement: &str) -> Option<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = sqlx::AssertSqlSafe(statement.to_owned());
    let done = sqlx::raw_sql(sql).execute(&mut connection).await;
    let error = done.err()?.into_database_error().expect(statement);
    Some(error.code().expect(statement).into_owned())
}

#[tokio::test]
async fn an_entry_can_be_changed_by_nobody_who_serves_or_looks() {
    let Roles { owner, application, reader, .. } = secured().await.database_with_roles().await;
    let change = [
        "update ledger_entry set quantity = quantity + 1",
        "update ledger_entry set note = null",
        "delete from ledger_entry",
        "truncate ledger_entry",
        "select from ledger_entry for update",
        "alter table ledger_entry drop constraint ledger_entry_pk",
        "drop table ledger_entry",
        "delete from ledger_batch",
        "update ledger_batch set hash = previous",
        "delete from position",
        "delete from request",
        "update request set digest = digest",
        "update channel_policy_version set version = version",
        "insert into ledger_head select * from ledger_head",
        "create table mine (x integer)",
        "create temporary table mine (x integer)",
        "create function mine() returns void language sql as ''",
        "set role stockroom_owner",
        "update _sqlx_migrations set success = true",
        "update api_key set revoked_at = null",
        "insert into api_key select * from api_key",
    ];
    for statement in change {
        for url in [&application, &reader] {
            let code = code_of(url, statement).await;
            assert_eq!(code.as_deref(), Some(DENIED), "{statement}");
        }
    }
    for statement in [
        "insert into source (source) values ('x')",
        "update ledger_head set seq = seq",
        "select * from pickup_secret",
        "select secret from webhook",
        "select secret_sha256 from api_key",
        "select * from webhook",
    ] {
        assert_eq!(code_of(&reader, statement).await.as_deref(), Some(DENIED), "{statement}");
    }
    assert_eq!(code_of(&reader, "select webhook_id, url from webhook").await, None);
    // What a later version adds is nobody's until somebody has decided.
    databases::execute(&owner, "create table later (x integer)").await;
    for url in [&application, &reader] {
        assert_eq!(code_of(url, "select * from later").await.as_deref(), Some(DENIED));
    }
}

#[tokio::test]
async fn the_user_of_redis_may_do_what_the_program_does_and_no_more() {
    let redis = SecuredRedis::start_plain("mine").await;
    let raw = Raw::new(&redis.url());
    let denied: [&[&str]; 12] = [
        &["CONFIG", "GET", "*"],
        &["FLUSHALL"],
        &["FLUSHDB"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["ACL", "LIST"],
        &["SHUTDOWN"],
        &["DEBUG", "SLEEP", "0"],
        &["MONITOR"],
        &["SCRIPT", "FLUSH"],
        &["HSET", "other:{p0}:row", "a", "b"],
        &["EVAL", "return 1", "0"],
    ];
    for words in denied {
        assert_eq!(raw.try_command(words).await, None, "{words:?}");
    }
    assert_eq!(raw.number(&["HSET", "mine:{p0}:row", "a", "b"]).await, 1);
    // Nor does a script reach further.
    let reads = "return redis.call('HGET', 'other:{p0}:row', 'a')";
    let redis::Value::BulkString(sha) = raw.command(&["SCRIPT", "LOAD", reads]).await else {
        panic!("it is loaded");
    };
    let sha = String::from_utf8(sha).unwrap();
    assert_eq!(raw.try_command(&["EVALSHA", &sha, "0"]).await, None);
    assert!(Raw::new(&redis.operator_url()).try_command(&["CONFIG", "GET", "*"]).await.is_some());
    let nobody = redis.url().replace("stockroom:", "default:");
    assert_eq!(Raw::new(&nobody).try_command(&["PING"]).await, None);
}

/// What follows these words, as far as it is a name, in all SQL of the program.
fn named_after(words: &[&str], sources: &str) -> BTreeSet<String> {
    let name = |rest: &str| -> String {
        rest.chars().take_while(|&c| c.is_ascii_lowercase() || c == '_').collect()
    };
    let found = words.iter().flat_map(|words| sources.split(words).skip(1).map(name));
    found.filter(|name| !name.is_empty() && name != "set").collect()
}

#[tokio::test]
async fn every_statement_of_the_program_has_its_privilege_and_every_table_a_word() {
    let Roles { superuser, .. } = secured().await.database_with_roles().await;
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => sources += &fs::read_to_string(path).unwrap(),
            }
        }
    }
    // What is no table has every privilege.
    let lacking = async |words: &[&str], privileged: &str| {
        let mut lacking = named_after(words, &sources);
        let names: Vec<String> = lacking.iter().map(|name| format!("('{name}')")).collect();
        let asked = format!(
            "select name from (values {}) as named (name)
             where not {privileged} and to_regclass(name) is not null",
            names.join(", ")
        );
        let named = texts(&superuser, &asked).await;
        lacking.retain(|name| named.contains(name));
        lacking
    };
    let column = |privilege| {
        let role = "has_any_column_privilege('stockroom_application'";
        format!("coalesce({role}, to_regclass(name)::oid, '{privilege}'), true)")
    };
    let deletes = "has_table_privilege('stockroom_application', to_regclass(name)::oid, 'delete')";
    // Partitions are made by `migrate`, keys made and forgotten by `stockroom keys`, and what is old is
    // moved by `stockroom archive` and removed by `stockroom prune`: all of them as the owner.
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let inserted = lacking(&["insert into "], &column("insert")).await;
    let archive = ["archived_entry", "archived_slice", "carried_announcement", "carried_position"];
    assert_eq!(inserted, names(&[&["api_key", "ledger_head"], &archive[..]].concat()));
    assert_eq!(lacking(&["update "], &column("update")).await, names(&[]));
    let pruned = ["network_change", "refusal_count", "rejected_movement"];
    let archived = ["carried_announcement", "ledger_batch", "ledger_entry"];
    let deleted = names(&[&["api_key"], &pruned[..], &archived].concat());
    assert_eq!(lacking(&["delete from "], deletes).await, deleted);

    let tables = "select tablename::text from pg_tables where schemaname = 'public'";
    let grants = include_str!("../../../deploy/postgres/grants.sql");
    let words: BTreeSet<&str> = grants.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for table in texts(&superuser, tables).await {
        assert!(words.contains(table.as_str()), "deploy/postgres/grants.sql does not name {table}");
    }
}

async fn texts(url: &str, query: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let query = sqlx::AssertSqlSafe(query.to_owned());
    sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap()
}
