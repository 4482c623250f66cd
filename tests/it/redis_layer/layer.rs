//! A Redis layer with keys of its own, and names for what the tests ask of it.

use std::sync::atomic::{AtomicU64, Ordering};

use stockroom::{
    availability::{
        Availability, Checkpoint, Row, Trust,
        admit::{Admission, Claim, ClaimLine, Judged, Token},
        hold::{Caps, ExtendRequest, Hold, HoldAnswer, HoldLine, HoldRequest, KnownHold, Wanted},
        project::{Advance, Effects, HeadSeen, Settle},
        read::Projected,
        rebuild::{Cursor, Rebuild},
        replace::ReplaceRequest,
    },
    stock::{
        hash::Digest,
        hold::HoldId,
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
        policy::Buffer,
        time::Timestamp,
    },
};

use crate::harness::{
    databases,
    raw_redis::{Raw, fresh_prefix},
};

/// The partition of most tests.
pub const PARTITION: Partition = Partition(3);
/// The location of most tests.
pub const PLACE: Place = Place { partition: PARTITION, location: LocationNo(7) };
/// The epoch of most tests.
pub const EPOCH: i64 = 1_763_000_000_000;
/// Nobody advances the checkpoint in these tests, so it may be a minute old.
pub const TRUST: Trust = Trust { epoch: None, age_us_max: 60_000_000 };
/// A hold that a test does not want to end.
pub const LONG_MS: i64 = 600_000;
/// Nothing is kept back.
pub const NONE: Buffer = Buffer { units: 0, percent: 0 };

/// The layer, and what it stores.
pub struct Layer {
    pub redis: Availability,
    pub raw: Raw,
    pub prefix: String,
}

impl Layer {
    /// Nothing is known of any partition.
    pub async fn empty() -> Layer {
        Layer::on(&databases::redis_url().await)
    }

    pub fn on(url: &str) -> Layer {
        let prefix = fresh_prefix();
        let redis = Availability::new(url, &prefix).unwrap();
        Layer { redis, raw: Raw::new(url), prefix }
    }

    /// At a checkpoint of seq 10, at the head, with these items of [`PLACE`]: item, sellable, reserved.
    pub async fn with(items: &[(i32, i64, i64)]) -> Layer {
        let layer = Layer::empty().await;
        layer.fill(items).await;
        layer
    }

    pub async fn fill(&self, items: &[(i32, i64, i64)]) {
        let rows: Vec<_> = items
            .iter()
            .map(|&(item, sellable, reserved)| row(item, 5, sellable, reserved))
            .collect();
        self.rebuild(EPOCH, 10, &rows).await;
        self.stamp(10).await;
    }

    /// Projects a partition anew.
    pub async fn rebuild(&self, epoch: i64, noted: Seq, rows: &[Row]) {
        assert!(self.redis.rebuild_begin(PARTITION, epoch, 1, noted).await.unwrap());
        let mut rebuild = Rebuild { epoch, id: 1, noted, cursor: Cursor(None) };
        let page = Effects { rows, ..Effects::default() };
        let end = Cursor(Some((LocationNo(i32::MAX), ItemNo(i32::MAX))));
        assert!(self.redis.rebuild_page(PARTITION, &rebuild, end, page).await.unwrap());
        rebuild.cursor = end;
        assert!(self.redis.rebuild_finish(PARTITION, &rebuild).await.unwrap());
    }

    /// Says that the checkpoint stands at the head.
    pub async fn stamp(&self, seq: Seq) {
        let now = self.now().await;
        let head = Some(HeadSeen { redis_at: now, database_at: now });
        assert!(self.advance(seq, seq, head, Effects::default()).await);
    }

    pub async fn now(&self) -> Timestamp {
        self.redis.states(&[PARTITION]).await.unwrap()[0].at
    }

    pub async fn checkpoint(&self) -> Option<Checkpoint> {
        self.redis.states(&[PARTITION]).await.unwrap()[0].view.checkpoint
    }

    pub async fn advance(
        &self,
        from: Seq,
        to: Seq,
        head: Option<HeadSeen>,
        effects: Effects<'_>,
    ) -> bool {
        let expected = Checkpoint { epoch: EPOCH, seq: from };
        let step = Advance { partition: PARTITION, expected, to, head, effects };
        self.redis.advance(&[step]).await.unwrap()[0]
    }

    pub async fn position(&self, item: i32) -> Projected {
        self.redis.read(&[key(item)], None).await.unwrap().positions[0]
    }

    pub async fn held(&self, item: i32) -> i64 {
        self.position(item).await.held
    }

