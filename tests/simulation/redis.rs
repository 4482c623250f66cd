//! A simulated Redis: keys in memory, the production scripts run by Lua, and everything that can happen
//! to a server that only keeps things in memory.
#![expect(clippy::disallowed_types, reason = "it answers what the production code's client asks")]

mod keyspace;
mod pack;
mod script;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use redis::{ErrorKind, RedisError, Script, ServerErrorKind, Value};
use stockroom::{
    availability::{Answers, Commands, Server},
    stock::time::Timestamp,
};
use tokio::time::Instant;

pub use self::keyspace::{Bytes, Keyspace, Reply};
use self::script::Scripts;
use crate::{
    mutants::Rewrite,
    world::{World, lock},
};

/// One server.
pub struct Redis {
    world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    keyspace: Keyspace,
    snapshot: Keyspace,
    scripts: Scripts,
    away_until: Option<Instant>,
    held: BTreeMap<Bytes, BTreeMap<Bytes, Bytes>>,
    held_since: Vec<Held>,
}

/// When, the key of a partition, and units by position and tick.
pub type Held = (Timestamp, Bytes, BTreeMap<Bytes, Bytes>);

/// Words of answers, and what they show was reached.
const WORDS: [(&str, &str); 8] = [
    ("contended", "contended"),
    ("short", "short"),
    ("late", "checkpoint late"),
    ("doubt", "clocks in doubt"),
    ("epoch", "checkpoint of another epoch"),
    ("in_use", "hold in use"),
    ("expired", "hold expired"),
    ("key_reused", "hold key reused"),
];

impl Redis {
    pub fn new(world: Arc<World>, rewrite: Option<Rewrite>) -> Arc<Redis> {
        let state = State {
            keyspace: Keyspace::default(),
            snapshot: Keyspace::default(),
            scripts: Scripts::new(rewrite),
            away_until: None,
            held: BTreeMap::new(),
            held_since: Vec::new(),
        };
        Arc::new(Redis { world, state: Mutex::new(state) })
    }

    /// Everything that is stored.
    pub fn keyspace(&self) -> Keyspace {
        lock(&self.state).keyspace.clone()
    }

    /// Changes what is stored behind everybody's back.
    pub fn alter(&self, change: impl FnOnce(&mut Keyspace)) {
        change(&mut lock(&self.state).keyspace);
    }

    /// Keeps what is stored, to go back to it.
    pub fn keep(&self) {
        let mut state = lock(&self.state);
        state.snapshot = state.keyspace.clone();
    }

    /// Goes back to what was kept: a replica that lagged was promoted.
    pub fn roll_back(&self) {
        let mut state = lock(&self.state);
        state.keyspace = state.snapshot.clone();
    }

    /// Forgets everything.
    pub fn flush(&self) {
        lock(&self.state).keyspace = Keyspace::default();
    }

    /// Stops, and starts again after a while with what was kept.
    pub fn restart(&self, away: Duration) {
        let mut state = lock(&self.state);
        state.keyspace = state.snapshot.clone();
        state.scripts.forget();
        state.away_until = Some(Instant::now() + away);
    }

    /// Cannot be reached for a while.
    pub fn cut_off(&self, away: Duration) {
        lock(&self.state).away_until = Some(Instant::now() + away);
    }

    /// How often a script was loaded that a rewrite changes.
    pub fn rewritten(&self) -> u64 {
        lock(&self.state).scripts.rewritten
    }

