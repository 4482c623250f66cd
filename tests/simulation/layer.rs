//! The reservation layer alone: holds, claims of batches and what they come to, one after the other,
//! against a model that adds up what was promised. It must never be more than there is, and nothing may
//! be refused that is free.

use std::{sync::Arc, time::Duration};

use stockroom::{
    availability::{
        Availability, Checkpoint, Row, Trust,
        admit::{Admission, Claim, ClaimLine, Judged, Token, Verdict},
        hold::{Caps, ExtendRequest, Extended, HoldAnswer, HoldRequest, Released, Wanted},
        project::{Advance, Effects, HeadSeen, Settle},
        rebuild::{Cursor, Rebuild},
    },
    stock::{
        hash::Digest,
        hold::HoldId,
        ids::{ItemNo, LocationNo, PositionKey},
        policy::Buffer,
        time::{Micros, Timestamp},
    },
};

use crate::{
    link::{Link, RedisLink},
    redis::Redis,
    run::{self, Report, Scenario},
    stage::{PREFIX, place},
    world::World,
};

/// Steps of one walk.
const STEPS: usize = 60;
/// Items that are wanted.
const ITEMS: i32 = 2;
/// An item of which there is enough for as many holds as one call must not remove.
const MANY: i32 = 100;
/// An item of which only a dead epoch had any.
const DEAD: i32 = 101;
/// The checkpoint, which stays where it is.
const AT: Checkpoint = Checkpoint { epoch: 5, seq: 10 };
/// Everything is trusted that is not of another epoch.
const TRUST: Trust = Trust { epoch: Some(AT.epoch), age_us_max: 60_000_000 };
/// A tick in which promises end.
const TICK: Micros = 100_000;
/// What a call may remove of what is due.
const PURGE_MAX: usize = 64;

/// One walk.
struct Walk {
    world: Arc<World>,
    redis: Arc<Redis>,
    layer: Availability,
    stock: [i64; ITEMS as usize],
    holds: Vec<Held>,
    tokens: Vec<Taken>,
    last: u128,
}

/// A hold that was granted.
struct Held {
    id: HoldId,
    units: [i64; ITEMS as usize],
    until: Timestamp,
    live: bool,
}

/// What a batch has claimed.
struct Taken {
    token: Token,
    /// Beyond what its holds cover.
    units: [i64; ITEMS as usize],
    covers: Vec<HoldId>,
    until: Timestamp,
}

/// Walks in this thread.
pub fn run(scenario: Scenario) -> Report {
    run::play(scenario, async |world| {
        let redis = Redis::new(world.clone(), scenario.rewrite);
        let link = RedisLink { redis: redis.clone(), link: Link::new(1) };
        let server: Arc<dyn stockroom::availability::Server> = Arc::new(link);
        let layer = Availability::simulated(&server, PREFIX);
        let stock = std::array::from_fn(|_| world.between(4..12));
        let (holds, tokens) = (Vec::new(), Vec::new());
        let mut walk = Walk { world, redis, layer, stock, holds, tokens, last: 0 };
        walk.prepare().await;
        for _ in 0..STEPS {
            walk.step().await;
        }
        walk.purge().await;
        walk.redis.rewritten()
    })
}

impl Walk {
    /// Rows of all items, at a checkpoint that stands at the head.
    async fn prepare(&mut self) {
        let rows: Vec<_> = (0..ITEMS)
            .map(|item| Row {
                key: key(item),
                seq: 5,
                sellable: self.stock[item as usize],
                reserved: 0,
            })
            .chain([Row { key: key(MANY), seq: 5, sellable: 2 * PURGE_MAX as i64, reserved: 0 }])
            .collect();
        let dead = Row { key: key(DEAD), seq: 5, sellable: 9, reserved: 0 };
        self.project(AT.epoch - 1, &[dead]).await;
        self.project(AT.epoch, &rows).await;
        self.stamp().await;
        self.check_epochs().await;
    }

