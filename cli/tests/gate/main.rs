//! The real binary as a service: killed at random moments, and treated badly.

mod client;
mod instance;
mod kill;
mod life;
mod sink;
mod stores;

use libtest_mimic::Arguments;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each starts processes and threads of its own.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, kill::trials()).exit();
}
