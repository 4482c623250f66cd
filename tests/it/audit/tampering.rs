//! Whatever is altered, taken out, put in or exchanged is found and named.

use stockroom::stock::{ids::Partition, kind::Kind};

use super::{
    assert_holds, audit, busy, connect, difference, entries, filled, forge, go_on, numbers, run,
    unguard,
};
use crate::harness::mixture::draft;

/// A new value of a column of some type.
fn other(column: &str, data_type: &str, null: bool) -> String {
    match (data_type, null) {
        ("smallint" | "integer" | "bigint", false) => format!("{column} + 1"),
        ("smallint" | "integer" | "bigint", true) => "1".to_owned(),
        ("timestamp with time zone", false) => format!("{column} + interval '1 microsecond'"),
        ("timestamp with time zone", true) => "timestamptz '2020-02-02'".to_owned(),
        ("text", false) => format!("{column} || 'x'"),
        ("text", true) => "'x'".to_owned(),
        ("bytea", false) => format!("set_byte({column}, 7, get_byte({column}, 7) # 1)"),
        ("bytea", true) => "'x'".to_owned(),
        other => panic!("no idea how to change a {other:?}"),
    }
}

#[tokio::test]
async fn a_chain_over_every_kind_of_movement_holds() {
    let (_, mixture) = filled().await;
    let audited = audit(&mixture, &[]).await;
    assert_eq!(audited.differences, []);
    let found = || audited.partitions.iter().map(|(_, found)| found);
    assert!(found().map(|found| found.entries).sum::<u64>() > 190, "{audited:?}");
    assert!(found().map(|found| found.batches).sum::<u64>() > 50, "{audited:?}");
    assert!(found().all(|found| found.unlinked == 0 && found.gaps.is_empty()), "{audited:?}");
    let anchors = mixture.ledger.anchors().await.unwrap();
    assert_eq!(assert_holds(&mixture, &anchors).await, anchors.len() as u64);
}

#[tokio::test]
async fn an_altered_column_is_found_and_its_entry_named() {
    let (url, mixture) = filled().await;
    let (Partition(partition), _) = busy(&url).await;
    let connection = &mut connect(&url).await;
    unguard(connection).await;
    let columns = "select column_name::text, data_type::text from information_schema.columns
                   where table_name = 'ledger_entry' and column_name <> 'partition'";
    let columns: Vec<(String, String)> =
        sqlx::query_as(columns).fetch_all(&mut *connection).await.unwrap();
    assert!(columns.len() > 30, "{columns:?}");
    let mut altered = 0;
    for (column, data_type) in columns {
        for null in [false, true] {
            let is = if null { "is null" } else { "is not null" };
            let chosen = format!(
                "select seq from ledger_entry where partition = {partition} and {column} {is}
                 order by seq offset 3 limit 1"
            );
            let Some(&seq) = numbers(connection, &chosen).await.first() else { continue };
            let row = format!("where partition = {partition} and seq = {seq}");
            run(connection, &format!("create table kept as select * from ledger_entry {row}"))
                .await;
            // A number that another entry has is another story.
            let value = match &*column {
                "seq" => "100000".to_owned(),
                column => other(column, &data_type, null),
            };
            let change = format!("update ledger_entry set {column} = {value} {row}");
            run(connection, &change).await;
            let named = difference(&mixture, &[], &change).await;
            let name = format!("ledger_entry partition={partition} seq={seq}: ");
            assert!(named.starts_with(&name), "{change} was taken for {named}");
            let back = format!(
                "delete from ledger_entry {row};
                 delete from ledger_entry where partition = {partition} and seq = 100000;
                 insert into ledger_entry table kept; drop table kept"
            );
            run(connection, &back).await;
            altered += 1;
        }
    }
    assert!(altered > 45, "{altered}");
    assert_holds(&mixture, &[]).await;
}

