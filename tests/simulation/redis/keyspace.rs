//! The keys of a simulated Redis, and the commands that the scripts use on them.

use std::collections::{BTreeMap, BTreeSet};

/// A key, a field, a member or a value.
pub type Bytes = Vec<u8>;

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Int(i64),
    Text(Bytes),
    List(Vec<Reply>),
}

/// All keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyspace {
    pub hashes: BTreeMap<Bytes, BTreeMap<Bytes, Bytes>>,
    pub sorted: BTreeMap<Bytes, BTreeMap<Bytes, i64>>,
    pub sets: BTreeMap<Bytes, BTreeSet<Bytes>>,
}

type Done = Result<Reply, String>;

impl Keyspace {
    /// Carries out one command; its first argument is the key.
    pub fn call(&mut self, name: &str, arguments: &[Bytes]) -> Done {
        let Some((key, rest)) = arguments.split_first() else {
            return Err(format!("{name} needs a key"));
        };
        let done = match name.as_bytes().first() {
            Some(b'H') => self.on_hash(name, key, rest),
            Some(b'Z') => self.on_sorted(name, key, rest),
            _ => self.on_other(name, key, rest),
        };
        self.hashes.retain(|_, fields| !fields.is_empty());
        self.sorted.retain(|_, members| !members.is_empty());
        self.sets.retain(|_, members| !members.is_empty());
        done
    }

    fn on_hash(&mut self, name: &str, key: &[u8], rest: &[Bytes]) -> Done {
        let there = self.hashes.get(key);
        let get = |field: &Bytes| {
            let value = there.and_then(|fields| fields.get(field));
            value.map_or(Reply::Nil, |value| Reply::Text(value.clone()))
        };
        let all = || there.into_iter().flatten();
        match (name, rest) {
            ("HGET", [field]) => return Ok(get(field)),
            ("HMGET", fields) => return Ok(Reply::List(fields.iter().map(get).collect())),
            ("HKEYS", []) => return Ok(texts(all().map(|(field, _)| field))),
            ("HGETALL", []) => {
                return Ok(texts(all().flat_map(|(field, value)| [field, value])));
            }
            ("HSCAN", _) => {
                let all = texts(all().flat_map(|(field, value)| [field, value]));
                return Ok(Reply::List(vec![Reply::Text(b"0".to_vec()), all]));
            }
            _ => {}
        }
        let fields = self.hashes.entry(key.to_vec()).or_default();
        match (name, rest) {
            ("HSET", pairs) if pairs.len() >= 2 && pairs.len().is_multiple_of(2) => {
                let put = |pair: &[Bytes]| fields.insert(pair[0].clone(), pair[1].clone());
                let new = pairs.chunks(2).map(put).filter(Option::is_none).count();
                Ok(Reply::Int(new as i64))
            }
            ("HDEL", gone) => {
                let gone = gone.iter().filter_map(|field| fields.remove(field)).count();
                Ok(Reply::Int(gone as i64))
            }
            ("HINCRBY", [field, by]) => {
                let value = fields.get(field).map_or(Ok(0), number)? + number(by)?;
                fields.insert(field.clone(), value.to_string().into_bytes());
                Ok(Reply::Int(value))
            }
            _ => Err(format!("{name} is not known")),
        }
    }

