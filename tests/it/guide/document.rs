//! The blocks of a document.

/// A block of commands.
pub struct Block {
    /// Where its first line stands, from 1.
    pub line: usize,
    /// How it is run.
    pub runs: Runs,
    /// Its lines, as they are written.
    pub text: String,
}

/// How a block is run.
pub enum Runs {
    /// In the session of the document.
    InSession,
    /// In a shell of its own, which is ready when it has printed this.
    Until(String),
}

/// Commands, and what they have to print.
pub struct Step {
    pub commands: String,
    prints: Vec<String>,
}

/// Every block of commands. Blocks that are only indented would escape: there are none.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        assert!(!line.starts_with("    "), "line {}: please fence blocks of code", number + 1);
        let Some(info) = line.strip_prefix("```") else { continue };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let text: String = inside.flat_map(|line| [line, "\n"]).collect();
        let mut words = info.split_whitespace();
        let language = words.next();
        assert!(language.is_some(), "line {}: please say what the block is", number + 1);
        if language != Some("sh") {
            continue;
        }
        let runs = match words.next() {
            None => Runs::InSession,
            Some(word) => Runs::Until(word.strip_prefix("until=").expect(word).to_owned()),
        };
        blocks.push(Block { line: number + 2, runs, text });
    }
    blocks
}

impl Block {
    /// The commands up to each line that says what they print.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step { commands: String::new(), prints: Vec::new() }];
        for line in self.text.lines() {
            let last = steps.last_mut().unwrap();
            match line.trim_start().strip_prefix("# prints: ") {
                Some(told) => last.prints.push(told.to_owned()),
                None if last.prints.is_empty() => last.commands.extend([line, "\n"]),
                None => steps.push(Step { commands: format!("{line}\n"), prints: Vec::new() }),
            }
        }
        steps
    }
}

impl Step {
    /// Each line that was told was printed, in this order.
    pub fn check(&self, printed: &str, at: &str) {
        let mut lines = printed.lines();
        for told in &self.prints {
            let found = lines.any(|line| is_like(line, told));
            assert!(found, "{at}: no line '{told}' in what was printed:\n{printed}");
        }
    }
}

/// Whether a line has this in it, `...` standing for anything.
fn is_like(line: &str, told: &str) -> bool {
    let blanks_alike = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = blanks_alike(line);
    let mut rest = line.as_str();
    told.split("...").map(blanks_alike).all(|part| match rest.split_once(&part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}