#[tokio::test]
async fn every_altered_byte_of_a_batch_is_found() {
    let (url, mixture) = filled().await;
    let (Partition(partition), _) = busy(&url).await;
    let connection = &mut connect(&url).await;
    unguard(connection).await;
    // The last one of several entries, and one in the middle.
    let chosen = format!(
        "select max(last_seq) filter (where first_seq < last_seq) from ledger_batch
         where partition = {partition}
         union select percentile_disc(0.5) within group (order by last_seq) from ledger_batch
         where partition = {partition}"
    );
    for seq in numbers(connection, &chosen).await {
        let row = format!("where partition = {partition} and last_seq = {seq}");
        for column in ["previous", "hash", "digests"] {
            let length = format!("select octet_length({column})::bigint from ledger_batch {row}");
            for byte in 0..numbers(connection, &length).await[0] {
                let flip = format!(
                    "update ledger_batch set {column} = set_byte({column}, {byte},
                     get_byte({column}, {byte}) # 1) {row}"
                );
                run(connection, &flip).await;
                let named = difference(&mixture, &[], &flip).await;
                assert!(named.starts_with("ledger_batch partition="), "{flip}: {named}");
                run(connection, &flip).await;
            }
        }
        for change in ["epoch = epoch + 1", "epoch = epoch - 1", "first_seq = first_seq + 1"] {
            run(connection, &format!("update ledger_batch set {change} {row}")).await;
            let named = difference(&mixture, &[], change).await;
            assert!(named.starts_with("ledger_batch partition="), "{change}: {named}");
            let back = match change.contains(" + ") {
                true => change.replace(" + ", " - "),
                false => change.replace(" - ", " + "),
            };
            run(connection, &format!("update ledger_batch set {back} {row}")).await;
        }
    }
    assert_holds(&mixture, &[]).await;
}

#[tokio::test]
async fn an_altered_end_of_the_chain_is_found() {
    let (url, mixture) = filled().await;
    let (Partition(partition), _) = busy(&url).await;
    let connection = &mut connect(&url).await;
    unguard(connection).await;
    let row = format!("where partition = {partition}");
    for (change, back) in [
        ("chain_seq = chain_seq - 1", "chain_seq = chain_seq + 1"),
        ("chain_checksum = chain_checksum + 1", "chain_checksum = chain_checksum - 1"),
        ("chain_hash = set_byte(chain_hash, 31, get_byte(chain_hash, 31) # 1)", ""),
    ] {
        run(connection, &format!("update ledger_head set {change} {row}")).await;
        let named = difference(&mixture, &[], change).await;
        assert!(named.starts_with(&format!("ledger_head partition={partition}:")), "{named}");
        let back = if back.is_empty() { change } else { back };
        run(connection, &format!("update ledger_head set {back} {row}")).await;
    }
    assert_holds(&mixture, &[]).await;
}

/// What is done, to which table, and the key and words that it must be named with; 0: any key.
fn cases(partition: i16, last: i64) -> Vec<(String, &'static str, i64, &'static str)> {
    let (middle, row) = (last / 2, format!("partition = {partition} and seq"));
    let shift = format!("partition = {partition} and seq >= {middle}");
    let copy = format!("insert into ledger_entry select e.* from kept_e e where {row} = {middle}");
    let delete = "delete from ledger_entry where";
    let here = format!("partition = {partition}");
    vec![
        (format!("{delete} {row} = {middle}"), "ledger_entry", middle, "row is missing"),
        (format!("{delete} {row} >= {last}"), "ledger_entry", last, "row is missing"),
        // One is put in, and all behind it move on.
        (
            format!(
                "update ledger_entry set seq = seq + 100001 where {shift};
                 update ledger_entry set seq = seq - 100000 where {here} and seq > 100000;
                 {copy}"
            ),
            "ledger_entry",
            middle + 1,
            "",
        ),
        (
            format!(
                "update ledger_entry set seq = -1 where {row} = {middle};
                 update ledger_entry set seq = {middle} where {row} = {middle} + 1;
                 update ledger_entry set seq = {middle} + 1 where {row} = -1"
            ),
            "ledger_entry",
            middle,
            "",
        ),
        (
            format!(
                "create temp table one as select * from kept_e where {row} = {middle};
                 update one set seq = {last} + 1; insert into ledger_entry table one"
            ),
            "ledger_entry",
            last + 1,
            "the head does not know this row",
        ),
        (
            format!(
                "delete from ledger_batch where partition = {partition} and last_seq =
                 (select last_seq from ledger_batch where partition = {partition}
                  and last_seq >= {middle} order by 1 limit 1)"
            ),
            "ledger_batch",
            0,
            "row is missing",
        ),
        (
            format!("delete from ledger_batch where partition = {partition}"),
            "ledger_batch",
            1,
            "row is missing",
        ),
    ]
}

