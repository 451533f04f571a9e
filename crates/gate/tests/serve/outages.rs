//! PostgreSQL that is out for a while, or has no room, under a server that runs.

use std::{
    fs::{self, File},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{
    deploys::{runs_become, used},
    disk::compiled,
    process::{Server, Workplace, eventually, postgresql},
    promote::shop,
};

#[test]
fn a_deploy_that_ends_while_postgresql_is_out_is_written_down_afterwards() {
    goes_on_while_postgresql_is_out(true);
}

#[test]
fn a_deploy_that_outlasts_an_outage_of_postgresql_goes_on() {
    goes_on_while_postgresql_is_out(false);
}

/// PostgreSQL is stopped and started again during a deploy. Its command ends meanwhile, or after that.
fn goes_on_while_postgresql_is_out(ends_meanwhile: bool) {
    let Some(cluster) = postgresql() else { return };
    let workplace = Workplace::new();
    let script = "echo begin >> runs; until [ -e go ]; do sleep 0.05; done; rm go; echo end >> runs";
    fs::write(workplace.path("deploy"), script).expect("a file");
    // The lease has 30 s, and is renewed every three.
    let config = "[deployer]\ncommand = [\"/bin/sh\", \"deploy\"]\ntimeout = \"20s\"\n\
                  [postgres]\nstatement_timeout = \"1s\"\n";
    let between_renewals = Duration::from_secs(3);
    let config = workplace.write("gate.toml", config);
    let url = cluster.url();
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", &url, "--config", &config];
    let log = File::create(workplace.path("log")).expect("a file");
    let server = Server::start_with_log(workplace.gate(&args), log);
    let ready = |expected: u16| {
        eventually(|| (server.ask("GET", "/readyz", None, None).0 == expected).then_some(()));
    };
    let end = || {
        fs::write(workplace.path("go"), "").expect("a file");
    };
    let shop = shop(&server);
    let approval = used(&workplace, &server, &shop);
    runs_become(&workplace, "begin\n");
    cluster.stop().expect("it stops");
    ready(503);
    thread::sleep(between_renewals + Duration::from_secs(1));
    if ends_meanwhile {
        end();
        eventually(|| {
            let log = fs::read_to_string(workplace.path("log")).expect("text");
            log.contains("the end of a deploy could not be written down yet").then_some(())
        });
    }
    cluster.start_again().expect("it starts");
    ready(200);
    if !ends_meanwhile {
        end();
    }
    let outcome = eventually(|| {
        let (status, answer) = server.ask("GET", &format!("/api/v1/approvals/{approval}"), None, None);
        let outcome = &answer["outcome"];
        (status == 200 && outcome["status"] != "building").then(|| outcome.clone())
    });
    assert_eq!(outcome["status"], "healthy", "{outcome}");
    assert_eq!(outcome["deploys"].as_array().map(Vec::len), Some(1), "{outcome}");
    assert_eq!(fs::read_to_string(workplace.path("runs")).expect("text"), "begin\nend\n");
    // Its job is done: the target has the outcome, too.
    eventually(|| {
        let (_, family) = server.ask("GET", &format!("/api/v1/stacks/{shop}/family"), None, None);
        let of_target = |member: &&serde_json::Value| member["env"] == "production";
        let target = family["items"].as_array()?.iter().find(of_target)?;
        (target["status"] == json!("healthy")).then_some(())
    });
}

/// No file of the server's can grow, and the pages that earlier checks have given back are free.
#[test]
fn postgresql_without_room_is_not_ready_until_there_is_some() {
    let Some(cluster) = postgresql() else { return };
    let folder = cluster.socket_directory();
    let environment = format!("LD_PRELOAD={}\nDISK={}\n", compiled(folder).display(), folder.display());
    fs::write(folder.join("environment"), environment).expect("a file");
    cluster.stop().expect("it stops");
    cluster.start_again().expect("it starts");
    let workplace = Workplace::new();
    let server = workplace.serve(&["--store", &cluster.url()]);
    let ready = || server.ask("GET", "/readyz", None, None).0;
    for _ in 0..40 {
        assert_eq!(ready(), 200);
    }
    let mut psql = Command::new(cluster.program("psql"));
    psql.arg("--host").arg(folder).args(["--username", cluster.user(), "--dbname", "postgres"]);
    let vacuumed = psql.args(["--command", "VACUUM readiness"]).output().expect("it runs");
    assert!(vacuumed.status.success(), "{vacuumed:?}");
    let full = folder.join("full");
    fs::write(&full, "").expect("a file");
    for _ in 0..40 {
        assert_eq!(ready(), 503);
    }
    fs::remove_file(full).expect("it is there");
    eventually(|| (ready() == 200).then_some(()));
}
