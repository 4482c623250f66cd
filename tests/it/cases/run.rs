//! Carries out a case. Every case has locations and items of its own, so that many share a server.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

mod looks;
mod movements;
mod reservations;

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::Mutex,
};

use futures::{FutureExt as _, future::join_all};
use stockroom::api::proto::{
    Channel, ChannelPolicy, Line, MovementError, PutChannelPolicyRequest, PutChannelRequest,
    channel_policy::Buffer,
};
use tonic::Status;

use super::table::{Answer, Case, Step, number};
use crate::harness::{errors::explained, reservations::line, server::Server};

/// A location that is never put.
const NOWHERE: &str = "nowhere";
/// Stands for nothing at all.
const EMPTY: &str = "-";
/// Who sends movements where a step does not say.
const SOURCE: &str = "till";

/// A case on its way.
struct Scene<'s> {
    server: &'s Server,
    /// Of the case, on this server.
    number: usize,
    /// Ids of reservations and holds, by the key of the step that made them.
    ids: Mutex<HashMap<String, String>>,
}

/// What a call was answered.
enum Answered {
    /// It had its effect, now or earlier.
    Done(&'static str),
    Refused(Box<Status>),
    /// One line of several.
    Rejected(MovementError),
}

/// Carries out a case on a server that it shares with those of other numbers.
///
/// # Errors
/// What was not as the case says.
pub async fn run(server: &Server, number: usize, case: &Case<'_>) -> Result<(), String> {
    let scene = Scene { server, number, ids: Mutex::default() };
    let done = AssertUnwindSafe(scene.run(case)).catch_unwind().await;
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(text.unwrap_or_else(|| "panicked".to_owned()))
    })
}

