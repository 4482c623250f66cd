//! Reads a table of cases.
//!
//! ```text
//! case   <what it is about>
//! from   <file or issue> | <the case in it>
//! differs <why Stockroom answers differently; left out: it does not>
//!   <verb> <words> <name=value> -> <answer> <name=value>
//! ```
//!
//! A step without an answer must succeed. A step that begins with `|` belongs to the same request
//! as the one before it. Lines that begin with `#` say something to the reader.

/// A row.
#[derive(Debug, Default)]
pub struct Case<'t> {
    pub title: &'t str,
    /// File or issue, and the case in it.
    pub origin: &'t str,
    /// Why Stockroom answers differently, if it does.
    pub differs: Option<&'t str>,
    pub steps: Vec<Step<'t>>,
}

/// One call or look.
#[derive(Clone, Debug)]
pub struct Step<'t> {
    /// In the file, from 1.
    pub line: usize,
    /// Whether it belongs to the request of the step before.
    pub joined: bool,
    pub verb: &'t str,
    pub words: Vec<&'t str>,
    pub options: Vec<(&'t str, &'t str)>,
    pub answer: Option<Answer<'t>>,
}

/// What must be answered.
#[derive(Clone, Debug)]
pub struct Answer<'t> {
    /// A status or the reason of a refusal.
    pub word: &'t str,
    /// Metadata of the refusal, at least these.
    pub values: Vec<(&'t str, &'t str)>,
}

/// Verbs that look, and fail if it is not as they say.
const LOOKS: [&str; 6] = ["is", "total", "sees", "state", "expires", "entries"];

impl Case<'_> {
    /// Whether it says what must come out.
    pub fn expects(&self) -> bool {
        self.steps.iter().any(|step| step.answer.is_some() || LOOKS.contains(&step.verb))
    }
}

impl<'t> Step<'t> {
    pub fn word(&self, index: usize) -> &'t str {
        self.words.get(index).unwrap_or_else(|| panic!("line {}: too few words", self.line))
    }

    pub fn option(&self, name: &str) -> Option<&'t str> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// A number that is given as an option.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.option(name).map(|value| number(value, self.line))
    }
}

pub fn number(text: &str, line: usize) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("line {line}: {text} is no number"))
}

/// Every case of a table, in order.
pub fn read(text: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("case ") {
            cases.push(Case { title: title.trim(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("line {number}: before any case"));
        if let Some(origin) = line.strip_prefix("from ") {
            assert!(origin.contains(" | "), "line {number}: file or issue | case");
            case.origin = origin.trim();
        } else if let Some(why) = line.strip_prefix("differs ") {
            case.differs = Some(why.trim());
        } else {
            assert!(!case.origin.is_empty(), "line {number}: a step before the origin");
            case.steps.push(step(line, number));
        }
    }
    cases
}

fn step(line: &str, number: usize) -> Step<'_> {
    let (asked, answered) = match line.split_once("->") {
        Some((asked, answered)) => (asked, Some(answered)),
        None => (line, None),
    };
    let joined = asked.starts_with('|');
    let (mut words, options) = split(asked.trim_start_matches('|'));
    assert!(!words.is_empty(), "line {number}: no verb");
    let verb = words.remove(0);
    let answer = answered.map(|answered| {
        let (words, values) = split(answered);
        Answer { word: words.first().copied().unwrap_or_default(), values }
    });
    Step { line: number, joined, verb, words, options, answer }
}

/// Words, and what is given as `name=value`.
fn split(text: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let mut words = Vec::new();
    let mut options = Vec::new();
    for token in text.split_whitespace() {
        match token.split_once('=') {
            Some(option) => options.push(option),
            None => words.push(token),
        }
    }
    (words, options)
}
