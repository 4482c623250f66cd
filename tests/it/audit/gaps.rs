//! Servers that keep no chain write beside those that do, and before them.

use super::{as_before, assert_holds, audit, busy, connect, difference, filled, go_on, run};
use stockroom::stock::ids::Partition;

#[tokio::test]
async fn what_was_recorded_before_the_chain_began_is_said_to_be_unchained() {
    let (url, mixture) = filled().await;
    let (partition, last) = busy(&url).await;
    as_before(&url, partition, 0).await;
    let audited = audit(&mixture, &[]).await;
    assert_eq!(audited.differences, []);
    let found = |audited: &stockroom::ledger::audit::Audited| {
        let mut partitions = audited.partitions.iter();
        partitions.find(|(own, _)| *own == partition).unwrap().1.clone()
    };
    assert_eq!(found(&audited).unlinked, last as u64);
    go_on(&mixture, "new").await;
    let audited = audit(&mixture, &[]).await;
    assert_eq!(audited.differences, []);
    assert_eq!(found(&audited).gaps, [(1, last)]);
    assert_eq!(found(&audited).unlinked, 0);

    let Partition(number) = partition;
    let connection = &mut connect(&url).await;
    let alter = "update ledger_entry set actor = 'nobody' where partition =";
    run(connection, &format!("{alter} {number} and seq = 5")).await;
    let named = difference(&mixture, &[], "an altered entry of a gap").await;
    let what = "its columns do not fit its checksum";
    assert_eq!(named, format!("ledger_entry partition={number} seq=5: {what}"));
}

#[tokio::test]
async fn a_chain_goes_on_behind_batches_of_servers_that_keep_none() {
    let (url, mixture) = filled().await;
    let (partition, chained) = busy(&url).await;
    let anchors = mixture.ledger.anchors().await.unwrap();
    go_on(&mixture, "old").await;
    let (_, last) = busy(&url).await;
    as_before(&url, partition, chained).await;
    assert_eq!(assert_holds(&mixture, &anchors).await, anchors.len() as u64);
    go_on(&mixture, "new").await;
    let audited = audit(&mixture, &anchors).await;
    assert_eq!(audited.differences, []);
    let (_, found) = audited.partitions.iter().find(|(own, _)| *own == partition).unwrap();
    assert_eq!(found.gaps, [(chained + 1, last)]);
    assert_eq!(mixture.ledger.verify(None, |_| ()).await.unwrap().difference, None);

    let Partition(number) = partition;
    let connection = &mut connect(&url).await;
    run(connection, "create table kept as table ledger_batch").await;
    let fill = format!(
        "update ledger_batch set digests = decode(repeat('00', {} * 16), 'hex')",
        last - chained
    );
    run(connection, &format!("{fill} where partition = {number} and digests is null")).await;
    let named = difference(&mixture, &[], "a gap that pretends to be none").await;
    assert!(
        named.starts_with(&format!("ledger_entry partition={number} seq={}:", chained + 1)),
        "{named}"
    );
    run(connection, "truncate ledger_batch; insert into ledger_batch table kept").await;
    let hide = "update ledger_batch set digests = null where last_seq = ";
    run(connection, &format!("{hide} {chained} and partition = {number}")).await;
    let named = difference(&mixture, &[], "a batch that pretends to be a gap").await;
    let what = "its hash does not fit its entries";
    assert_eq!(named, format!("ledger_batch partition={number} last_seq={chained}: {what}"));
}
