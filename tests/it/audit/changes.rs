//! Who changed the network, and when.

use serde_json::Value;
use stockroom::{
    ledger::network::{Channel, NetworkChange},
    stock::{live::LocationStatus, time::Timestamp},
};

use super::{command::stockroom, ledger};

#[tokio::test]
async fn who_changed_the_network_and_when_is_kept() {
    let (url, mixture) = ledger().await;
    let shop = &mixture.shops[0];
    let (anna, ben) = (mixture.ledger.acting_for("anna"), mixture.ledger.acting_for("ben"));
    let until = Timestamp(mixture.ago(-3_600).unwrap().0 / 1_000_000 * 1_000_000);
    anna.set_location_status(shop, LocationStatus::Closed, Some(until)).await.unwrap().unwrap();
    ben.set_location_status(shop, LocationStatus::Open, None).await.unwrap().unwrap();
    let web = Channel { channel_id: "web".to_owned(), name: "Other".to_owned() };
    ben.put_channel(&web).await.unwrap();
    assert!(
        ben.set_location_status("nowhere", LocationStatus::Open, None).await.unwrap().is_none()
    );
    mixture.ledger.put_channel(&web).await.unwrap();

    let changes = mixture.ledger.network_changes(None, i64::MAX, 4).await.unwrap();
    let told = |change: &NetworkChange| {
        let NetworkChange { what, subject, actor, detail, .. } = change.clone();
        [what, subject, actor, detail]
    };
    let until = jiff::Timestamp::from_microsecond(until.0).unwrap();
    let closed = format!("CLOSED until {until}");
    let expected = [
        ["channel", "web", "", ""],
        ["channel", "web", "ben", ""],
        ["location_status", shop, "ben", "OPEN"],
        ["location_status", shop, "anna", &closed],
    ];
    assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(changes.is_sorted_by(|one, next| one.changed_at >= next.changed_at));
    let day = 86_400;
    assert!(changes.iter().all(|change| change.changed_at > mixture.ago(day).unwrap()));
    let behind = mixture.ledger.network_changes(Some(shop), changes[2].revision, 10).await.unwrap();
    assert_eq!(told(&behind[0]), expected[3]);

    let (code, text) = stockroom(&[
        "changes",
        "--database-url",
        &url,
        "--subject",
        shop,
        "--limit",
        "2",
        "--json",
    ]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, told["changes"].as_array().unwrap().len()), (0, 2), "{text}");
    assert_eq!(told["changes"][1]["actor"], "anna");
    let (code, text) = stockroom(&["changes", "--database-url", &url]);
    assert!(code == 0 && text.contains("anna") && text.contains(&closed), "{text}");
}
