//! One run: a stage, clients, what goes wrong meanwhile, healing, and the checks.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use stockroom::{
    ambient::simulated::surround,
    mutants::{Mutant, choose},
    stock::{draft::Draft, kind::Kind},
};

use crate::{
    call::{Call, Fate, Heard, What, call},
    check,
    client::{Client, Known},
    mutants::Rewrite,
    stage::{CALLERS, LOCATIONS, SKUS, Stage},
    trouble::{self, Profile},
    world::{Surroundings, World},
};

/// Requests of one client.
const REQUESTS: usize = 16;
/// After the last fault everything is as it should be within this time.
const HEALED_WITHIN: Duration = Duration::from_secs(10);

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub mutant: Option<Mutant>,
    pub rewrite: Option<Rewrite>,
    pub prints: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    pub violations: Vec<String>,
    pub seen: BTreeMap<&'static str, u64>,
    /// Events, and a hash over them.
    pub digest: (u64, u64),
    /// How often a script was loaded that the rewrite changes.
    pub rewritten: u64,
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what panics say, by thread.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICS.with_borrow_mut(|panics| panics.push(info.to_string().replace('\n', " ")));
    }));
}

/// Runs a scenario in this thread.
pub fn run(scenario: Scenario) -> Report {
    play(scenario, async |world| everything(world, scenario.rewrite).await)
}

/// Plays something in this thread; it returns how often a script was loaded that a rewrite changes.
pub fn play(scenario: Scenario, something: impl AsyncFnOnce(Arc<World>) -> u64) -> Report {
    choose(scenario.mutant);
    PANICS.take();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets");
    let guard = runtime.enter();
    let world = World::new(scenario.seed, scenario.prints);
    surround(Some(Rc::new(Surroundings(world.clone()))));
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(something(world.clone()))
    }));
    drop(guard);
    drop(runtime);
    surround(None);
    choose(None);
    PANICS.take().into_iter().for_each(|panic| world.violated(format!("panic: {panic}")));
    Report {
        violations: world.violations(),
        seen: world.seen(),
        digest: world.digest(),
        rewritten: played.unwrap_or(0),
    }
}

async fn everything(world: Arc<World>, rewrite: Option<Rewrite>) -> u64 {
    let stage = Stage::new(world.clone(), rewrite).await;
    let mut calls = fill(&stage).await;
    if !heal(&stage).await {
        return stage.redis.rewritten();
    }
    let profile = Profile::of(&world);
    world.note(|| format!("{profile:?}"));
    let over = Arc::new(AtomicBool::new(false));
    let nemesis = tokio::spawn(trouble::make(stage.clone(), profile, over.clone()));
    let known = Arc::<Mutex<Known>>::default();
    let clients = (0..CALLERS).map(|number| {
        let client = Client::new(stage.clone(), number, profile.manner, known.clone());
        tokio::spawn(client.run(REQUESTS))
    });
    for made in join_all(clients.collect::<Vec<_>>()).await.into_iter().flatten() {
        calls.extend(made);
    }
    over.store(true, Ordering::Relaxed);
    drop(nemesis.await);
    trouble::end(&stage);
    heal(&stage).await;
    if !profile.lies && !profile.failovers && world.seen().contains_key("scrubber mended") {
        world.violated("the scrubber found something, and nobody lied".to_owned());
    }
    check::calls(&stage, profile, &calls);
    if !profile.lies {
        check::holds(&stage, &calls).await;
    }
    stage.redis.rewritten()
}

/// Some stock everywhere.
async fn fill(stage: &Arc<Stage>) -> Vec<Call> {
    let mut calls = Vec::new();
    for (location_id, _) in LOCATIONS {
        let receipt = |sku: &str| Draft {
            key: format!("{location_id}-{sku}"),
            kind: Kind::Receipt as i32,
            location_id: location_id.to_owned(),
            sku: sku.to_owned(),
            quantity: stage.world.between(3..25),
            ..Draft::default()
        };
        let drafts = SKUS.iter().map(|sku| receipt(sku)).collect();
        let made = call(stage, "setup", location_id, What::Record(drafts)).await;
        let recorded = |fate: &Fate| matches!(fate, Fate::Recorded(_));
        let last = made.last().map(|call| &call.heard);
        if !matches!(last, Some(Heard::Recorded(fates)) if fates.iter().all(recorded)) {
            stage.world.violated(format!("nothing is wrong, and yet {last:?}"));
        }
        calls.extend(made);
    }
    calls
}

/// Waits until Redis says what the ledger says.
async fn heal(stage: &Arc<Stage>) -> bool {
    let begin = tokio::time::Instant::now();
    loop {
        let differs = check::redis(stage).await;
        let Some(differs) = differs else { return true };
        if begin.elapsed() > HEALED_WITHIN {
            stage.world.violated(format!("not healed: {differs}"));
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