    /// Projects everything anew, in one page.
    async fn project(&self, epoch: i64, rows: &[Row]) {
        let partition = place("north").partition;
        let begin = self.layer.rebuild_begin(partition, epoch, 1, AT.seq).await;
        let mut rebuild = Rebuild { epoch, id: 1, noted: AT.seq, cursor: Cursor(None) };
        let end = Cursor(Some((LocationNo(i32::MAX), ItemNo(i32::MAX))));
        let page = Effects { rows, ..Effects::default() };
        let paged = self.layer.rebuild_page(partition, &rebuild, end, page).await;
        rebuild.cursor = end;
        let finish = self.layer.rebuild_finish(partition, &rebuild).await;
        if !matches!((begin, paged, finish), (Ok(true), Ok(true), Ok(true))) {
            self.world.violated("a projection cannot be made".to_owned());
        }
    }

    /// Neither a dead checkpoint nor a dead row is believed.
    async fn check_epochs(&mut self) {
        let other = Trust { epoch: Some(AT.epoch + 1), ..TRUST };
        let id = self.next_id();
        let unusable = self.layer.hold(request(id, &[wanted(0, 1)], 1_000, other)).await;
        if !matches!(unusable, Ok(HoldAnswer::Unusable(_))) {
            self.world.violated(format!("a dead epoch is believed: {unusable:?}"));
        }
        let id = self.next_id();
        let unusable = self.layer.hold(request(id, &[wanted(DEAD, 1)], 1_000, TRUST)).await;
        if !matches!(unusable, Ok(HoldAnswer::Unusable(_))) {
            self.world.violated(format!("a row of a dead epoch is believed: {unusable:?}"));
        }
    }

    async fn stamp(&self) {
        let now = self.world.redis_now();
        let head = Some(HeadSeen { redis_at: now, database_at: now });
        let partition = place("north").partition;
        let effects = Effects::default();
        let step = Advance { partition, expected: AT, to: AT.seq, head, effects };
        let _ = self.layer.advance(&[step]).await;
    }

    async fn step(&mut self) {
        self.settle_in_tick().await;
        match self.world.below(12) {
            0..3 => self.hold().await,
            3..7 => self.admit().await,
            7 | 8 => self.settle().await,
            9 => self.release().await,
            10 => self.extend().await,
            _ => tokio::time::sleep(self.world.span(50_000..900_000)).await,
        }
        self.add_up();
    }

    /// Away from the end of a tick, so that the model sees the same one.
    async fn settle_in_tick(&mut self) {
        let into = self.world.redis_now().0 % TICK;
        if into > TICK / 2 {
            let rest = Duration::from_micros((TICK - into).unsigned_abs() + 1_000);
            tokio::time::sleep(rest).await;
        }
        let now = self.world.redis_now();
        self.tokens.retain(|taken| taken.until > now);
        self.holds.iter_mut().for_each(|held| held.live &= held.until > now);
    }

    fn next_id(&mut self) -> HoldId {
        self.last += 1;
        HoldId { place: place("north"), digest: Digest(self.last) }
    }

    fn is_in_use(&self, id: HoldId) -> bool {
        self.tokens.iter().any(|taken| taken.covers.contains(&id))
    }

    fn held(&self, item: usize) -> i64 {
        self.holds.iter().filter(|held| held.live).map(|held| held.units[item]).sum()
    }

    fn claimed(&self, item: usize) -> i64 {
        self.tokens.iter().map(|taken| taken.units[item]).sum()
    }

    /// Never is more promised than there is.
    fn add_up(&self) {
        for item in 0..ITEMS as usize {
            let promised = self.held(item) + self.claimed(item);
            if promised > self.stock[item] {
                let stock = self.stock[item];
                self.world.violated(format!("{promised} of {stock} units of {item} are promised"));
            }
        }
    }

    /// Lines, some about the same item.
    fn lines(&self) -> Vec<(i32, i64)> {
        let line = |_| (self.world.between(0..ITEMS.into()) as i32, self.world.between(1..5));
        (0..=self.world.below(3)).map(line).collect()
    }

