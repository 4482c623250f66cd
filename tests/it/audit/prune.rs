//! What is kept besides the ledger goes when it is old; the ledger stays.

use serde_json::{Value, json};

use super::{assert_holds, command::stockroom, connect, filled, numbers, run};

const OLD: &str = "clock_timestamp() - interval '31 days'";
const YOUNG: &str = "clock_timestamp() - interval '29 days'";

/// More rows than one statement removes, each so old.
fn rows(offset: i64, count: i64, at: &str) -> String {
    format!(
        "insert into refusal_count
         select {at}, number, 0, 1, 1 from generate_series({offset} + 1, {offset} + {count}) as number;
         insert into undelivered_event
             select number, null, {at}, {at}, 1, 1, 7, 20, 500, 0, 1, 2, 'e' || number, null, '{{}}'
             from generate_series({offset} + 1, {offset} + {count}) as number;
         insert into undelivered_event
             select number, null, {at}, {at}, 1, 1, 8, 20, 500, 0, 1, 1, 'e' || number, null, '{{}}'
             from generate_series({offset} + 1, {offset} + 3) as number;
         insert into rejected_movement
             select gen_random_uuid(), gen_random_uuid(), 'till', null, 3, 'X', '', '{{}}', '', {at}, 1,
                 1 + number % 3, null, null
             from generate_series(1, {count}) as number;
         update network_change set changed_at = {at} where revision % 2 = {offset} % 2"
    )
}

async fn left(url: &str) -> Vec<i64> {
    let connection = &mut connect(url).await;
    let mut left = Vec::new();
    for rows in [
        "refusal_count",
        "undelivered_event where state = 2",
        "undelivered_event where state = 1",
        "rejected_movement where state = 1",
        "rejected_movement where state > 1",
        "network_change",
    ] {
        left.extend(numbers(connection, &format!("select count(*) from {rows}")).await);
    }
    left
}

#[tokio::test]
async fn what_is_old_and_done_with_is_removed_and_nothing_else() {
    let (url, mixture) = filled().await;
    let connection = &mut connect(&url).await;
    let [rejected, changes] = ["rejected_movement", "network_change"]
        .map(|table| format!("select count(*) from {table}"));
    let none = numbers(connection, &rejected).await[0];
    assert_eq!(none, 0, "the mixture is all good");
    run(connection, &rows(0, 2_100, OLD)).await;
    run(connection, &rows(3_001, 30, YOUNG)).await;
    let changed = numbers(connection, &changes).await[0];
    let old = "select count(*) from network_change where revision % 2 = 0";
    let old = numbers(connection, old).await[0];
    assert_eq!(left(&url).await, [2_130, 2_130, 6, 710, 1_420, changed]);
    assert!(old > 0 && old < changed);

    let (code, text) = stockroom(&["prune", "--database-url", &url, "--keep-days", "30", "--json"]);
    let told: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "dead_letters": 2_100,
        "refusal_counts": 2_100,
        "rejected_movements": 1_400,
        "network_changes": old,
    });
    assert_eq!((code, told), (0, expected));
    assert_eq!(left(&url).await, [30, 30, 6, 710, 20, changed - old]);
    let (code, text) = stockroom(&["prune", "--database-url", &url, "--keep-days", "30"]);
    assert!(code == 0 && text.starts_with("removed 0 dead letters, 0 counts"), "{text}");
    assert_holds(&mixture, &[]).await;
    assert_eq!(mixture.ledger.verify(None, |_| ()).await.unwrap().difference, None);
    let (code, _) = stockroom(&["prune", "--database-url", &url, "--keep-days", "0"]);
    assert_eq!(code, 2);
}
