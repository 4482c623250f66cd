//! Mending what is wrong in Redis.

use std::collections::BTreeSet;

use stockroom::{
    availability::{
        Bucket, Row,
        hold::{Caps, HoldAnswer, HoldRequest},
        scrub::{Repair, ScanPlace, Total},
    },
    stock::{
        hash::Digest,
        ids::{ChannelNo, ItemNo},
    },
};

use super::layer::{
    EPOCH, LONG_MS, Layer, PARTITION, claim, claim_lines, extension, id, key, request, row, token,
    wanted,
};

async fn all_buckets(layer: &Layer) -> BTreeSet<Bucket> {
    let (mut place, mut all) = (ScanPlace::default(), BTreeSet::new());
    loop {
        let (buckets, next) = layer.redis.buckets(PARTITION, &place).await.unwrap();
        all.extend(buckets);
        match next {
            Some(next) => place = next,
            None => return all,
        }
    }
}

async fn all_totals(layer: &Layer) -> BTreeSet<Total> {
    let (mut place, mut all) = (ScanPlace::default(), BTreeSet::new());
    loop {
        let (totals, next) = layer.redis.totals(PARTITION, &place).await.unwrap();
        all.extend(totals);
        match next {
            Some(next) => place = next,
            None => return all,
        }
    }
}

/// Walks all holds and counts everything again. Returns how much was wrong.
async fn recount(layer: &Layer) -> usize {
    let (mut place, mut wrong) = (ScanPlace::default(), 0);
    loop {
        let page = layer.redis.holds_page(PARTITION, &place, true).await.unwrap();
        wrong += page.lost;
        for (total, ticks) in &page.totals {
            wrong += layer.redis.recount(total, ticks, true).await.unwrap().unwrap();
        }
        match page.next {
            Some(next) => place = next,
            None => break,
        }
    }
    for total in all_totals(layer).await {
        wrong += layer.redis.recount(&total, &[], true).await.unwrap().unwrap();
    }
    wrong
}

#[tokio::test]
async fn every_bucket_is_in_the_index() {
    let items: Vec<_> = (0..400).map(|number| (number * 40, 1, 0)).collect();
    let layer = Layer::with(&items).await;
    let expected: BTreeSet<_> = items.iter().map(|&(item, ..)| Bucket::of(key(item))).collect();
    assert_eq!(all_buckets(&layer).await, expected);
    let found = layer.redis.bucket(Bucket::of(key(40))).await.unwrap();
    assert!(found.indexed && !found.has_strays());
    assert!(found.rows[&ItemNo(40)].is(EPOCH, row(40, 5, 1, 0)));
    assert_eq!(found.rows.keys().copied().collect::<Vec<_>>(), [ItemNo(0), ItemNo(40)]);
}

#[tokio::test]
async fn a_row_is_repaired_if_it_is_still_what_was_found() {
    let layer = Layer::with(&[(1, 10, 0), (2, 20, 0), (3, 30, 0)]).await;
    let bucket = Bucket::of(key(1));
    let rows = layer.key("r:7:0");
    layer.raw.command(&["HSET", &rows, "4", "garbage", "200", "x", "y", "z"]).await;
    let found = layer.redis.bucket(bucket).await.unwrap();
    assert!(found.has_strays());
    assert_eq!(found.rows[&ItemNo(4)].row, None);
    let repair = |item, row: Option<Row>| Repair {
        item: ItemNo(item),
        found: found.rows.get(&ItemNo(item)).cloned(),
        row: row.map(|row| (EPOCH, row)),
    };
    // Meanwhile the second one moves on.
    let moved = [row(2, 12, 19, 0)];
    let effects = stockroom::availability::project::Effects { rows: &moved, ..Default::default() };
    assert!(layer.advance(10, 12, None, effects).await);
    let repairs = [
        repair(1, Some(row(1, 6, 11, 1))),
        repair(2, Some(row(2, 6, 21, 1))),
        repair(3, None),
        repair(4, None),
        repair(5, Some(row(5, 6, 50, 1))),
    ];
    assert_eq!(layer.redis.repair(bucket, &found, &repairs).await.unwrap(), 6);
    let after = layer.redis.bucket(bucket).await.unwrap();
    assert!(!after.has_strays());
    let read: Vec<_> = after.rows.into_values().map(|stored| stored.row.unwrap().1).collect();
    assert_eq!(read, [row(1, 6, 11, 1), moved[0], row(5, 6, 50, 1)]);
    assert_eq!(layer.redis.repair(bucket, &found, &repairs).await.unwrap(), 0, "twice");
}