impl Scene<'_> {
    async fn run(&self, case: &Case<'_>) -> Result<(), String> {
        self.put_locations(case).await;
        let mut steps = case.steps.iter().peekable();
        while let Some(step) = steps.next() {
            let mut request = vec![step];
            while let Some(joined) = steps.next_if(|next| next.joined) {
                request.push(joined);
            }
            let line = step.line;
            self.take(&request).await.map_err(|what| format!("line {line}: {what}"))?;
        }
        Ok(())
    }

    async fn put_locations(&self, case: &Case<'_>) {
        let mut names = BTreeSet::new();
        for step in case.steps.iter().filter(|step| step.verb == "at") {
            names.extend(step.words.iter().map(|name| self.location(name)));
        }
        if names.is_empty() {
            names.insert(self.location("a"));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.server.put_locations(&names).await;
    }

    async fn take(&self, request: &[&Step<'_>]) -> Result<(), String> {
        let [step] = request else { return self.record(request).await };
        match step.verb {
            "at" => Ok(()),
            "untracked" => {
                self.server.put_item(&self.sku(step.word(0)), false).await;
                Ok(())
            }
            "channel" => {
                self.put_channel(step).await;
                Ok(())
            }
            "race" => self.race(step).await,
            "is" | "total" | "sees" | "state" | "expires" | "entries" => self.look(step).await,
            _ if movements::kind(step).is_some() => self.record(request).await,
            _ => self.judge(step, self.act(step).await),
        }
    }

    /// `race 5 reserve k a x:1 -> granted=2 refused=INSUFFICIENT_STOCK`: all at once.
    async fn race(&self, step: &Step<'_>) -> Result<(), String> {
        let (count, verb) = (number(step.word(0), step.line), step.word(1));
        let keys: Vec<_> = (0..count).map(|number| format!("{}{number}", step.word(2))).collect();
        let racers = keys.iter().map(|key| async move {
            let mut words = vec![key.as_str()];
            words.extend(&step.words[3..]);
            let racer = Step { verb, words, answer: None, ..step.clone() };
            match movements::kind(&racer) {
                Some(_) => self.post(&[&racer]).await.remove(0),
                None => self.act(&racer).await,
            }
        });
        let answers = join_all(racers).await;
        let wanted = step.answer.as_ref().ok_or("a race has an answer")?;
        let value = |name: &str| wanted.values.iter().find(|(known, _)| *known == name);
        let granted = answers.iter().filter(|answer| matches!(answer, Answered::Done(_))).count();
        let expected = value("granted").map(|(_, value)| number(value, step.line));
        if expected != Some(granted as i64) {
            return Err(format!("{granted} were granted, not {expected:?}"));
        }
        let refused = value("refused").map_or("", |(_, reason)| *reason);
        for answer in answers.iter().filter(|answer| !matches!(answer, Answered::Done(_))) {
            check(&Answer { word: refused, values: Vec::new() }, answer)?;
        }
        Ok(())
    }

    async fn put_channel(&self, step: &Step<'_>) {
        let channel_id = self.location(step.word(0));
        let channel = Channel { channel_id: channel_id.clone(), name: String::new() };
        let request = PutChannelRequest { channel: Some(channel) };
        self.server.network().put_channel(request).await.unwrap();
        let policy = ChannelPolicy {
            channel_id,
            buffer: step.number("buffer").map(Buffer::BufferUnits),
            units_per_order_max: step.number("most").unwrap_or_default(),
            ..ChannelPolicy::default()
        };
        let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
        self.server.network().put_channel_policy(request).await.unwrap();
    }

    /// Compares an answer with what the step says; says nothing of it: it must have been granted.
    fn judge(&self, step: &Step<'_>, answered: Answered) -> Result<(), String> {
        let granted = Answer { word: granted_word(step), values: Vec::new() };
        check(step.answer.as_ref().unwrap_or(&granted), &answered)
    }

    fn location(&self, name: &str) -> String {
        match name {
            EMPTY => String::new(),
            NOWHERE => NOWHERE.to_owned(),
            _ => format!("c{}-{name}", self.number),
        }
    }

    fn sku(&self, name: &str) -> String {
        match name {
            EMPTY => String::new(),
            _ => format!("c{}-{name}", self.number),
        }
    }

    /// The id of what a step of this key made; a key that made nothing stands for itself.
    fn id(&self, key: &str) -> String {
        if key == EMPTY {
            return String::new();
        }
        let ids = self.ids.lock().unwrap();
        ids.get(key).cloned().unwrap_or_else(|| key.to_owned())
    }

    /// Remembers what a key made; says whether it had made the same before.
    fn made(&self, key: &str, id: String) -> &'static str {
        let before = self.ids.lock().unwrap().insert(key.to_owned(), id.clone());
        match before {
            None => "GRANTED",
            Some(before) if before == id => "REPLAYED",
            Some(_) => "GRANTED_AGAIN",
        }
    }

    /// `x:5`, which may be one of several lines.
    fn lines(&self, step: &Step<'_>, from: usize) -> Vec<Line> {
        let words = step.words.get(from..).unwrap_or_default();
        let pairs = words.iter().map(|word| pair(word, step.line));
        pairs.map(|(sku, quantity)| line(&self.sku(sku), quantity)).collect()
    }
}

/// `x:5`.
fn pair(word: &str, line: usize) -> (&str, i64) {
    let pair = word.split_once(':').map(|(name, value)| (name, number(value, line)));
    pair.unwrap_or_else(|| panic!("line {line}: {word} is not of the form item:quantity"))
}

fn granted_word(step: &Step<'_>) -> &'static str {
    if movements::kind(step).is_some() { "RECORDED" } else { "GRANTED" }
}

fn check(wanted: &Answer<'_>, answered: &Answered) -> Result<(), String> {
    let (word, metadata) = match answered {
        Answered::Done(word) => (*word, HashMap::new()),
        Answered::Rejected(error) => (&*error.reason, error.metadata.clone()),
        Answered::Refused(status) => {
            let shown = format!("{status:?}");
            if !shown.contains(wanted.word) {
                return Err(format!("refused: {status:?}, not {}", wanted.word));
            }
            (wanted.word, explained(status, status.code(), wanted.word))
        }
    };
    if word != wanted.word {
        return Err(format!("{word} {metadata:?}, not {}", wanted.word));
    }
    for (name, value) in &wanted.values {
        let told = metadata.get(*name);
        if told.map(String::as_str) != Some(value) {
            return Err(format!("{name} is {told:?}, not {value}"));
        }
    }
    Ok(())
}