    pub async fn hold(&self, id: HoldId, lines: &[(i32, i64)]) -> HoldAnswer {
        self.redis.hold(request(id, &wanted(lines))).await.unwrap()
    }

    /// Takes a hold that must be granted.
    pub async fn granted(&self, id: HoldId, lines: &[(i32, i64)]) -> Hold {
        match self.hold(id, lines).await {
            HoldAnswer::Granted(hold) => hold,
            other => panic!("not granted: {other:?}"),
        }
    }

    pub async fn status(&self, id: HoldId) -> KnownHold {
        self.redis.get(id).await.unwrap()
    }

    pub async fn admit(&self, token: Token, claims: &[Claim<'_>]) -> Judged {
        match self.redis.admit(PARTITION, token, claims, TRUST).await.unwrap() {
            Admission::Judged(judged) => judged,
            Admission::Unusable(why) => panic!("not judged: {why:?}"),
        }
    }

    pub async fn settle(&self, token: Token, effects: Effects<'_>) -> bool {
        self.redis.settle(PARTITION, settle(10, Some(11), Some(token), effects)).await.unwrap()
    }

    pub async fn drop_token(&self, token: Token) {
        self.redis
            .settle(PARTITION, settle(10, None, Some(token), Effects::default()))
            .await
            .unwrap();
    }

    /// The full name of a key of [`PARTITION`].
    pub fn key(&self, name: &str) -> String {
        format!("{}:{{p{}}}:{name}", self.prefix, PARTITION.0)
    }

    /// How many fields or members some keys have: what is left after everything is over.
    pub async fn sizes(&self) -> Vec<(&'static str, i64)> {
        let mut sizes = Vec::new();
        for (command, name) in [
            ("HLEN", "held"),
            ("HLEN", "tick_units"),
            ("ZCARD", "ticks"),
            ("ZCARD", "due"),
            ("HLEN", "taken"),
            ("HLEN", "tokens"),
        ] {
            sizes.push((name, self.raw.number(&[command, &self.key(name)]).await));
        }
        sizes
    }

    /// Nothing is held, taken or due.
    pub async fn assert_clean(&self) {
        for (name, size) in self.sizes().await {
            assert_eq!(size, 0, "something is left in '{name}'");
        }
    }
}

pub fn key(item: i32) -> PositionKey {
    PositionKey { place: PLACE, item: ItemNo(item) }
}

pub fn row(item: i32, seq: Seq, sellable: i64, reserved: i64) -> Row {
    Row { key: key(item), seq, sellable, reserved }
}

/// A hold of this test by a number.
pub fn id(number: u128) -> HoldId {
    HoldId { place: PLACE, digest: Digest(number) }
}

/// A token that no other test uses.
pub fn token() -> Token {
    static TOKENS: AtomicU64 = AtomicU64::new(1);
    Token(u128::from(TOKENS.fetch_add(1, Ordering::Relaxed)))
}

pub fn wanted(lines: &[(i32, i64)]) -> Vec<Wanted> {
    let line = |&(item, quantity)| Wanted { item: ItemNo(item), quantity, buffer: NONE };
    lines.iter().map(line).collect()
}

/// For ten minutes, all or nothing.
pub fn request(id: HoldId, lines: &[Wanted]) -> HoldRequest<'_> {
    HoldRequest {
        id,
        fingerprint: 1,
        lines,
        per_line: false,
        ttl_ms: LONG_MS,
        trust: TRUST,
        caps: Caps::default(),
    }
}

pub fn replacement(id: HoldId, request: u128, lines: &[Wanted]) -> ReplaceRequest<'_> {
    let request = Digest(request);
    ReplaceRequest {
        id,
        request,
        fingerprint: 1,
        lines,
        per_line: false,
        ttl_ms: None,
        trust: TRUST,
        caps: Caps::default(),
    }
}

pub fn extension(id: HoldId, request: u128, ttl_ms: i64) -> ExtendRequest {
    ExtendRequest { id, request: Digest(request), fingerprint: 1, ttl_ms }
}

pub fn line(item: i32, quantity: i64) -> HoldLine {
    HoldLine { item: ItemNo(item), quantity }
}

pub fn claim_lines(lines: &[(i32, i64)]) -> Vec<ClaimLine> {
    let line = |&(item, quantity)| ClaimLine { key: key(item), quantity, buffer: NONE };
    lines.iter().map(line).collect()
}

pub fn claim(lines: &[ClaimLine]) -> Claim<'_> {
    Claim { lines, own: None, per_line: false }
}

pub fn settle(
    from: Seq,
    to: Option<Seq>,
    token: Option<Token>,
    effects: Effects<'_>,
) -> Settle<'_> {
    Settle { epoch: EPOCH, from, to, token, began_at: None, effects }
}
