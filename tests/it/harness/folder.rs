//! A clean folder with what a reader has: the project's files, and the program that was built.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::harness::private_redis::free_address;

/// What of the project documents speak of.
const FILES: [&str; 6] = ["Makefile", "scripts", "deploy", "docs", "proto", "migrations"];
/// Ends everything that was started in the folder $1 and removes it, once its standard input is closed,
/// which the kernel does even for a test that was killed.
const REAPER: &str = r#"
read -r _
for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd") in "$1"/*) kill -KILL "${process#/proc/}" ;; esac
done
tries=0
until rm -rf "$1" || [ "$tries" -gt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
"#;

/// The folder; everything in it goes away with it.
pub struct Folder {
    root: PathBuf,
    account: Option<(u32, u32)>,
    settings: Vec<(String, String)>,
    _reaper: Child,
}

/// Where the project is.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Folder {
    /// Makes one; `ports` are variables in which a document lets its reader choose a port.
    pub fn new(ports: &[&str]) -> Folder {
        let root = tempfile::Builder::new().prefix("stockroom-guide-").tempdir().unwrap().keep();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let root = fs::canonicalize(root).unwrap();
        let reaper = reaper(&root);
        let port = || free_address().port().to_string();
        let mut settings: Vec<_> = ports.iter().map(|name| ((*name).to_owned(), port())).collect();
        let (grpc, http) = (format!("127.0.0.1:{}", port()), format!("127.0.0.1:{}", port()));
        settings.extend([
            ("STOCKROOM_ADDR".to_owned(), format!("http://{grpc}")),
            ("STOCKROOM_LISTEN".to_owned(), grpc.clone()),
            ("LISTEN".to_owned(), grpc),
            ("HTTP_LISTEN".to_owned(), http),
        ]);
        let folder = Folder { root, account: ordinary_account(), settings, _reaper: reaper };
        folder.fill();
        folder
    }

    fn fill(&self) {
        let work = self.work();
        fs::create_dir_all(work.join("target/release")).unwrap();
        fs::create_dir_all(self.root.join("bin")).unwrap();
        for name in FILES {
            let from = project().join(name);
            if from.exists() {
                let copied = Command::new("cp").arg("-r").arg(from).arg(&work).status().unwrap();
                assert!(copied.success());
            }
        }
        // As if it had been built; a link might lead to where an ordinary account may not look.
        let built = self.root.join("bin/stockroom");
        let program = env!("CARGO_BIN_EXE_stockroom");
        if fs::hard_link(program, &built).is_err() {
            fs::copy(program, &built).unwrap();
        }
        symlink(&built, work.join("target/release/stockroom")).unwrap();
        let cargo = self.root.join("bin/cargo");
        fs::write(&cargo, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        if let Some((uid, gid)) = self.account {
            for path in [&work, &work.join("target"), &self.root] {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        }
    }

    /// Where commands are run.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Where the runner keeps what it needs itself.
    pub fn aside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A program in the folder, as an ordinary account would run it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        #[expect(clippy::disallowed_methods, reason = "programs are where the developer has them")]
        let path = std::env::var("PATH").unwrap_or_default();
        command.current_dir(self.work()).env_clear().process_group(0);
        command.env("PATH", format!("{}:{path}", self.root.join("bin").display()));
        command.env("HOME", self.work()).env("LC_ALL", "C.UTF-8");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// What still runs in it, as command lines.
    pub fn processes(&self) -> Vec<String> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let here = all.filter(|process| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.work()))
        });
        let line = |path: PathBuf| fs::read_to_string(path.join("cmdline")).ok();
        let lines = here.filter_map(|process| line(process.path()));
        lines.map(|line| line.replace('\0', " ")).filter(|line| !line.is_empty()).collect()
    }
}

fn reaper(root: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", REAPER, "reaper"]).arg(root).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell starts")
}

/// PostgreSQL refuses to run as root: the tests of root play the reader under its account.
fn ordinary_account() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().expect("there is this account")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}
