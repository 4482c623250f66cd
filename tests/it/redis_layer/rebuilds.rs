//! Projecting a partition anew, interrupted and by several at once.

use stockroom::{
    availability::{
        Checkpoint, Row,
        project::Effects,
        rebuild::{Cursor, Rebuild},
    },
    stock::ids::{ItemNo, LocationNo},
};

use super::layer::{EPOCH, Layer, PARTITION, key, row, settle};
use crate::harness::{private_redis::PrivateRedis, server::eventually};

fn rows(rows: &[Row]) -> Effects<'_> {
    Effects { rows, ..Effects::default() }
}

fn cursor(item: i32) -> Cursor {
    Cursor(Some((LocationNo(7), ItemNo(item))))
}

async fn under_way(layer: &Layer) -> Option<Rebuild> {
    layer.redis.states(&[PARTITION]).await.unwrap()[0].rebuild.clone()
}

#[tokio::test]
async fn a_rebuild_goes_on_where_another_stopped() {
    let layer = Layer::empty().await;
    assert!(layer.redis.rebuild_begin(PARTITION, EPOCH, 1, 10).await.unwrap());
    assert!(!layer.redis.rebuild_begin(PARTITION, EPOCH, 2, 99).await.unwrap(), "it is under way");
    let first = under_way(&layer).await.unwrap();
    assert_eq!(first, Rebuild { epoch: EPOCH, id: 1, noted: 10, cursor: Cursor(None) });
    let page = [row(1, 5, 10, 0)];
    assert!(layer.redis.rebuild_page(PARTITION, &first, cursor(1), rows(&page)).await.unwrap());
    // The same page again: its cursor stands elsewhere by now.
    let stale = [row(1, 6, 66, 0)];
    assert!(!layer.redis.rebuild_page(PARTITION, &first, cursor(1), rows(&stale)).await.unwrap());
    assert!(!layer.redis.rebuild_finish(PARTITION, &first).await.unwrap());

    // Another server looks where it stands and does the rest.
    let second = under_way(&layer).await.unwrap();
    assert_eq!(second.cursor, cursor(1));
    let page = [row(2, 7, 20, 0)];
    assert!(layer.redis.rebuild_page(PARTITION, &second, cursor(2), rows(&page)).await.unwrap());
    assert_eq!(layer.checkpoint().await, None, "unknown until the end");
    let last = under_way(&layer).await.unwrap();
    assert!(layer.redis.rebuild_finish(PARTITION, &last).await.unwrap());
    assert!(!layer.redis.rebuild_finish(PARTITION, &last).await.unwrap());
    assert_eq!(layer.checkpoint().await, Some(Checkpoint { epoch: EPOCH, seq: 10 }));
    assert_eq!(under_way(&layer).await, None);
    assert_eq!(layer.position(1).await.row, Some(row(1, 5, 10, 0)));
    assert_eq!(layer.position(2).await.row, Some(row(2, 7, 20, 0)));
    assert!(!layer.redis.rebuild_begin(PARTITION, EPOCH, 3, 10).await.unwrap(), "not needed");
}

#[tokio::test]
async fn traffic_goes_on_under_a_rebuild() {
    let layer = Layer::empty().await;
    assert!(layer.redis.rebuild_begin(PARTITION, EPOCH, 1, 10).await.unwrap());
    let newer = [row(1, 12, 8, 0)];
    let batch = settle(11, Some(12), None, Effects { rows: &newer, ..Effects::default() });
    assert!(!layer.redis.settle(PARTITION, batch).await.unwrap());
    // The page was read before that batch.
    let rebuild = under_way(&layer).await.unwrap();
    let page = [row(1, 5, 10, 0), row(2, 5, 10, 0)];
    assert!(layer.redis.rebuild_page(PARTITION, &rebuild, cursor(2), rows(&page)).await.unwrap());
    let rebuild = under_way(&layer).await.unwrap();
    assert!(layer.redis.rebuild_finish(PARTITION, &rebuild).await.unwrap());
    assert_eq!(layer.position(1).await.row, Some(newer[0]));
    assert_eq!(layer.position(2).await.row, Some(page[1]));
}

#[tokio::test]
async fn a_later_epoch_begins_again() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    assert!(!layer.redis.rebuild_begin(PARTITION, EPOCH - 1, 1, 10).await.unwrap());
    assert!(layer.redis.rebuild_begin(PARTITION, EPOCH + 1, 1, 8).await.unwrap());
    assert_eq!(layer.checkpoint().await, None, "what it said is about to be replaced");
    let first = under_way(&layer).await.unwrap();
    assert!(layer.redis.rebuild_begin(PARTITION, EPOCH + 2, 2, 9).await.unwrap());
    assert!(!layer.redis.rebuild_page(PARTITION, &first, cursor(1), rows(&[])).await.unwrap());
    assert!(!layer.redis.rebuild_finish(PARTITION, &first).await.unwrap());
    let second = under_way(&layer).await.unwrap();
    let page = [row(1, 2, 1, 0)];
    assert!(layer.redis.rebuild_page(PARTITION, &second, cursor(1), rows(&page)).await.unwrap());
    let last = under_way(&layer).await.unwrap();
    assert!(layer.redis.rebuild_finish(PARTITION, &last).await.unwrap());
    let expected = Checkpoint { epoch: EPOCH + 2, seq: 9 };
    assert_eq!(layer.checkpoint().await, Some(expected), "the dead one stood further on");
    assert_eq!(layer.position(1).await.row, Some(page[0]));
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_true_is_forgotten() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let wrong = Checkpoint { epoch: EPOCH, seq: 11 };
    assert!(!layer.redis.forget(PARTITION, wrong).await.unwrap());
    let there = Checkpoint { epoch: EPOCH, seq: 10 };
    assert!(layer.redis.forget(PARTITION, there).await.unwrap());
    assert!(!layer.redis.forget(PARTITION, there).await.unwrap());
    assert_eq!(layer.checkpoint().await, None);
    layer.rebuild(EPOCH, 4, &[]).await;
    assert_eq!(layer.checkpoint().await, Some(Checkpoint { epoch: EPOCH, seq: 4 }));
}

#[tokio::test]
async fn the_checkpoint_of_an_old_snapshot_goes_back_with_its_rows() {
    let mut redis = PrivateRedis::start().await;
    let layer = Layer::on(&redis.url());
    layer.fill(&[(1, 10, 0)]).await;
    redis.keep_snapshot().await;
    let rows = [row(1, 11, 9, 0)];
    assert!(layer.advance(10, 11, None, Effects { rows: &rows, ..Effects::default() }).await);
    redis.restart_from_snapshot().await;
    let state =
        eventually("it is found again", || async { layer.redis.states(&[PARTITION]).await.ok() })
            .await;
    assert_eq!(state[0].view.checkpoint, Some(Checkpoint { epoch: EPOCH, seq: 10 }));
    let reading =
        eventually("for reads too", || async { layer.redis.read(&[key(1)], None).await.ok() })
            .await;
    assert_eq!(reading.positions[0].row, Some(row(1, 5, 10, 0)));
    assert!(layer.advance(10, 11, None, Effects { rows: &rows, ..Effects::default() }).await);
    assert_eq!(layer.position(1).await.row, Some(rows[0]));
}
