//! A shell that is told one thing after the other.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::harness::folder::Folder;

/// A step that takes longer has failed.
const STEP_MAX: Duration = Duration::from_secs(180);
const POLL_EVERY: Duration = Duration::from_millis(20);
static STEPS: AtomicU32 = AtomicU32::new(0);

/// Ends at the first command that fails, and says which that was.
const PREAMBLE: &str = "set -eE -o pipefail\n\
    trap 'echo \"failed at line $LINENO: $BASH_COMMAND\" >&2' ERR\n";

/// bash, in the folder.
pub struct Shell<'a> {
    folder: &'a Folder,
    child: Child,
    /// Of the step that runs.
    output: PathBuf,
}

impl<'a> Shell<'a> {
    pub fn start(folder: &'a Folder) -> Shell<'a> {
        let mut command = folder.command("bash");
        command.args(["--noprofile", "--norc", "-s"]).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("there is a bash");
        child.stdin.as_mut().unwrap().write_all(PREAMBLE.as_bytes()).unwrap();
        Shell { folder, child, output: PathBuf::new() }
    }

    /// Runs commands to their end, and returns what they printed.
    pub fn run(&mut self, commands: &str, at: &str) -> String {
        let done = self.begin(commands);
        let what = || commands.trim().to_owned();
        self.wait(|_| done.exists(), &format!("{at}: {}", what()));
        self.printed()
    }

    /// Begins to run commands; the file is there once they have succeeded.
    pub fn begin(&mut self, commands: &str) -> PathBuf {
        let number = STEPS.fetch_add(1, Ordering::Relaxed);
        let file = |end: &str| self.folder.aside(&format!("{number}.{end}"));
        let (script, output, done) = (file("sh"), file("out"), file("done"));
        fs::write(&script, commands).unwrap();
        // A command that reads its input must not read the next one.
        let line = format!(
            "exec >{} 2>&1; . {} </dev/null; : >{}\n",
            output.display(),
            script.display(),
            done.display()
        );
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        self.output = output;
        done
    }

    /// Waits until a word was printed.
    pub fn wait_until_printed(&mut self, word: &str, at: &str) {
        let says = |shell: &Shell<'_>| shell.printed().contains(word);
        self.wait(says, &format!("{at}: it does not say '{word}'"));
    }

    fn wait(&mut self, over: impl Fn(&Shell<'_>) -> bool, what: &str) {
        let until = Instant::now() + STEP_MAX;
        loop {
            let ended = self.child.try_wait().unwrap();
            if over(self) {
                return;
            }
            let printed = || self.printed();
            assert!(ended.is_none(), "{what}\nthe shell ended; it printed:\n{}", printed());
            assert!(Instant::now() < until, "{what}\ntook too long; it printed:\n{}", printed());
            sleep(POLL_EVERY);
        }
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Ends the session.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    /// Ctrl-C, which everything in the terminal hears; waits until it is over.
    pub fn interrupt(mut self) {
        drop(self.child.stdin.take());
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill").args(["-s", "INT", "--", &group]).status().unwrap();
        assert!(sent.success());
        let until = Instant::now() + STEP_MAX;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it does not stop; it printed:\n{}", self.printed());
            sleep(POLL_EVERY);
        }
    }
}
