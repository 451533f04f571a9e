//! Location of PostgreSQL's programs, and the user that runs them.

use std::{
    fmt, fs, io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

/// Database user of the tests.
pub(crate) const SUPERUSER: &str = "countersign";

const INITDB: &str = "initdb";

/// The programs of one PostgreSQL.
#[derive(Clone, Debug)]
pub struct Installation {
    programs: PathBuf,
    version: u32,
}

/// PostgreSQL is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotInstalled;

impl fmt::Display for NotInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgreSQL's initdb is neither in the PATH nor where pg_config or Debian have it")
    }
}

impl std::error::Error for NotInstalled {}

impl Installation {
    /// The installation in the `PATH`, or that of `pg_config`, or Debian's latest.
    ///
    /// # Errors
    /// [`NotInstalled`].
    pub fn find() -> Result<Self, NotInstalled> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut debian: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
        debian.sort_by_key(|programs| std::cmp::Reverse(version_of(programs)));
        std::env::split_paths(&path)
            .chain(pg_config())
            .chain(debian)
            .find_map(|programs| {
                let version = version_of(&programs)?;
                // In a PATH there may be a link to one program without the others.
                let programs = programs.join(INITDB).canonicalize().ok()?.parent()?.to_owned();
                Some(Self { programs, version })
            })
            .ok_or(NotInstalled)
    }

    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Its major version.
    pub fn version(&self) -> u32 {
        self.version
    }
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let programs = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(programs.trim()))
}

/// The major version of the `initdb` in this directory, if there is one.
fn version_of(programs: &Path) -> Option<u32> {
    let output = Command::new(programs.join(INITDB)).arg("--version").output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    // initdb (PostgreSQL) 15.9 (Debian 15.9-0+deb12u1)
    let version =
        said.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    version.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

/// Another user than that of the tests.
pub(crate) struct User {
    pub(crate) id: u32,
    pub(crate) group: u32,
}

impl User {
    /// PostgreSQL refuses to run as root: then the user is `postgres`, or else the system's unprivileged user.
    pub(crate) fn to_run_as(own_directory: &Path) -> io::Result<Option<Self>> {
        const ROOT: u32 = 0;
        if fs::metadata(own_directory)?.uid() != ROOT {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let found = ["postgres", "nobody"].into_iter().find_map(|wanted| {
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                let is_it = fields.next()? == wanted;
                let (id, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
                is_it.then_some(Self { id, group })
            })
        });
        found.map(Some).ok_or_else(|| {
            io::Error::other("PostgreSQL cannot run as root, and there is no other user for it")
        })
    }

    /// Has the command run as this user, if there is one.
    pub(crate) fn become_by(command: &mut Command, user: Option<&Self>) {
        if let Some(user) = user {
            command.uid(user.id).gid(user.group);
        }
    }
}