#[tokio::test]
async fn the_index_of_buckets_is_put_right() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let (there, gone) = (Bucket::of(key(1)), Bucket::of(key(1_000)));
    let index = layer.key("buckets");
    layer.raw.command(&["DEL", &index]).await;
    layer.raw.command(&["SADD", &index, "7:15", "nonsense"]).await;
    for bucket in [there, gone] {
        let found = layer.redis.bucket(bucket).await.unwrap();
        assert!(!found.indexed || bucket == gone);
        layer.redis.repair(bucket, &found, &[]).await.unwrap();
    }
    assert_eq!(all_buckets(&layer).await, [there].into());
}

#[tokio::test]
async fn wrong_totals_are_counted_again() {
    let layer = Layer::with(&[(1, 100, 0), (2, 100, 0), (3, 100, 0)]).await;
    for number in 0..20 {
        layer.granted(id(number), &[(1, 1), (2, 2)]).await;
    }
    assert_eq!(recount(&layer).await, 0);
    let held = layer.key("held");
    layer.raw.command(&["HSET", &held, "7:1", "33", "7:3", "5"]).await;
    layer.raw.command(&["HDEL", &held, "7:2"]).await;
    assert!(recount(&layer).await >= 3);
    assert_eq!((layer.held(1).await, layer.held(2).await, layer.held(3).await), (20, 40, 0));
    layer.raw.command(&["DEL", &layer.key("tick_units"), &layer.key("ticks")]).await;
    assert!(recount(&layer).await > 0);
    assert_eq!(recount(&layer).await, 0);
    for number in 0..20 {
        layer.redis.release(id(number)).await.unwrap();
    }
    layer.assert_clean().await;
}

#[tokio::test]
async fn what_a_customer_and_a_channel_hold_is_counted_again() {
    let layer = Layer::with(&[(1, 100, 0), (2, 100, 0)]).await;
    let (customer, channel) = (Some((Digest(9), 50)), Some((ChannelNo(4), 50)));
    let lines = wanted(&[(1, 1), (2, 2)]);
    for number in 0..5 {
        let caps = Caps { item_max: 0, customer, channel };
        let answer = layer.redis.hold(HoldRequest { caps, ..request(id(number), &lines) }).await;
        assert!(matches!(answer, Ok(HoldAnswer::Granted(_))), "{answer:?}");
    }
    layer.redis.extend(extension(id(0), 1, 2 * LONG_MS)).await.unwrap();
    assert_eq!(recount(&layer).await, 0);
    let (held, customer, channel) = (layer.key("held"), format!("7c{:032x}", 9), "7n4");
    let holds = async || {
        let of_customer = layer.raw.number(&["HGET", &held, &customer]).await;
        (of_customer, layer.raw.number(&["HGET", &held, channel]).await)
    };
    layer.raw.command(&["HSET", &held, &customer, "99"]).await;
    layer.raw.command(&["HDEL", &held, channel]).await;
    assert!(recount(&layer).await >= 2);
    assert_eq!(holds().await, (15, 15));
    layer.raw.command(&["DEL", &layer.key("tick_units"), &layer.key("ticks")]).await;
    assert!(recount(&layer).await > 0);
    assert_eq!((recount(&layer).await, holds().await), (0, (15, 15)));
    for number in 0..5 {
        layer.redis.release(id(number)).await.unwrap();
    }
    layer.assert_clean().await;
}

#[tokio::test]
async fn holds_that_nobody_would_remove_are_put_back_in_line() {
    let layer = Layer::with(&[(1, 100, 0)]).await;
    layer.granted(id(1), &[(1, 1)]).await;
    layer.granted(id(2), &[(1, 1)]).await;
    layer.redis.release(id(2)).await.unwrap();
    layer.raw.command(&["DEL", &layer.key("due"), &layer.key("graves")]).await;
    layer.raw.command(&["HSET", &layer.key("holds"), "7.ff", "garbage"]).await;
    assert_eq!(recount(&layer).await, 3);
    assert_eq!(recount(&layer).await, 0);
    assert_eq!(layer.raw.number(&["ZCARD", &layer.key("due")]).await, 1);
    assert_eq!(layer.raw.number(&["ZCARD", &layer.key("graves")]).await, 1);
    assert_eq!(layer.raw.number(&["HLEN", &layer.key("holds")]).await, 2);
}

#[tokio::test]
async fn counting_again_leaves_live_claims_alone() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    layer.granted(id(1), &[(1, 1)]).await;
    let nine = claim_lines(&[(1, 9)]);
    let mine = token();
    layer.admit(mine, &[claim(&nine)]).await;
    assert_eq!(recount(&layer).await, 0);
    assert_eq!(layer.hold(id(2), &[(1, 1)]).await, HoldAnswer::Contended);
    layer.drop_token(mine).await;
    layer.granted(id(3), &[(1, 9)]).await;
}
