//! A throwaway PostgreSQL with a `psql` on it: gone when that ends.

use std::process::Command;

use countersign_testkit::{Cluster, Fsync};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::start(Fsync::On)?;
    eprintln!("PostgreSQL {} at {}", cluster.version(), cluster.url());
    Command::new(cluster.program("psql")).arg(cluster.url()).args(std::env::args_os().skip(1)).status()?;
    Ok(())
}