    async fn hold(&mut self) {
        let (id, lines) = (self.next_id(), self.lines());
        let wants: Vec<_> = lines.iter().map(|&(item, units)| wanted(item, units)).collect();
        let ttl_ms = self.world.between(100..3_000);
        let answer = self.layer.hold(request(id, &wants, ttl_ms, TRUST)).await;
        let units = sum(&lines);
        let fits = (0..ITEMS as usize)
            .all(|item| self.held(item) + units[item] <= self.stock[item] || units[item] == 0);
        match answer {
            Ok(HoldAnswer::Granted(hold)) => {
                let granted: i64 = hold.lines.iter().map(|line| line.quantity).sum();
                if granted != units.iter().sum::<i64>() {
                    self.world.violated(format!("{granted} units of {lines:?} are held"));
                }
                self.holds.push(Held { id, units, until: hold.expires_at, live: true });
                let other = HoldRequest { fingerprint: 2, ..request(id, &wants, ttl_ms, TRUST) };
                let again = self.layer.hold(other).await;
                if !matches!(again, Ok(HoldAnswer::KeyReused)) {
                    self.world.violated(format!("another request has the same key: {again:?}"));
                }
            }
            Ok(HoldAnswer::Short { .. }) if !fits => {}
            Ok(HoldAnswer::Contended) if fits && !self.tokens.is_empty() => {}
            other => self.world.violated(format!("{lines:?} are wanted, and {other:?}")),
        }
    }

    async fn admit(&mut self) {
        let token = Token(self.world.below(u64::MAX).into());
        let claims: Vec<_> = (0..=self.world.below(2)).map(|_| self.claim()).collect();
        let lines: Vec<Vec<ClaimLine>> =
            claims.iter().map(|(_, lines)| lines.iter().map(claim_line).collect()).collect();
        let asked = claims.iter().zip(&lines);
        let asked = asked.map(|((own, _), lines)| Claim { lines, own: *own, per_line: false });
        let asked: Vec<_> = asked.collect();
        let until = tick_after(self.world.redis_now(), 2_000_000);
        let judged = self.layer.admit(place("north").partition, token, &asked, TRUST).await;
        let Ok(Admission::Judged(Judged { verdicts, .. })) = judged else {
            return self.world.violated(format!("nothing is judged: {judged:?}"));
        };
        let mut taken = Taken { token, units: [0; ITEMS as usize], covers: Vec::new(), until };
        for ((own, lines), verdict) in claims.iter().zip(&verdicts) {
            let units = sum(lines);
            let hold = own.and_then(|own| self.holds.iter().find(|held| held.id == own));
            let brings = hold.map_or([0; ITEMS as usize], |hold| hold.units);
            let fits = (0..ITEMS as usize).all(|item| {
                units[item] == 0 || self.held(item) - brings[item] + units[item] <= self.stock[item]
            });
            let covers =
                hold.filter(|hold| !self.is_in_use(hold.id) && !taken.covers.contains(&hold.id));
            match verdict {
                Verdict::Fits { .. } => {
                    let covered = covers.map_or([0; ITEMS as usize], |hold| hold.units);
                    for item in 0..ITEMS as usize {
                        taken.units[item] += units[item] - units[item].min(covered[item]);
                    }
                    taken.covers.extend(covers.map(|hold| hold.id));
                }
                Verdict::Short { .. } if !fits => {}
                Verdict::Contended if fits => {}
                other => self.world.violated(format!("{lines:?} of {own:?} are {other:?}")),
            }
        }
        self.tokens.push(taken);
    }

    /// What a batch wants, with the live hold that it may have.
    fn claim(&self) -> (Option<HoldId>, Vec<(i32, i64)>) {
        let live: Vec<_> = self.holds.iter().filter(|held| held.live).collect();
        if live.is_empty() || self.world.happens(400) {
            return (None, self.lines());
        }
        let hold = self.world.one_of(&live);
        let items = (0..ITEMS).zip(hold.units).filter(|(_, units)| *units > 0);
        let more = i64::from(self.world.happens(300));
        (Some(hold.id), items.map(|(item, units)| (item, units + more)).collect())
    }

