//! What is written in a configuration reaches the settings that the server works with.

use std::{fs, num::NonZeroU32, time::Duration};

use countersign_gate::{
    http::{self, TrustedHeader},
    instance::deploy::{DeployMethod, User},
    instance::system_clock::Secret,
};

use super::Settings;
use crate::args::ServeArgs;
use countersign_terminal::BadInput;

fn settings(config: &str) -> Result<Settings, BadInput> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gate.toml");
    fs::write(&path, config).expect("a file");
    Settings::gather(&ServeArgs {
        config: Some(path),
        secret: Some(Secret::new("a secret of 32 bytes, at least..")),
        mail_dir: Some(folder.path().join("mail")),
        ..ServeArgs::default()
    })
}

fn good(config: &str) -> Settings {
    settings(config).unwrap_or_else(|problem| panic!("{config}: {problem:?}"))
}

#[test]
fn a_lease_lasts_half_as_long_again_as_a_deploy_unless_it_is_set() {
    let command = "[deployer]\ncommand = [\"/bin/sh\"]\n";
    for (config, seconds) in [
        (command.to_owned(), 1_350),
        (format!("{command}timeout = \"20m\"\n"), 1_800),
        ("[deployer]\ndry_run = \"1h\"\n".to_owned(), 5_400),
        (String::new(), 30),
        (format!("{command}[workers]\nlease = \"45s\"\n"), 45),
    ] {
        assert_eq!(good(&config).workers.lease, Duration::from_secs(seconds), "{config}");
    }
}

#[test]
fn the_command_gets_its_user_its_timeout_and_the_time_that_its_lease_leaves() {
    let of = |more: &str| match good(&format!("[deployer]\ncommand = [\"/bin/sh\"]\n{more}")).method {
        DeployMethod::Command(command) => command,
        DeployMethod::DryRun(_) => panic!("it has a command"),
    };
    let (plain, command) = (of(""), of("user = \"7:8\"\ntimeout = \"3s\"\n[workers]\nlease = \"9s\"\n"));
    assert_eq!((plain.user, command.user), (None, Some(User { uid: 7, gid: 8 })));
    assert_eq!((plain.timeout, command.timeout), (Duration::from_secs(900), Duration::from_secs(3)));
    assert_eq!(
        (plain.time_to_clean_up, command.time_to_clean_up),
        (Duration::from_secs(2), Duration::from_millis(600))
    );
}

#[test]
fn a_statement_waits_for_a_lock_as_long_as_is_set_and_never_longer_than_sqlite_can_count() {
    for (config, seconds) in [
        ("", 5),
        ("[sqlite]\nbusy_timeout = \"20s\"\n", 20),
        ("[sqlite]\nbusy_timeout = \"30d\"\n", 24 * 60 * 60),
    ] {
        assert_eq!(good(config).store.busy_timeout, Duration::from_secs(seconds), "{config}");
    }
}

#[test]
fn a_server_that_may_lose_commits_is_refused_unless_that_is_allowed() {
    for (config, refused) in [
        ("", true),
        ("[postgres]\nallow_data_loss = false\n", true),
        ("[postgres]\nallow_data_loss = true\n", false),
    ] {
        assert_eq!(good(config).store.postgres.refuse_volatile, refused, "{config}");
    }
}

#[test]
fn every_limit_of_the_server_is_the_one_that_is_set() {
    const CONFIG: &str = "
        forbid_self_approval = true
        probe_listen = \"127.0.0.1:0\"
        public_url = \"https://gate.example.com\"
        [http]
        max_body = \"1KiB\"
        body_time = \"1s\"
        header_time = \"2s\"
        write_time = \"3s\"
        request_time = \"4s\"
        key_lease = \"5s\"
        grace = \"6s\"
        max_connections = 101
        max_under_way = 102
        max_pending_approvals = 103
        page_requests_per_second = 104
        max_connections_per_address = 105
        max_requests_per_address = 106
        max_requests_per_token = 107
        trust_forwarded = true
    ";
    assert_eq!(good("").http, http::Settings::default());
    assert_eq!(
        good(CONFIG).http,
        http::Settings {
            max_body: 1024,
            body_time: Duration::from_secs(1),
            header_time: Duration::from_secs(2),
            write_time: Duration::from_secs(3),
            request_time: Duration::from_secs(4),
            key_lease: Duration::from_secs(5),
            grace: Duration::from_secs(6),
            max_connections: 101,
            max_under_way: 102,
            max_pending_approvals: 103,
            page_requests_per_second: NonZeroU32::new(104).expect("not zero"),
            max_connections_per_address: 105,
            max_requests_per_address: 106,
            max_requests_per_token: 107,
            trusted_header: Some(TrustedHeader::Forwarded),
            probes_apart: true,
            forbid_self_approval: true,
            public_origin: Some("https://gate.example.com".to_owned()),
        }
    );
}

#[test]
fn at_most_one_header_is_trusted() {
    let trusted = |config: &str| good(&format!("[http]\n{config}")).http.trusted_header;
    assert_eq!(trusted("trust_forwarded = false\ntrust_forwarded_for = false\n"), None);
    assert_eq!(trusted("trust_forwarded_for = true\n"), Some(TrustedHeader::XForwardedFor));
    assert_eq!(trusted("trust_forwarded = true\n"), Some(TrustedHeader::Forwarded));
    let both = settings("[http]\ntrust_forwarded = true\ntrust_forwarded_for = true\n");
    let Err(problem) = both else { panic!("two headers are refused") };
    assert!(format!("{problem:?}").contains("two headers to trust"), "{problem:?}");
}

#[test]
fn a_time_that_is_too_long_to_calculate_with_is_refused() {
    for config in [
        "[deployer]\ncommand = [\"/bin/sh\"]\ntimeout = \"500000000000y\"\n",
        "[http]\nrequest_time = \"500000000000y\"\n",
        "[postgres]\nstatement_timeout = \"500000000000y\"\n",
    ] {
        let Err(problem) = settings(config) else { panic!("{config} is refused") };
        assert!(format!("{problem:?}").contains("100 years"), "{problem:?}");
    }
}
