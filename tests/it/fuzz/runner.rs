//! Feeds a target: the kept corpus first, then mutations until the time is up.
#![expect(clippy::disallowed_methods, reason = "a developer says how long, and what to keep")]

use std::{
    collections::BTreeSet,
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

use super::{behaviours::Behaviours, mutate::mutate};
use crate::harness::seed::seed;

/// How long a target runs where nobody says.
const SECONDS_DEFAULT: u64 = 2;
/// An input that takes longer than this is a defect of its own.
const INPUT_MAX: Duration = Duration::from_secs(30);
/// Inputs that are mutated further.
const POOL_MAX: usize = 4_000;
/// The names of inputs on which a target once failed begin so; these are kept for ever.
const DEFECT: &str = "defect-";
/// Other inputs that are kept of one target.
const CORPUS_FILES_MAX: usize = 100;

/// What is fed, and with what.
pub struct Target<'t> {
    /// Also the name of the folder with its corpus.
    pub name: &'t str,
    /// Inputs to begin with, besides the corpus.
    pub seeds: Vec<Vec<u8>>,
    /// Texts that are worth putting into an input.
    pub words: &'t [&'t str],
    /// Whether inputs are protobuf messages, which are mutated field by field too.
    pub message: bool,
    /// Seeds and corpus alone show at least so many behaviours.
    pub floor: usize,
}

/// An input that showed something new, and what it showed.
struct Kept {
    input: Vec<u8>,
    behaviours: BTreeSet<String>,
}

/// What is known of a target.
struct Session<'t, F> {
    target: Target<'t>,
    run: F,
    seen: BTreeSet<String>,
    pool: Vec<Kept>,
    /// Where an input is written on which the target fails.
    failures: PathBuf,
}

/// Feeds a target for as long as this run allows. The target fails by panicking.
pub fn fuzz(target: Target<'_>, run: impl FnMut(&[u8], &mut Behaviours)) {
    let (name, floor) = (target.name, target.floor);
    let corpus = corpus(name);
    assert!(!corpus.is_empty() || keeps(), "tests/it/fuzz/corpus/{name} is empty");
    let mut session = Session::begin(target, env::temp_dir(), run);
    corpus.into_iter().for_each(|input| session.feed(input));
    let reached = session.seen.len();
    let shown = &session.seen;
    assert!(reached >= floor || keeps(), "the corpus shows {reached} of {floor}: {shown:?}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let (begun, mut inputs) = (Instant::now(), 0_u64);
    while begun.elapsed() < budget() {
        session.mutate(&mut rng);
        inputs += 1;
    }
    println!("{name}: {inputs} inputs, {reached} behaviours at first, {} now", session.seen.len());
    if keeps() {
        session.keep();
    }
}

impl<'t, F: FnMut(&[u8], &mut Behaviours)> Session<'t, F> {
    /// Feeds what the target begins with.
    fn begin(mut target: Target<'t>, failures: PathBuf, run: F) -> Session<'t, F> {
        let seeds = std::mem::take(&mut target.seeds);
        let (seen, pool) = (BTreeSet::new(), Vec::new());
        let mut session = Session { target, run, seen, pool, failures };
        seeds.into_iter().for_each(|input| session.feed(input));
        session
    }

    /// Feeds one mutation of what showed something new.
    fn mutate(&mut self, rng: &mut ChaCha8Rng) {
        let mut pick = || self.pool.choose(rng).map_or(&[][..], |kept| &kept.input);
        let (mut input, other) = (pick().to_vec(), pick().to_vec());
        mutate(&mut input, &other, &self.target, rng);
        self.feed(input);
    }

    /// Runs one input; what fails is written down first.
    fn feed(&mut self, input: Vec<u8>) {
        let mut shown = Behaviours::default();
        let begun = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| (self.run)(&input, &mut shown)));
        let took = begun.elapsed();
        if done.is_err() || took > INPUT_MAX {
            let name = self.target.name;
            let kept = format!("{DEFECT}{}", file_name(&input));
            let file = self.failures.join(format!("stockroom-fuzz-{name}-{kept}"));
            fs::write(&file, &input).unwrap();
            let file = file.display();
            println!("{name} failed after {took:?} on {file}");
            println!("once it is mended keep that file as tests/it/fuzz/corpus/{name}/{kept}");
            match done {
                Err(panic) => resume_unwind(panic),
                Ok(()) => panic!("{name} took {took:?}"),
            }
        }
        let behaviours = shown.0;
        if behaviours.is_subset(&self.seen) || self.pool.len() == POOL_MAX {
            return;
        }
        self.seen.extend(behaviours.iter().cloned());
        self.pool.push(Kept { input, behaviours });
    }

    /// Writes the shortest inputs that together show everything into the corpus.
    fn keep(mut self) {
        let folder = folder(self.target.name);
        fs::create_dir_all(&folder).unwrap();
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            if !file.file_name().to_string_lossy().starts_with(DEFECT) {
                fs::remove_file(file.path()).unwrap();
            }
        }
        // Each time the input that shows most of what is still missing for its length.
        let mut missing = self.seen;
        let mut files = 0;
        while files < CORPUS_FILES_MAX {
            let worth = |kept: &Kept| {
                let new = kept.behaviours.intersection(&missing).count();
                new * 1_000 / (kept.input.len() + 50)
            };
            self.pool.sort_by_key(worth);
            let Some(best) = self.pool.pop() else { break };
            if best.behaviours.is_disjoint(&missing) {
                continue;
            }
            missing.retain(|behaviour| !best.behaviours.contains(behaviour));
            fs::write(folder.join(file_name(&best.input)), &best.input).unwrap();
            files += 1;
        }
        println!(
            "{}: kept {files} inputs, {} behaviours left out",
            self.target.name,
            missing.len()
        );
    }
}

/// How long every target runs.
fn budget() -> Duration {
    let seconds = env::var("STOCKROOM_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("STOCKROOM_FUZZ_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT))
}

/// Whether what is new is written into the corpus.
fn keeps() -> bool {
    env::var("STOCKROOM_FUZZ_KEEP").is_ok_and(|keep| keep == "1")
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fuzz/corpus").join(target)
}

/// Every kept input, in the order of file names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let Ok(files) = fs::read_dir(folder(target)) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn file_name(input: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A defect that no input meets by chance, and that only those find who go on from what is new.
#[test]
fn a_defect_behind_several_doors_is_found_and_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let target =
        Target { name: "doors", seeds: vec![Vec::new()], words: &[], message: false, floor: 0 };
    let doors = |input: &[u8], seen: &mut Behaviours| {
        let open = input.iter().zip(b"open!").take_while(|(byte, door)| byte == door).count();
        seen.saw(format!("{open} doors"));
        assert!(open < 5, "it was open");
    };
    let found = catch_unwind(AssertUnwindSafe(|| {
        let mut session = Session::begin(target, folder.path().to_owned(), doors);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..200_000).for_each(|_| session.mutate(&mut rng));
    }));
    assert!(found.is_err(), "it was not found");
    let written: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    let [Ok(file)] = &written[..] else { panic!("{written:?}") };
    assert!(fs::read(file.path()).unwrap().starts_with(b"open!"));
}
