//! A log that cannot be written, or whose reader stalls, stops nothing: what is executed is launched and answered.

use std::{fs::File, io, process::Stdio, time::Duration};

use crate::{
    process::{Server, Workplace, decide, eventually},
    promote::{promote, requested, shop, target},
};

/// Longer than any answer takes: reached only if the server hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn serve(workplace: &Workplace, log: impl Into<Stdio>, filter: &str) -> Server {
    let mut command = workplace.gate(&["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:gate.db"]);
    command.env("RUST_LOG", filter);
    Server::start_with_log(command, log)
}

/// An agent that does not wait for ever.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().new_agent()
}

fn status(server: &Server, path: &str) -> Option<u16> {
    status_by(&agent(), server, path)
}

fn status_by(agent: &ureq::Agent, server: &Server, path: &str) -> Option<u16> {
    let answer = agent.get(format!("{}{path}", server.url)).call();
    answer.ok().map(|answer| answer.status().as_u16())
}

fn lost(server: &Server) -> u64 {
    let text = server.metrics();
    let line =
        text.lines().find_map(|line| line.strip_prefix("log_lines_lost_total ")).expect("it is counted");
    line.parse().expect("a number")
}

/// A promote from end to end.
fn launches(workplace: &Workplace, server: &Server) {
    assert_eq!(status(server, "/livez"), Some(200));
    let shop = shop(server);
    let approval = requested(server, &shop);
    assert_eq!(decide(&workplace.link(&approval), "approve"), 303);
    assert_eq!(promote(server, &shop, &approval, "key").0, 202);
    eventually(|| (target(server, &shop) == "healthy").then_some(()));
    assert_eq!(status(server, "/readyz"), Some(200));
}

#[test]
fn a_log_on_a_full_disk_stops_nothing_and_what_is_lost_is_counted() {
    let workplace = Workplace::new();
    let full = File::options().write(true).open("/dev/full").expect("Linux has one");
    let server = serve(&workplace, full, "info");
    launches(&workplace, &server);
    assert!(lost(&server) > 0);
}

#[test]
fn a_log_whose_reader_is_gone_stops_nothing() {
    let workplace = Workplace::new();
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let server = serve(&workplace, writer, "info");
    launches(&workplace, &server);
    assert!(lost(&server) > 0);
}

#[test]
fn a_log_whose_reader_stalls_stops_nothing() {
    let workplace = Workplace::new();
    // The reading end stays idle.
    let (_reader, writer) = io::pipe().expect("a pipe");
    let server = serve(&workplace, writer, "trace");
    // More than the pipe and the queue take.
    let agent = agent();
    for number in 0..20_000 {
        assert_eq!(status_by(&agent, &server, "/livez"), Some(200));
        if number % 500 == 0 && lost(&server) > 0 {
            break;
        }
    }
    launches(&workplace, &server);
    assert!(lost(&server) > 0);
}