    async fn answers(&self, commands: Commands, within: Duration) -> Answers {
        let trouble = self.world.trouble();
        tokio::time::sleep(self.world.span(20..400)).await;
        if self.world.happens(trouble.slow) {
            tokio::time::sleep(self.world.span(1_000..400_000)).await;
        }
        let away = lock(&self.state).away_until.is_some_and(|until| Instant::now() < until);
        if away {
            self.world.reach("redis away");
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        if self.world.happens(trouble.redis) {
            self.world.reach("redis call lost");
            return self.silence(within).await;
        }
        let answers = commands.iter().map(|command| self.execute(command)).collect();
        if self.world.happens(trouble.redis) {
            self.world.reach("redis answer lost");
            return self.silence(within).await;
        }
        tokio::time::sleep(self.world.span(20..400)).await;
        Ok(answers)
    }

    /// Notes what a script came to, and who holds what from now on.
    fn watch(&self, state: &mut State, name: &[u8], done: Result<&Reply, &String>) {
        let title = state.scripts.title(name);
        match (title, done) {
            ("Begins to project", Ok(Reply::Int(1))) => self.world.reach("rebuild begun"),
            ("Projects a page", Ok(Reply::Int(1))) => self.world.reach("rebuild page"),
            ("Projects a page", Ok(Reply::Int(0))) => self.world.reach("rebuild interrupted"),
            ("Sets the checkpoint", Ok(Reply::Int(1))) => self.world.reach("rebuild finished"),
            ("Replaces rows", Ok(Reply::Int(1..))) => self.world.reach("scrubber mended"),
            (_, Ok(Reply::Text(text))) => {
                let said = |word: &str| text.windows(word.len()).any(|at| at == word.as_bytes());
                let said = WORDS.iter().filter(|(word, _)| said(word));
                said.for_each(|(_, what)| self.world.reach(what));
            }
            _ => {}
        }
        for (key, units) in &state.keyspace.hashes {
            if key.ends_with(b":tick_units") && state.held.get(key) != Some(units) {
                state.held.insert(key.clone(), units.clone());
                state.held_since.push((self.world.redis_now(), key.clone(), units.clone()));
            }
        }
        for (key, units) in &mut state.held {
            if !units.is_empty() && !state.keyspace.hashes.contains_key(key) {
                units.clear();
                state.held_since.push((self.world.redis_now(), key.clone(), BTreeMap::new()));
            }
        }
    }

    /// Who held what, from which moment on.
    pub fn held_since(&self) -> Vec<Held> {
        lock(&self.state).held_since.clone()
    }

    async fn silence(&self, within: Duration) -> Answers {
        tokio::time::sleep(within).await;
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    }

    fn execute(&self, command: &[Bytes]) -> Result<Value, RedisError> {
        let texts: Vec<_> =
            command.iter().take(2).map(|arg| String::from_utf8_lossy(arg)).collect();
        let state = &mut *lock(&self.state);
        match (&*texts[0], command) {
            ("SCRIPT", [_, _, text]) => {
                let text = String::from_utf8_lossy(text);
                let name = Script::new(&text).get_hash().to_owned();
                state.scripts.load(name.as_bytes(), &text);
                Ok(Value::BulkString(name.into_bytes()))
            }
            ("EVALSHA", [_, name, keys, rest @ ..]) => {
                if !state.scripts.knows(name) {
                    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
                    return Err((unknown, "no such script").into());
                }
                let keys: usize = String::from_utf8_lossy(keys).parse().unwrap_or(0);
                let (keys, arguments) = rest.split_at(keys);
                let now_us = self.world.redis_now().0;
                let done = state.scripts.run(&mut state.keyspace, now_us, name, keys, arguments);
                self.watch(state, name, done.as_ref());
                match &done {
                    Ok(Reply::Text(answer)) => self.world.note_answer(&texts[1], answer),
                    other => self.world.note(|| format!("redis {} {other:?}", texts[1])),
                }
                match done {
                    Ok(reply) => Ok(value(reply)),
                    Err(what) => {
                        self.world.violated(format!("a script failed: {what}"));
                        Err((ErrorKind::Client, "a script failed").into())
                    }
                }
            }
            (name, [_, arguments @ ..]) => match state.keyspace.call(name, arguments) {
                Ok(reply) => Ok(value(reply)),
                Err(_) => Err((ErrorKind::Client, "no such command").into()),
            },
            _ => Err((ErrorKind::Client, "no command").into()),
        }
    }
}

impl Server for Redis {
    fn answer(&self, commands: Commands, within: Duration) -> BoxFuture<'_, Answers> {
        let answers = self.answers(commands, within);
        let timed = tokio::time::timeout(within, answers);
        timed
            .map(|done| {
                done.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
            })
            .boxed()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis")
    }
}

fn value(reply: Reply) -> Value {
    match reply {
        Reply::Nil => Value::Nil,
        Reply::Int(number) => Value::Int(number),
        Reply::Text(text) => Value::BulkString(text),
        Reply::List(replies) => Value::Array(replies.into_iter().map(value).collect()),
    }
}
