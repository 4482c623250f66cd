//! Reading positions.

use stockroom::{
    availability::{Availability, Checkpoint, project::Effects, read::Projected},
    stock::ids::{ItemNo, LocationNo, Partition, Place, PositionKey},
};

use super::layer::{EPOCH, Layer, PARTITION, PLACE, id, key, row, settle};
use crate::harness::databases;

#[tokio::test]
async fn positions_come_in_the_order_in_which_they_were_asked() {
    let layer = Layer::with(&[(1, 10, 1), (500, -3, 0), (129, 7, 2)]).await;
    let asked = [key(500), key(2), key(1), key(129), key(1)];
    let reading = layer.redis.read(&asked, None).await.unwrap();
    let rows: Vec<_> = reading.positions.iter().map(|position| position.row).collect();
    let (one, minus) = (Some(row(1, 5, 10, 1)), Some(row(500, 5, -3, 0)));
    assert_eq!(rows, [minus, None, one, Some(row(129, 5, 7, 2)), one]);
    let view = reading.views[&PARTITION];
    assert_eq!(view.checkpoint, Some(Checkpoint { epoch: EPOCH, seq: 10 }));
    assert!((0..60_000_000).contains(&view.age_us) && !view.doubtful);
}

#[tokio::test]
async fn own_holds_do_not_count() {
    let layer = Layer::with(&[(1, 10, 0), (2, 10, 0)]).await;
    layer.granted(id(1), &[(1, 4), (2, 1)]).await;
    layer.granted(id(2), &[(1, 3)]).await;
    let held = async |own| {
        let reading = layer.redis.read(&[key(1), key(2)], own).await.unwrap();
        reading.positions.iter().map(|position| position.held).collect::<Vec<_>>()
    };
    assert_eq!(held(None).await, [7, 1]);
    assert_eq!(held(Some(id(1))).await, [3, 0]);
    assert_eq!(held(Some(id(9))).await, [7, 1], "of a hold that nobody knows");
    layer.redis.release(id(1)).await.unwrap();
    assert_eq!(held(Some(id(1))).await, [3, 0], "of a hold that is over");
}

#[tokio::test]
async fn many_positions_of_several_partitions_are_read_together() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let at = |partition, location| Place {
        partition: Partition(partition),
        location: LocationNo(location),
    };
    let places = [PLACE, at(0, 1), at(1, 2), at(0, 7)];
    let key = |place, item| PositionKey { place, item: ItemNo(item) };
    let keys: Vec<_> = (1..=2_600).flat_map(|item| places.map(|place| key(place, item))).collect();
    let reading = layer.redis.read(&keys, None).await.unwrap();
    assert_eq!(reading.positions.len(), keys.len());
    assert_eq!(reading.positions[0].row, Some(row(1, 5, 10, 0)));
    assert!(reading.positions[1..].iter().all(|position| *position == Projected::default()));
    let known: Vec<_> = reading
        .views
        .iter()
        .map(|(partition, view)| (partition.0, view.checkpoint.is_some()))
        .collect();
    assert_eq!(known, [(0, false), (1, false), (3, true)]);
}

#[tokio::test]
async fn nothing_asked_is_nothing_answered() {
    let reading = Layer::empty().await.redis.read(&[], None).await.unwrap();
    assert!(reading.views.is_empty() && reading.positions.is_empty());
}

#[tokio::test]
async fn rows_of_another_epoch_are_not_there() {
    let layer = Layer::with(&[(1, 10, 0), (2, 20, 0)]).await;
    layer.rebuild(EPOCH + 1, 4, &[row(2, 4, 21, 0)]).await;
    assert_eq!(layer.position(1).await.row, None);
    assert_eq!(
        layer.position(2).await.row,
        Some(row(2, 4, 21, 0)),
        "a smaller seq of a later epoch"
    );
}

#[tokio::test]
async fn rows_are_fetched_once_as_long_as_nothing_changes() {
    let layer = Layer::with(&[(1, 10, 0), (2, 20, 0)]).await;
    assert_eq!(layer.position(1).await.row, Some(row(1, 5, 10, 0)));
    layer.raw.command(&["DEL", &layer.key("r:7:0")]).await;
    assert_eq!(layer.position(1).await.row, Some(row(1, 5, 10, 0)), "it was seen");
    let both = layer.redis.read(&[key(2), key(1)], None).await.unwrap();
    let rows: Vec<_> = both.positions.iter().map(|position| position.row).collect();
    assert_eq!(rows, [None, Some(row(1, 5, 10, 0))], "only what was not seen is fetched");
    let rows = [row(1, 11, 9, 1)];
    let effects = Effects { rows: &rows, ..Effects::default() };
    assert!(layer.redis.settle(PARTITION, settle(10, Some(11), None, effects)).await.unwrap());
    layer.raw.command(&["DEL", &layer.key("r:7:0")]).await;
    assert_eq!(layer.position(1).await.row, Some(row(1, 11, 9, 1)), "by its own batch");
}

#[tokio::test]
async fn what_another_server_did_is_seen_at_once() {
    let layer = Layer::with(&[(1, 10, 0), (2, 20, 0)]).await;
    let other = Availability::new(&databases::redis_url().await, &layer.prefix).unwrap();
    let rows = |seq, sellable| [row(1, seq, sellable, 0)];
    assert_eq!(layer.position(1).await.row, Some(row(1, 5, 10, 0)));
    // Behind the checkpoint, which then stands elsewhere; and beyond it, which does not move it.
    for (from, to, sellable, moved) in [(10, 11, 9, true), (12, 13, 8, false)] {
        let rows = rows(to, sellable);
        let effects = Effects { rows: &rows, ..Effects::default() };
        let done = other.settle(PARTITION, settle(from, Some(to), None, effects)).await.unwrap();
        assert_eq!(done, moved);
        assert_eq!(layer.position(1).await.row, Some(row(1, to, sellable, 0)));
    }
}

#[tokio::test]
async fn nothing_is_remembered_of_a_redis_that_lost_everything() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    assert_eq!(layer.position(1).await.row, Some(row(1, 5, 10, 0)));
    layer.raw.command(&["DEL", &layer.key("r:7:0"), &layer.key("checkpoint")]).await;
    assert_eq!(layer.position(1).await, Projected::default());
    layer.fill(&[(1, 7, 0)]).await;
    assert_eq!(layer.position(1).await.row, Some(row(1, 5, 7, 0)));
}