    fn on_sorted(&mut self, name: &str, key: &[u8], rest: &[Bytes]) -> Done {
        let members = self.sorted.entry(key.to_vec()).or_default();
        match (name, rest) {
            ("ZADD", [score, member]) => {
                let new = members.insert(member.clone(), number(score)?).is_none();
                return Ok(Reply::Int(i64::from(new)));
            }
            ("ZREM", gone) => {
                let gone = gone.iter().filter_map(|member| members.remove(member)).count();
                return Ok(Reply::Int(gone as i64));
            }
            _ => {}
        }
        let mut ordered: Vec<_> =
            members.iter().map(|(member, score)| (*score, member.clone())).collect();
        ordered.sort();
        match (name, rest) {
            ("ZSCORE", [member]) => Ok(members
                .get(member)
                .map_or(Reply::Nil, |score| Reply::Text(score.to_string().into_bytes()))),
            ("ZCOUNT", [from, to]) => {
                let (from, to) = (score(from)?, score(to)?);
                let count = ordered.iter().filter(|(at, _)| (from..=to).contains(at)).count();
                Ok(Reply::Int(count as i64))
            }
            ("ZRANGE", [_, _, _]) => {
                let first = ordered.into_iter().take(1);
                let pair = |(at, member): (i64, Bytes)| [member, at.to_string().into_bytes()];
                Ok(Reply::List(first.flat_map(pair).map(Reply::Text).collect()))
            }
            ("ZRANGEBYSCORE", [from, to, limit @ ..]) => {
                let (from, to) = (score(from)?, score(to)?);
                let found = ordered.into_iter().filter(|(at, _)| (from..=to).contains(at));
                limited(found.map(|(_, member)| member), limit)
            }
            ("ZRANGEBYLEX", [from, to, limit @ ..]) => {
                let found = ordered.into_iter().map(|(_, member)| member);
                limited(found.filter(|member| is_between(member, from, to)), limit)
            }
            _ => Err(format!("{name} is not known")),
        }
    }

    fn on_other(&mut self, name: &str, key: &[u8], rest: &[Bytes]) -> Done {
        let count = |truth: bool| Ok(Reply::Int(i64::from(truth)));
        match (name, rest) {
            ("EXISTS", []) => count(
                self.hashes.contains_key(key)
                    || self.sorted.contains_key(key)
                    || self.sets.contains_key(key),
            ),
            ("DEL", []) => count(
                self.hashes.remove(key).is_some()
                    | self.sorted.remove(key).is_some()
                    | self.sets.remove(key).is_some(),
            ),
            ("SADD", [member]) => {
                count(self.sets.entry(key.to_vec()).or_default().insert(member.clone()))
            }
            ("SREM", [member]) => {
                count(self.sets.get_mut(key).is_some_and(|members| members.remove(member)))
            }
            ("SISMEMBER", [member]) => {
                count(self.sets.get(key).is_some_and(|members| members.contains(member)))
            }
            ("SSCAN", _) => {
                let all = texts(self.sets.get(key).into_iter().flatten());
                Ok(Reply::List(vec![Reply::Text(b"0".to_vec()), all]))
            }
            _ => Err(format!("{name} is not known")),
        }
    }
}

fn texts<'b>(texts: impl Iterator<Item = &'b Bytes>) -> Reply {
    Reply::List(texts.map(|text| Reply::Text(text.clone())).collect())
}

fn limited(found: impl Iterator<Item = Bytes>, limit: &[Bytes]) -> Done {
    let (skip, take) = match limit {
        [] => (0, usize::MAX),
        [_, skip, take] => (number(skip)? as usize, number(take)? as usize),
        _ => return Err("a limit has an offset and a count".to_owned()),
    };
    Ok(Reply::List(found.skip(skip).take(take).map(Reply::Text).collect()))
}

/// Whole numbers, which is all that the scripts use, also where Lua writes them as 1e+15.
fn number(text: &Bytes) -> Result<i64, String> {
    let text = String::from_utf8_lossy(text);
    let float = || text.parse().ok().filter(|float: &f64| float.fract() == 0.0);
    let parsed = text.parse().ok().or_else(|| float().map(|float| float as i64));
    parsed.ok_or_else(|| format!("'{text}' is no whole number"))
}

fn score(text: &Bytes) -> Result<i64, String> {
    match &text[..] {
        b"-inf" => Ok(i64::MIN),
        b"+inf" => Ok(i64::MAX),
        _ => number(text),
    }
}

fn is_between(member: &[u8], from: &[u8], to: &[u8]) -> bool {
    let (from, to) = ((from[0], &from[1..]), (to[0], &to[1..]));
    let above = if from.0 == b'[' { member >= from.1 } else { member > from.1 };
    let below = if to.0 == b'[' { member <= to.1 } else { member < to.1 };
    above && below
}
