//! Every command of the README and of the guides runs as it is written, in a clean folder.
//!
//! How documents are written so that they can be run; a reader notices none of it:
//! - Commands stand in blocks fenced with `sh`. All blocks of a document are one session of one shell,
//!   in order, and end at the first command that fails.
//! - `sh until=WORD`: runs in a shell of its own, until Ctrl-C at the end of the document; what
//!   follows begins once it has printed the word.
//! - `# prints: TEXT`: a line that what stands above it, up to the one before, has printed. `...`
//!   stands for anything within the line, and blanks are alike.
//! - Other blocks are not commands, and say what they are (`text`, `promql`).

mod document;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::document::{Block, Runs, blocks};
use crate::harness::{
    folder::{self, Folder},
    shell::Shell,
};

/// What is not run, by how its line begins, and why.
const NOT_RUN: [(&str, &str); 2] = [
    ("make demo ", "builds in release mode and replays a year of tills: a quarter of an hour"),
    ("make test ", "is what runs this test"),
];

/// Variables in which the guides let their reader choose ports.
const PORTS: [&str; 7] =
    ["PGPORT", "REDIS_PORT", "PORT_A", "PORT_B", "HTTP_PORT_A", "HTTP_PORT_B", "PROMETHEUS_PORT"];

/// Runs a document; returns how many of its lines were not run.
fn run(name: &str, ports: &[&str]) -> usize {
    let document = std::fs::read_to_string(folder::project().join(name)).unwrap();
    let folder = Folder::new(ports);
    let mut session = Shell::start(&folder);
    let mut beside = Vec::new();
    let mut not_run = 0;
    for block in blocks(&document) {
        let at = format!("{name}:{}", block.line);
        not_run += left_out(&folder, &block, &at);
        match &block.runs {
            _ if is_left_out(&block) => {}
            Runs::Until(word) => {
                let mut shell = Shell::start(&folder);
                shell.begin(&block.text);
                shell.wait_until_printed(word, &at);
                beside.push(shell);
            }
            Runs::InSession => {
                for step in block.steps() {
                    let printed = session.run(&step.commands, &at);
                    step.check(&printed, &at);
                }
            }
        }
    }
    session.end();
    beside.into_iter().for_each(Shell::interrupt);
    assert_eq!(folder.processes(), Vec::<String>::new(), "{name} stops what it starts");
    not_run
}

fn is_left_out(block: &Block) -> bool {
    let listed = |line: &str| NOT_RUN.iter().any(|(begins, _)| line.starts_with(begins));
    block.text.lines().all(listed)
}

/// What is not run is there all the same.
fn left_out(folder: &Folder, block: &Block, at: &str) -> usize {
    let lines = block.text.lines();
    let named: Vec<_> =
        lines.filter(|line| NOT_RUN.iter().any(|(n, _)| line.starts_with(n))).collect();
    assert!(named.is_empty() || is_left_out(block), "{at}: blocks are run whole or not at all");
    for line in &named {
        let target = line.split_whitespace().nth(1).unwrap();
        // Not as a part of the `make test` that may run this.
        let made = folder.command("make").args(["--dry-run", target]).output().unwrap();
        assert!(made.status.success(), "{at}: there is no 'make {target}'");
        let script = String::from_utf8(made.stdout).unwrap();
        let script = folder.work().join(script.trim());
        assert!(script.is_file(), "{at}: 'make {target}' runs '{}'", script.display());
    }
    named.len()
}

#[test]
fn every_command_of_the_readme_runs() {
    assert_eq!(run("README.md", &[]), NOT_RUN.len());
}

#[test]
fn every_command_of_the_operating_guide_runs() {
    assert_eq!(run("docs/operations.md", &PORTS), 0);
}

#[test]
fn every_command_of_the_restore_drill_runs() {
    assert_eq!(run("docs/backup.md", &PORTS), 0);
}

/// Their blocks would be commands that nobody runs.
#[test]
fn no_other_document_has_commands_that_nobody_runs() {
    let run = ["operations.md", "backup.md"];
    for entry in std::fs::read_dir(folder::project().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_file() && !run.contains(&name) {
            let document = std::fs::read_to_string(&path).unwrap();
            assert!(!document.contains("\n```sh"), "docs/{name} has commands: run it here");
        }
    }
}

#[test]
fn a_command_that_fails_or_prints_something_else_is_found() {
    let folder = Folder::new(&[]);
    for (text, told) in [
        ("true\nfalse\ntrue", "failed at line 2: false"),
        ("exit 3", "the shell ended"),
        ("echo 6 sellable\n# prints: 7 sellable", "no line '7 sellable'"),
        ("no-such-program", "not found"),
    ] {
        let blocks = blocks(&format!("```sh\n{text}\n```\n"));
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let mut shell = Shell::start(&folder);
            for step in blocks[0].steps() {
                step.check(&shell.run(&step.commands, "here"), "here");
            }
        }));
        let why = failed.expect_err(text);
        let why = why.downcast_ref::<String>().expect("a text");
        assert!(why.contains(told), "{text}: {why}");
    }
}
