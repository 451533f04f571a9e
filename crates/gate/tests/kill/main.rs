//! The real binary as a service: killed at random moments, and treated badly.
//!
//! Without PostgreSQL the cases that need it are ignored, each with the reason; in CI they fail.

mod changes;
mod client;
mod fences;
mod hostile;
mod instance;
mod kill;
mod life;
mod overlap;
mod sink;
mod stores;

use std::sync::Arc;

use countersign_testkit::{Cluster, Failed, Fsync, SLOW_TIER, may_be_skipped, slow, unless};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    if !slow() {
        let kill = unless(Some(SLOW_TIER), Trial::test("kill", || Ok(())));
        libtest_mimic::run(&arguments, vec![kill]).exit();
    }
    // Each starts processes and threads of its own.
    arguments.test_threads.get_or_insert(1);
    let mut trials = kill::trials();
    trials.extend(overlap::trials());
    trials.extend(hostile::trials());
    let cluster = if arguments.list { Err("it is only listed".to_owned()) } else { start() };
    match &cluster {
        Ok(cluster) => {
            trials.extend(kill::on_postgresql(cluster));
            trials.extend(overlap::on_postgresql(cluster));
            trials.extend(hostile::on_postgresql(cluster));
        }
        Err(why) => {
            println!("PostgreSQL's cases are skipped: {why}");
            trials.push(unless(Some(why), Trial::test("postgresql", || Ok(()))));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(cluster);
    conclusion.exit();
}

fn start() -> Result<Arc<Cluster>, String> {
    match Cluster::start(Fsync::On) {
        Ok(cluster) => Ok(Arc::new(cluster)),
        Err(Failed::NotInstalled(missing)) => {
            may_be_skipped(&missing).unwrap_or_else(|failed| panic!("{failed}"));
            Err(missing.to_string())
        }
        Err(failed) => panic!("{failed}"),
    }
}