    /// A batch came to nothing.
    async fn settle(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let at = self.world.below(self.tokens.len() as u64) as usize;
        let taken = self.tokens.remove(at);
        let effects = Effects::default();
        let token = Some(taken.token);
        let settle = Settle { epoch: 0, from: 0, to: None, token, began_at: None, effects };
        let _ = self.layer.settle(place("north").partition, settle).await;
        let tokens = format!("{PREFIX}:{{p{}}}:tokens", place("north").partition.0).into_bytes();
        let name = format!("{:032x}", taken.token.0).into_bytes();
        let left = self.redis.keyspace().hashes.remove(&tokens).unwrap_or_default();
        if left.contains_key(&name) {
            self.world.violated(format!("{:?} was settled, and is left", taken.token));
        }
    }

    async fn release(&mut self) {
        let Some(at) = self.some_hold() else { return };
        let (id, live) = (self.holds[at].id, self.holds[at].live);
        let in_use = self.is_in_use(id);
        match self.layer.release(id).await {
            Ok(Released::Now) if live && !in_use => self.holds[at].live = false,
            Ok(Released::InUse) if live && in_use => {}
            Ok(Released::Already(_) | Released::Unknown) if !live => {}
            other => self.world.violated(format!("{id}, in use: {in_use}, is {other:?}")),
        }
    }

    async fn extend(&mut self) {
        let Some(at) = self.some_hold() else { return };
        let (id, live) = (self.holds[at].id, self.holds[at].live);
        let in_use = self.is_in_use(id);
        let request = Digest(self.world.below(u64::MAX).into());
        let asked = ExtendRequest { id, request, fingerprint: 1, ttl_ms: 1_000 };
        match self.layer.extend(asked).await {
            Ok(Extended::Until(hold)) if live && !in_use => self.holds[at].until = hold.expires_at,
            Ok(Extended::InUse) if live && in_use => {}
            Ok(Extended::Finished(_) | Extended::Unknown) if !live => {}
            other => self.world.violated(format!("{id}, in use: {in_use}, is {other:?}")),
        }
    }

    fn some_hold(&self) -> Option<usize> {
        let holds = self.holds.len() as u64;
        (holds > 0).then(|| self.world.below(holds) as usize)
    }

    /// However much is due, one call removes a little of it; and what is due does not count.
    async fn purge(&mut self) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        for _ in 0..4 {
            self.stamp().await;
        }
        let many = 2 * PURGE_MAX as i64;
        for _ in 0..many {
            let id = self.next_id();
            let _ = self.layer.hold(request(id, &[wanted(MANY, 1)], 1_000, TRUST)).await;
        }
        let due = |redis: &Redis| {
            let name = format!("{PREFIX}:{{p{}}}:due", place("north").partition.0).into_bytes();
            redis.keyspace().sorted.get(&name).map_or(0, |due| due.len())
        };
        tokio::time::sleep(Duration::from_secs(10)).await;
        let before = due(&self.redis);
        let id = self.next_id();
        let all = self.layer.hold(request(id, &[wanted(MANY, many)], 1_000, TRUST)).await;
        if !matches!(all, Ok(HoldAnswer::Granted(_))) {
            self.world.violated(format!("what was due counts: {all:?}"));
        }
        let gone = before + 1 - due(&self.redis);
        if gone > PURGE_MAX {
            self.world.violated(format!("one call removed {gone} of what was due"));
        }
    }
}

fn key(item: i32) -> PositionKey {
    PositionKey { place: place("north"), item: ItemNo(item) }
}

fn wanted(item: i32, quantity: i64) -> Wanted {
    Wanted { item: ItemNo(item), quantity, buffer: Buffer::default() }
}

fn claim_line(&(item, quantity): &(i32, i64)) -> ClaimLine {
    ClaimLine { key: key(item), quantity, buffer: Buffer::default() }
}

fn request(id: HoldId, lines: &[Wanted], ttl_ms: i64, trust: Trust) -> HoldRequest<'_> {
    HoldRequest { id, fingerprint: 1, lines, per_line: false, ttl_ms, trust, caps: Caps::default() }
}

fn sum(lines: &[(i32, i64)]) -> [i64; ITEMS as usize] {
    let mut units = [0; ITEMS as usize];
    lines.iter().for_each(|&(item, more)| units[item as usize] += more);
    units
}

/// The end of the tick in which something ends that a call takes in a moment.
fn tick_after(now: Timestamp, span: Micros) -> Timestamp {
    Timestamp(((now.0 + span).div_euclid(TICK) + 1) * TICK)
}