#[tokio::test]
async fn what_was_taken_out_put_in_or_exchanged_is_named() {
    let (url, mixture) = filled().await;
    let (Partition(partition), last) = busy(&url).await;
    let connection = &mut connect(&url).await;
    unguard(connection).await;
    let all = "create table kept_e as table ledger_entry;
               create table kept_b as table ledger_batch";
    run(connection, all).await;
    for (change, table, seq, what) in cases(partition, last) {
        run(connection, &change).await;
        let named = difference(&mixture, &[], &change).await;
        let key = if table == "ledger_entry" { "seq" } else { "last_seq" };
        let name = format!("{table} partition={partition} {key}=");
        let exactly = if seq == 0 { name } else { format!("{name}{seq}: ") };
        assert!(named.starts_with(&exactly) && named.contains(what), "{change}: {named}");
        let back = "truncate ledger_entry, ledger_batch;
                    insert into ledger_entry table kept_e; insert into ledger_batch table kept_b";
        run(connection, back).await;
    }
    assert_holds(&mixture, &[]).await;
}

#[tokio::test]
async fn an_entry_that_was_altered_together_with_its_checksum_is_named() {
    let (url, mixture) = filled().await;
    let (partition, last) = busy(&url).await;
    let (Partition(number), seq) = (partition, last / 2);
    let connection = &mut connect(&url).await;
    let row = format!("where partition = {number} and seq = {seq}");
    let set = |what: &str| format!("update ledger_entry set {what} {row}");
    run(connection, &set("key = 'other'")).await;
    let altered = entries(&mixture.ledger, partition).await;
    let checksum = altered.iter().find(|entry| entry.seq == seq).unwrap().checksum();
    run(connection, &set(&format!("checksum = {checksum}"))).await;
    let named = difference(&mixture, &[], "an exchanged entry").await;
    let expected = "it was exchanged together with its checksum";
    assert_eq!(named, format!("ledger_entry partition={number} seq={seq}: {expected}"));
}

#[tokio::test]
async fn a_chain_that_was_forged_wholly_is_found_by_an_anchor() {
    let (url, mixture) = filled().await;
    let early = mixture.ledger.anchors().await.unwrap();
    go_on(&mixture, "more").await;
    let late = mixture.ledger.anchors().await.unwrap();
    let anchors = [early.clone(), late].concat();
    assert_eq!(assert_holds(&mixture, &anchors).await, anchors.len() as u64);

    let (partition, last) = busy(&url).await;
    let Partition(number) = partition;
    let row = format!("where partition = {number} and seq = {last}");
    let connection = &mut connect(&url).await;
    run(connection, &format!("update ledger_entry set actor = 'nobody' {row}")).await;
    forge(&url, &mixture.ledger, partition).await;
    assert_holds(&mixture, &[]).await;

    let named = difference(&mixture, &anchors, "a forged chain").await;
    let fits = early.iter().find(|anchor| anchor.partition == number).unwrap().seq;
    let name =
        format!("ledger_batch partition={number} last_seq={last}: differs from the anchor of ");
    assert!(named.starts_with(&name), "{named}");
    assert!(
        named.ends_with(&format!("the last anchor that fits is that of entry {fits}")),
        "{named}"
    );
}

#[tokio::test]
async fn an_audit_holds_while_others_write() {
    let (url, mixture) = filled().await;
    let write = async {
        for round in 0..40 {
            let [a, b, c, d] = &mixture.shops;
            let sold = |shop: &String, line| {
                draft(Kind::Sale, &format!("w{round}-{line}-{shop}"), shop, "tea", 1)
            };
            let drafts =
                [a, b, c, d].into_iter().flat_map(|shop| (0..9).map(move |line| sold(shop, line)));
            mixture.report(drafts.collect()).await;
        }
    };
    let read = async {
        let mut entries = Vec::new();
        while entries.len() < 6 {
            let anchors = mixture.ledger.anchors().await.unwrap();
            let audited = audit(&mixture, &anchors).await;
            assert_eq!(audited.differences, []);
            entries.push(audited.partitions.iter().map(|(_, found)| found.entries).sum::<u64>());
        }
        entries
    };
    let ((), entries) = tokio::join!(write, read);
    assert!(entries.is_sorted(), "{entries:?}");
    assert_holds(&mixture, &[]).await;
    let stray = "create table stray as select * from ledger_batch limit 1;
                 update stray set partition = 9; insert into ledger_batch table stray";
    run(&mut connect(&url).await, stray).await;
    let named = difference(&mixture, &[], "a row outside of every partition").await;
    assert_eq!(named, "ledger_batch partition=9: the partition has no head");
}
