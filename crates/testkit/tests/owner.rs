//! The cluster is gone with its owner, however that ends: this program runs itself as an owner, and ends it.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use countersign_testkit::{Cluster, Failed, Fsync, Installation, may_be_skipped};
use libtest_mimic::{Arguments, Completion, Failed as TestFailed, Trial};

/// The variable that makes this program an owner.
const OWNER: &str = "COUNTERSIGN_TEST_CLUSTER_OWNER";

type Case = fn() -> Result<(), TestFailed>;

fn main() -> Result<(), Failed> {
    if env::var_os(OWNER).is_some() {
        return own();
    }
    let cases: [(&str, Case); 3] = [
        ("a_killed_owner_leaves_nothing", a_killed_owner_leaves_nothing),
        ("an_owner_that_returns_leaves_nothing", an_owner_that_returns_leaves_nothing),
        ("a_server_can_be_stopped_and_started_again", a_server_can_be_stopped_and_started_again),
    ];
    let trial = |(name, case): (&str, Case)| {
        Trial::ignorable_test(name, move || match Installation::find() {
            Ok(_) => case().map(|()| Completion::Completed),
            Err(missing) => {
                may_be_skipped(&missing).map(|()| Completion::ignored_with(missing)).map_err(Into::into)
            }
        })
    };
    libtest_mimic::run(&Arguments::from_args(), cases.into_iter().map(trial).collect()).exit();
}

/// Prints its cluster's location, and keeps it until its standard output is closed.
fn own() -> Result<(), Failed> {
    let cluster = Cluster::start(Fsync::Off)?;
    println!("{}", cluster.socket_directory().display());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Another process with a cluster, and where that is.
fn owner() -> io::Result<(Child, PathBuf)> {
    let mut owner = Command::new(env::current_exe()?)
        .env(OWNER, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(said) = owner.stdout.as_mut() {
        BufReader::new(said).read_line(&mut line)?;
    }
    Ok((owner, PathBuf::from(line.trim())))
}

/// Waits until the owner and its supervisor have closed the owner's standard error.
fn all_over(mut owner: Child) -> io::Result<()> {
    if let Some(mut errors) = owner.stderr.take() {
        errors.read_to_end(&mut Vec::new())?;
    }
    owner.wait().map(|_| ())
}

fn socket(directory: &Path) -> PathBuf {
    directory.join(".s.PGSQL.5432")
}

fn a_killed_owner_leaves_nothing() -> Result<(), TestFailed> {
    let (mut owner, directory) = owner()?;
    assert!(socket(&directory).exists(), "it runs");
    owner.kill()?;
    all_over(owner)?;
    assert!(!directory.exists());
    Ok(())
}

fn an_owner_that_returns_leaves_nothing() -> Result<(), TestFailed> {
    let (mut owner, directory) = owner()?;
    assert!(socket(&directory).exists(), "it runs");
    drop(owner.stdin.take());
    all_over(owner)?;
    assert!(!directory.exists());
    Ok(())
}

fn a_server_can_be_stopped_and_started_again() -> Result<(), TestFailed> {
    let cluster = Cluster::start(Fsync::On)?;
    let directory = cluster.socket_directory().to_owned();
    for stop in [Cluster::stop, Cluster::kill] {
        stop(&cluster)?;
        assert!(!directory.join("data/postmaster.pid").exists(), "it is stopped");
        cluster.start_again()?;
        assert!(fs::exists(socket(&directory))?);
    }
    let error = cluster.start_again().err().ok_or("it runs already")?;
    assert!(error.to_string().contains("pg_ctl start"), "{error}");
    Ok(())
}
