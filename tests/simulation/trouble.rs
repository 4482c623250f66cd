//! What goes wrong in a run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    client::Manner,
    stage::{PARTITIONS, PREFIX, Stage},
    world::{Trouble, World},
};

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub manner: Manner,
    pub trouble: Trouble,
    pub database: bool,
    pub failovers: bool,
    pub redis: bool,
    pub lies: bool,
    pub servers: bool,
    pub clocks: bool,
}

impl Profile {
    /// The profile of a seed. In one of five nothing goes wrong, so that every promise must be kept.
    pub fn of(world: &World) -> Profile {
        if world.happens(200) {
            return Profile::calm();
        }
        let often = |of_thousand| u32::try_from(world.below(of_thousand)).unwrap_or(0);
        Profile {
            manner: Manner::Wild,
            trouble: Trouble {
                statement: often(30),
                commit: often(250),
                redis: often(60),
                slow: often(15),
            },
            database: world.happens(500),
            failovers: world.happens(400),
            redis: world.happens(600),
            lies: world.happens(250),
            servers: world.happens(500),
            clocks: world.happens(200),
        }
    }

    fn calm() -> Profile {
        Profile {
            manner: Manner::Orderly,
            trouble: Trouble::default(),
            database: false,
            failovers: false,
            redis: false,
            lies: false,
            servers: false,
            clocks: false,
        }
    }

    pub fn is_calm(&self) -> bool {
        self.manner == Manner::Orderly
    }
}

/// Makes trouble until it is over.
pub async fn make(stage: Arc<Stage>, profile: Profile, over: Arc<AtomicBool>) {
    let world = stage.world.clone();
    world.set_trouble(profile.trouble);
    while !over.load(Ordering::Relaxed) {
        tokio::time::sleep(world.span(20_000..400_000)).await;
        match world.below(6) {
            0 if profile.database => {
                world.reach("database restarts");
                stage.postgres.crash(world.span(10_000..1_500_000));
            }
            1 if profile.failovers => {
                world.reach("database fails over");
                let commits = world.below(6) as usize;
                stage.postgres.fail_over(commits, world.span(10_000..800_000));
            }
            2 if profile.redis => redis(&stage),
            3 if profile.lies => lie(&stage),
            4 if profile.servers => {
                if world.happens(500) {
                    world.reach("server killed");
                    stage.replace_server().await;
                } else {
                    world.reach("server stopped");
                    stage.link().stop(world.span(50_000..2_500_000));
                }
            }
            5 if profile.clocks => {
                world.reach("clock moves");
                let ahead = world.between(-5_000_000..5_000_000);
                let of = world.below(2);
                let clock = [&world.redis_ahead, &world.servers_ahead][of as usize];
                clock.store(ahead, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Nothing goes wrong any more.
pub fn end(stage: &Stage) {
    stage.world.set_trouble(Trouble::default());
    stage.world.redis_ahead.store(0, Ordering::Relaxed);
    stage.world.servers_ahead.store(0, Ordering::Relaxed);
    stage.postgres.crash(Duration::ZERO);
    stage.redis.cut_off(Duration::ZERO);
}

fn redis(stage: &Stage) {
    let world = &stage.world;
    match world.below(6) {
        0 | 1 => stage.redis.keep(),
        2 => {
            world.reach("redis rolled back");
            stage.redis.roll_back();
        }
        3 => {
            world.reach("redis flushed");
            stage.redis.flush();
        }
        4 => {
            world.reach("redis restarts");
            stage.redis.restart(world.span(10_000..1_000_000));
        }
        _ => stage.redis.cut_off(world.span(10_000..2_000_000)),
    }
}

/// Redis says what was never written into it.
fn lie(stage: &Stage) {
    let world = &stage.world;
    let partition = world.one_of(&PARTITIONS).0;
    let prefix = format!("{PREFIX}:{{p{partition}}}:");
    world.reach("redis lies");
    stage.redis.alter(|keys| match world.below(3) {
        0 => {
            let checkpoint = keys.hashes.get_mut(format!("{prefix}checkpoint").as_bytes());
            let Some(seq) = checkpoint.and_then(|at| at.get_mut(&b"seq"[..])) else { return };
            *seq = world.below(400).to_string().into_bytes();
        }
        1 => {
            let rows = keys.hashes.iter_mut();
            let rows = rows.filter(|(key, _)| key.starts_with(format!("{prefix}r:").as_bytes()));
            for row in rows.flat_map(|(_, rows)| rows.values_mut()) {
                // The last byte is the number of reserved units, and before it that of sellable ones.
                let ends = row.len();
                if let Some(sellable) = row.get_mut(ends.saturating_sub(2)) {
                    *sellable = world.below(100) as u8;
                }
            }
        }
        _ => drop(keys.hashes.remove(format!("{prefix}holds").as_bytes())),
    });
}
