//! Where the programs of PostgreSQL and Redis are on this system.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::error::EmbeddedError;

/// Folders in which distributions keep several versions of PostgreSQL side by side: parent, what
/// the name of a version's folder begins with, and the folder of the programs in it.
const POSTGRES_VERSIONS: [(&str, &str, &str); 9] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/lib64", "postgresql", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/local", "pgsql", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Folders that are searched although PATH may lack them, as it does for services.
const USUAL: [&str; 6] =
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/opt/homebrew/bin"];

/// What installs both products, by the `ID` or `ID_LIKE` of the system.
const ADVICE: [(&str, &str); 7] = [
    ("debian", "apt-get install postgresql redis-server"),
    ("ubuntu", "apt-get install postgresql redis-server"),
    ("fedora", "dnf install postgresql-server redis"),
    ("rhel", "dnf install postgresql-server redis"),
    ("alpine", "apk add postgresql redis"),
    ("arch", "pacman -S postgresql redis"),
    ("suse", "zypper install postgresql-server redis"),
];

/// The programs of one installation of PostgreSQL.
#[derive(Clone, Debug)]
pub(super) struct PostgresPrograms {
    pub(super) initdb: PathBuf,
    pub(super) pg_ctl: PathBuf,
    pub(super) postgres: PathBuf,
}

impl PostgresPrograms {
    /// The first installation found; with `version` (of a cluster that is there) the first one of
    /// that major version. `data` is named in the error.
    pub(super) fn find(
        version: Option<&str>,
        data: &Path,
    ) -> Result<PostgresPrograms, EmbeddedError> {
        let mut installed = postgres_folders().into_iter().filter_map(|f| Self::in_folder(&f));
        match version {
            None => installed.next().ok_or_else(|| not_installed("PostgreSQL", "DATABASE_URL")),
            Some(wanted) => {
                let mut installed = installed.peekable();
                if installed.peek().is_none() {
                    return Err(not_installed("PostgreSQL", "DATABASE_URL"));
                }
                let found =
                    installed.find(|programs| programs.version().as_deref() == Some(wanted));
                found.ok_or_else(|| EmbeddedError::WrongVersion {
                    data: data.to_owned(),
                    version: wanted.to_owned(),
                })
            }
        }
    }

    /// All three, at the place they really are: PostgreSQL finds its other files from there.
    fn in_folder(folder: &Path) -> Option<PostgresPrograms> {
        let program = |name| fs::canonicalize(folder.join(name)).ok().filter(|p| is_program(p));
        Some(PostgresPrograms {
            initdb: program("initdb")?,
            pg_ctl: program("pg_ctl")?,
            postgres: program("postgres")?,
        })
    }

    /// The major version, as in a cluster's `PG_VERSION`.
    fn version(&self) -> Option<String> {
        let command = Command::new(&self.postgres).arg("--version").stdin(Stdio::null()).output();
        let output = String::from_utf8(command.ok()?.stdout).ok()?;
        let number = output.split_whitespace().nth(2)?;
        Some(number.chars().take_while(char::is_ascii_digit).collect())
    }
}

/// The server of Redis, or of Valkey, which is the same thing for our purposes.
pub(super) fn redis_server() -> Result<PathBuf, EmbeddedError> {
    let folders = [path(), USUAL.iter().map(PathBuf::from).collect()].concat();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| is_program(program))
        .ok_or_else(|| not_installed("Redis", "REDIS_URL"))
}

/// In order of preference: what the user put on PATH, then the newest version.
fn postgres_folders() -> Vec<PathBuf> {
    let mut folders = path();
    for (parent, prefix, programs) in POSTGRES_VERSIONS {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let digits: String =
                    name.strip_prefix(prefix)?.chars().filter(char::is_ascii_digit).collect();
                Some((digits.parse().unwrap_or(0), entry.path().join(programs)))
            })
            .collect();
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        folders.extend(versions.into_iter().map(|(_, folder)| folder));
    }
    folders.extend(USUAL.iter().map(PathBuf::from));
    folders
}

#[expect(clippy::disallowed_methods, reason = "PATH is no setting of ours: it finds programs")]
fn path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // A relative entry would depend on the folder in which somebody starts the server.
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn not_installed(product: &'static str, variable: &'static str) -> EmbeddedError {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    EmbeddedError::NotInstalled { product, advice: advice(&release), variable }
}

/// What to type on a system that describes itself so in `/etc/os-release`.
fn advice(release: &str) -> String {
    if cfg!(target_os = "macos") {
        return "run 'brew install postgresql redis'".to_owned();
    }
    let names: Vec<&str> = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split_whitespace())
        .collect();
    let known = ADVICE.iter().find(|(system, _)| names.iter().any(|name| name.contains(system)));
    known.map_or_else(
        || "install the servers of PostgreSQL (initdb, pg_ctl, postgres) and Redis".to_owned(),
        |(_, command)| format!("run '{command}'"),
    )
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn advice_follows_the_system() {
        assert!(advice("NAME=x\nID=debian\n").contains("apt-get install postgresql redis-server"));
        assert!(advice("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n").contains("apt-get"));
        assert!(advice("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n").contains("dnf"));
        assert!(advice("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n").contains("zypper"));
        assert!(advice("").contains("initdb"));
    }
}
