//! The production scripts, run by Lua 5.1 over a simulated keyspace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use mlua::{Error, Function, Lua, MultiValue, Value, Variadic};

use crate::{
    mutants::Rewrite,
    redis::{
        keyspace::{Bytes, Keyspace, Reply},
        pack,
    },
    world::lock,
};

/// A Lua with what the scripts expect, and the scripts that were loaded into it.
pub struct Scripts {
    lua: Lua,
    shared: Arc<Mutex<Shared>>,
    loaded: BTreeMap<Bytes, (&'static str, Function)>,
    rewrite: Option<Rewrite>,
    /// How often a script was loaded whose text the rewrite changes.
    pub rewritten: u64,
}

/// With what words the scripts that are watched describe themselves.
const TITLES: [&str; 4] =
    ["Begins to project", "Projects a page", "Sets the checkpoint", "Replaces rows"];

/// What a call works on.
#[derive(Default)]
struct Shared {
    keyspace: Keyspace,
    declared: BTreeSet<Bytes>,
    now_us: i64,
}

impl Scripts {
    pub fn new(rewrite: Option<Rewrite>) -> Scripts {
        let (lua, shared) = (Lua::new(), Arc::<Mutex<Shared>>::default());
        install(&lua, &shared).expect("Lua takes what it is given");
        Scripts { lua, shared, loaded: BTreeMap::new(), rewrite, rewritten: 0 }
    }

    /// Loads a script under its name.
    pub fn load(&mut self, name: &[u8], text: &str) {
        let title = TITLES.into_iter().find(|title| text.contains(&format!("\n-- {title} ")));
        let text = text.strip_prefix("#!lua").and_then(|text| text.split_once('\n'));
        let mut text = text.map_or("", |(_, body)| body).to_owned();
        if let Some(Rewrite { from, to }) = self.rewrite.filter(|change| text.contains(change.from))
        {
            text = text.replace(from, to);
            self.rewritten += 1;
        }
        let function = self.lua.load(&text).into_function().expect("a script is Lua");
        self.loaded.insert(name.to_vec(), (title.unwrap_or_default(), function));
    }

    pub fn knows(&self, name: &[u8]) -> bool {
        self.loaded.contains_key(name)
    }

    /// How a script describes itself, if it is one that is watched.
    pub fn title(&self, name: &[u8]) -> &'static str {
        self.loaded.get(name).map_or("", |(title, _)| title)
    }

    /// Forgets all scripts, as a server does that starts.
    pub fn forget(&mut self) {
        self.loaded.clear();
    }

    /// Runs a script as one step.
    pub fn run(
        &self,
        keyspace: &mut Keyspace,
        now_us: i64,
        name: &[u8],
        keys: &[Bytes],
        arguments: &[Bytes],
    ) -> Result<Reply, String> {
        let (_, function) = self.loaded.get(name).ok_or("no such script")?;
        let mut shared = lock(&self.shared);
        std::mem::swap(&mut shared.keyspace, keyspace);
        shared.declared = keys.iter().cloned().collect();
        shared.now_us = now_us;
        drop(shared);
        let call = || {
            let texts = |texts: &[Bytes]| {
                let texts = texts.iter().map(|text| self.lua.create_string(text));
                self.lua.create_sequence_from(texts.collect::<Result<Vec<_>, _>>()?)
            };
            self.lua.globals().set("KEYS", texts(keys)?)?;
            self.lua.globals().set("ARGV", texts(arguments)?)?;
            reply_of(&function.call::<Value>(())?)
        };
        let done = call().map_err(|error: Error| error.to_string());
        std::mem::swap(&mut lock(&self.shared).keyspace, keyspace);
        done
    }
}

fn install(lua: &Lua, shared: &Arc<Mutex<Shared>>) -> Result<(), Error> {
    let redis = lua.create_table()?;
    let shared = Arc::clone(shared);
    let call = move |lua: &Lua, (name, arguments): (String, Variadic<Value>)| {
        let mut shared = lock(&shared);
        if name == "TIME" {
            let (seconds, micros) = (shared.now_us / 1_000_000, shared.now_us % 1_000_000);
            return value_of(lua, texts_of([seconds, micros]));
        }
        let arguments: Vec<_> = arguments.iter().map(bytes_of).collect::<Result<_, _>>()?;
        if !arguments.first().is_some_and(|key| shared.declared.contains(key)) {
            return Err(Error::runtime(format!("{name} names a key that was not declared")));
        }
        let done = shared.keyspace.call(&name, &arguments).map_err(Error::runtime)?;
        value_of(lua, done)
    };
    redis.set("call", lua.create_function(call)?)?;
    lua.globals().set("redis", redis)?;
    let cmsgpack = lua.create_table()?;
    let pack = |lua: &Lua, values: MultiValue| {
        let values: Vec<_> = values.into_iter().collect();
        lua.create_string(pack::pack(&values)?)
    };
    cmsgpack.set("pack", lua.create_function(pack)?)?;
    let unpack = |lua: &Lua, bytes: mlua::String| {
        let values = pack::unpack(lua, &bytes.as_bytes())?;
        Ok(MultiValue::from_vec(values))
    };
    cmsgpack.set("unpack", lua.create_function(unpack)?)?;
    lua.globals().set("cmsgpack", cmsgpack)
}

fn texts_of(numbers: [i64; 2]) -> Reply {
    Reply::List(numbers.map(|number| Reply::Text(number.to_string().into_bytes())).to_vec())
}

/// An argument of a command; Redis writes numbers with 17 digits.
fn bytes_of(value: &Value) -> Result<Bytes, Error> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) if number.fract() == 0.0 => {
            Ok((*number as i64).to_string().into_bytes())
        }
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        other => Err(Error::runtime(format!("{} is no argument", other.type_name()))),
    }
}

/// What a command's answer is in Lua.
fn value_of(lua: &Lua, reply: Reply) -> Result<Value, Error> {
    Ok(match reply {
        Reply::Nil => Value::Boolean(false),
        Reply::Int(number) => Value::Number(number as f64),
        Reply::Text(text) => Value::String(lua.create_string(text)?),
        Reply::List(replies) => {
            let values = replies.into_iter().map(|reply| value_of(lua, reply));
            let values = values.collect::<Result<Vec<_>, _>>()?;
            Value::Table(lua.create_sequence_from(values)?)
        }
    })
}

/// What a script's result is as an answer.
fn reply_of(value: &Value) -> Result<Reply, Error> {
    Ok(match value {
        Value::Nil | Value::Boolean(false) => Reply::Nil,
        Value::Boolean(true) => Reply::Int(1),
        Value::Integer(number) => Reply::Int(*number),
        Value::Number(number) => Reply::Int(*number as i64),
        Value::String(text) => Reply::Text(text.as_bytes().to_vec()),
        Value::Table(table) => {
            let mut replies = Vec::new();
            for at in 1.. {
                match table.raw_get::<Value>(at)? {
                    Value::Nil => break,
                    value => replies.push(reply_of(&value)?),
                }
            }
            Reply::List(replies)
        }
        other => return Err(Error::runtime(format!("{} is no result", other.type_name()))),
    })
}
