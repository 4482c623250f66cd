//! The files in `deploy` say what the program knows. That their own readers understand them is checked by
//! `scripts/deploying.sh`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command as Program,
};

use clap::{Command, CommandFactory as _};
use stockroom::cli::Cli;

/// Events under way are given so long, and the last batch is settled after that.
const AFTER_DRAIN_S: u64 = 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap()
}

/// Every environment variable that some command reads.
fn known(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env());
    let mut known: BTreeSet<String> = own.map(|name| name.to_string_lossy().into_owned()).collect();
    command.get_subcommands().for_each(|command| known.extend(self::known(command)));
    known
}

#[test]
fn every_setting_in_deploy_is_one_of_the_program() {
    let mut root = Cli::command();
    root.build();
    let known = known(&root);
    let files =
        ["compose/compose.yml", "kubernetes/configmap.yaml", "kubernetes/migrate.yaml"].map(read);
    let mut used = BTreeSet::new();
    for file in &files {
        let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        used.extend(words.filter(|word| {
            let ours = ["STOCKROOM_", "DATABASE_", "REDIS_"];
            ours.iter().any(|begin| word.starts_with(begin) && word.len() > begin.len())
        }));
    }
    assert!(used.len() >= 9, "{used:?}");
    let unknown: Vec<_> = used.iter().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let commands: BTreeSet<_> = root.get_subcommands().map(Command::get_name).collect();
    assert!(commands.is_superset(&BTreeSet::from(["serve", "migrate"])));
}

/// The number that follows these words.
fn number_after(text: &str, words: &str) -> u64 {
    let rest = text.split_once(words).expect(words).1.trim_start_matches([' ', '"', '\n']);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect(words)
}

#[test]
fn a_server_that_is_told_to_stop_is_given_the_time_that_it_takes() {
    let deployment = read("kubernetes/deployment.yaml");
    let drain = number_after(&read("kubernetes/configmap.yaml"), "STOCKROOM_DRAIN_SECONDS:");
    let before = number_after(&deployment, "sleep:\n                seconds:");
    let grace = number_after(&deployment, "terminationGracePeriodSeconds:");
    assert!(grace >= before + drain + AFTER_DRAIN_S, "{grace} s for {before} s and {drain} s");
    let compose = read("compose/compose.yml");
    let drain = number_after(&compose, "STOCKROOM_DRAIN_SECONDS:");
    assert!(number_after(&compose, "stop_grace_period:") >= drain + AFTER_DRAIN_S);
}

#[test]
fn containers_run_without_privileges() {
    let container = read("container/Containerfile");
    let instructions = container.lines().filter(|line| !line.starts_with('#'));
    let of = |name: &str| -> Vec<&str> {
        instructions.clone().filter_map(|line| line.strip_prefix(name)).collect()
    };
    assert_eq!(of("USER "), ["65532:65532"]);
    assert_eq!(of("ENTRYPOINT "), [r#"["/usr/local/bin/stockroom"]"#]);
    let from = of("FROM ");
    assert_eq!(from.len(), 2);
    assert!(from.iter().all(|image| image.contains(':') && !image.contains(":latest")));
    for file in ["kubernetes/deployment.yaml", "kubernetes/migrate.yaml"] {
        let manifest = read(file);
        for must in [
            "runAsNonRoot: true",
            "readOnlyRootFilesystem: true",
            "allowPrivilegeEscalation: false",
            "drop: [ALL]",
            "type: RuntimeDefault",
            "automountServiceAccountToken: false",
        ] {
            assert!(manifest.contains(must), "{file} does not say {must}");
        }
    }
}

#[test]
fn what_compose_needs_is_made_once() {
    let secrets = tempfile::tempdir().unwrap();
    let prepare = || {
        let output = Program::new(folder().join("compose/prepare.sh")).arg(secrets.path()).output();
        let output = output.unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        fs::read_to_string(secrets.path().join("redis_url")).unwrap()
    };
    let redis_url = prepare();
    assert!(redis_url.starts_with("rediss://stockroom:") && redis_url.ends_with("@redis:6379/"));
    let users = fs::read_to_string(secrets.path().join("users.acl")).unwrap();
    assert!(!users.contains("SHA256_OF") && users.lines().count() == 3);
    let compose = read("compose/compose.yml");
    for file in compose.lines().filter_map(|line| line.trim().strip_prefix("file: ./secrets/")) {
        let path = secrets.path().join(file);
        assert!(fs::metadata(&path).is_ok_and(|file| file.len() > 0), "{file}");
        if let Some(name) = file.strip_suffix(".crt") {
            let mut verify = Program::new("openssl");
            verify.args(["verify", "-CAfile", "authority.pem", "-verify_hostname", name, file]);
            let verified = verify.current_dir(secrets.path()).output().unwrap();
            assert!(verified.status.success(), "{verified:?}");
        }
    }
    assert_eq!(prepare(), redis_url, "what is there is kept");
}
