//! Deploys by a command: its input, its recorded output, and its end.

use std::{fs, time::Duration};

use countersign::{
    protocol::{Act, Flow, Member, StepAction, Timestamp, Via},
    service::{Deployer, Launch},
    store::{DeployLog, MemoryStore, Operations, StackStatus},
};
use countersign_gate::{
    http::Metrics,
    instance::{
        Instance, Parts,
        deploy::{CommandLine, DeployMethod, User},
        system_clock::Secret,
    },
};
use countersign_testkit::Peek;
use serde_json::{Value, json};

use crate::platform::{PATIENCE, Platform, REQUESTER, fifo, shell, until};

async fn only_log(platform: &Platform, launch: Launch) -> DeployLog {
    let mut logs = platform.store.deploy_logs(launch.approval).await.expect("it answers");
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

async fn run(platform: &Platform, command: CommandLine) -> (StackStatus, DeployLog) {
    let instance = Instance::start(platform.parts(DeployMethod::Command(command)));
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    let status = platform.settled().await;
    instance.stop().await;
    (status, only_log(platform, launch).await)
}

async fn run_script(script: &str) -> (StackStatus, DeployLog) {
    let platform = Platform::new();
    let command = shell(script, platform.folder.path());
    run(&platform, command).await
}

#[tokio::test]
async fn a_command_receives_the_plan_and_none_of_the_servers_variables() {
    let platform = Platform::new();
    let instance = platform.with_script("cat > plan && env > environment");
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    assert_eq!(platform.settled().await, StackStatus::Healthy);
    instance.stop().await;
    let plan: Value =
        serde_json::from_slice(&fs::read(platform.path("plan")).expect("a file")).expect("JSON");
    assert_eq!((&plan["approval_id"], &plan["key"]), (&json!(launch.approval), &json!(launch.approval)));
    assert_eq!(
        (&plan["kind"], &plan["from"], &plan["to"]),
        (&json!("stack"), &json!("staging"), &json!("production"))
    );
    assert_eq!(plan["requested_by"], REQUESTER);
    assert_eq!(plan["target"], json!({ "id": launch.target, "name": null, "env": "production" }));
    let web = json!({ "name": "web", "image_ref": "shop:1", "port": 80, "expose": true });
    assert_eq!(plan["services"], json!([web]));
    let digest = plan["digest"].as_str().expect("text");
    assert!(digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digest}");
    let environment = fs::read_to_string(platform.path("environment")).expect("text");
    let mut own: Vec<&str> = environment.lines().filter(|line| line.starts_with("COUNTERSIGN_")).collect();
    own.sort_unstable();
    let approval = format!("COUNTERSIGN_APPROVAL_ID={}", launch.approval);
    assert_eq!((own, &plan["fence"]), (vec![&*approval, "COUNTERSIGN_FENCE=1"], &json!(1)));
}

#[tokio::test]
async fn output_stays_in_its_order_and_the_exit_code_is_kept() {
    let (status, log) = run_script("echo one; echo two >&2; echo three; exit 3").await;
    assert_eq!((status, log.exit_code, &*log.output), (StackStatus::Failed, Some(3), "one\ntwo\nthree\n"));
}

#[tokio::test]
async fn of_much_output_the_last_is_kept() {
    let (status, log) = run_script("yes | head -c 3000000; echo the end").await;
    assert_eq!((status, log.output.len()), (StackStatus::Healthy, 64 * 1024));
    assert!(log.output.ends_with("y\nthe end\n"));
}

#[tokio::test]
async fn each_secret_is_removed_from_the_output_also_where_what_is_kept_begins_within_it() {
    const SECRETS: [&str; 2] = ["the secret that signs, and is long", "the secret that it has replaced"];
    // The beginning is dropped when the last byte comes, and what is kept begins within a secret.
    const DROPPED_AT: usize = 2 * 64 * 1024 + 1;
    let begins_at = DROPPED_AT - 64 * 1024;
    for secret in SECRETS {
        let before = begins_at - secret.len() / 2;
        let after = DROPPED_AT - before - secret.len();
        let script = format!("yes | head -c {before}; printf '%s' '{secret}'; yes | head -c {after}");
        let platform = Platform::new();
        let command = CommandLine {
            secrets: SECRETS.map(|secret| Secret::new(secret.as_bytes())).into(),
            ..shell(&script, platform.folder.path())
        };
        let (_, log) = run(&platform, command).await;
        assert!(!log.output.contains(&secret[secret.len() / 2..]), "{}", &log.output[..100]);
        assert!(log.output.ends_with(['y', '\n']) && log.output.contains("[secret]"));
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_not_launched_and_runs_when_it_can_be() {
    // A missing program (ENOENT), and one that is being written (ETXTBSY).
    for is_being_written in [false, true] {
        let platform = Platform::new();
        let program = platform.path("deploy");
        let writing = is_being_written.then(|| {
            fs::copy("/bin/true", &program).expect("there is one");
            fs::File::options().append(true).open(&program).expect("it is there")
        });
        let command = CommandLine { argv: vec![program.clone()], ..shell("", platform.folder.path()) };
        let metrics = Metrics::new();
        let parts = platform.parts(DeployMethod::Command(command));
        let instance = Instance::start(Parts { metrics: metrics.clone(), ..parts });
        let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
        let waits = || metrics.text().contains("\ndeploys_not_started 1\n").then_some(());
        until(waits).await;
        assert_eq!(platform.target(), Some(StackStatus::Building));
        assert_eq!(platform.store.deploy_logs(launch.approval).await, Ok(vec![]));
        if writing.is_none() {
            fs::copy("/bin/true", &program).expect("there is one");
        }
        drop(writing);
        assert_eq!(platform.settled().await, StackStatus::Healthy);
        assert_eq!(only_log(&platform, launch).await.exit_code, Some(0));
        assert!(metrics.text().contains("\ndeploys_not_started 0\n"));
        instance.stop().await;
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_given_up_by_an_operator_alone() {
    let platform = Platform::new();
    let command =
        CommandLine { argv: vec!["/nowhere/at/all".to_owned()], ..shell("", platform.folder.path()) };
    let instance = Instance::start(platform.parts(DeployMethod::Command(command)));
    let approval = platform.promoted(&Flow::atomic_commit(), &instance).await.approval;
    // As the endpoint writes it.
    let output = "given up by admin@example.com".to_owned();
    let log = DeployLog { approval, ended_at: Timestamp(1), exit_code: None, output };
    platform.store.log_deploy(log).await.expect("it answers");
    assert_eq!(platform.settled().await, StackStatus::Failed);
    instance.stop().await;
}

#[tokio::test]
async fn a_command_that_does_not_read_its_plan_is_no_failure() {
    let (status, _) = run_script("exec 0<&-; exit 0").await;
    assert_eq!(status, StackStatus::Healthy);
}

#[tokio::test]
async fn after_its_timeout_nothing_of_a_command_is_left() {
    let platform = Platform::new();
    let held = fifo(&platform, "held");
    // A child process holds the pipe, and both ignore SIGTERM.
    let script = "trap '' TERM; echo begun; sleep 3600 3> held & wait; sleep 3600";
    let command = CommandLine {
        timeout: Duration::from_millis(300),
        time_to_clean_up: Duration::from_millis(50),
        ..shell(script, platform.folder.path())
    };
    // Read to its end: that is when the last one has closed it.
    let all_gone = tokio::task::spawn_blocking(move || fs::read(held));
    let (status, log) = run(&platform, command).await;
    assert_eq!((status, log.exit_code), (StackStatus::Failed, None));
    assert_eq!(log.output, "begun\n\nended after its timeout\n");
    assert_eq!(all_gone.await.expect("it ends").expect("it can be read"), b"");
}

#[tokio::test]
async fn a_repeat_while_it_runs_is_the_same_deploy() {
    let platform = Platform::new();
    let gate = fifo(&platform, "gate");
    let instance = platform.with_script("echo run >> runs; cat gate");
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    instance.deployer.launch(&launch).await;
    instance.deployer.launch(&launch).await;
    // Opening it waits until the command has.
    tokio::task::spawn_blocking(move || fs::write(gate, "")).await.expect("it ends").expect("it is there");
    assert_eq!(platform.settled().await, StackStatus::Healthy);
    instance.deployer.launch(&launch).await;
    assert_eq!(instance.deployer.outcome(&launch, 1).await, Some(StackStatus::Healthy));
    instance.stop().await;
    assert_eq!(fs::read_to_string(platform.path("runs")).expect("text"), "run\n");
}

#[tokio::test]
async fn a_deploy_with_a_recorded_end_is_not_repeated_after_a_crash() {
    let platform = Platform::new();
    let instance = platform.with_script("echo run >> runs");
    let ask = platform.approved().await;
    let approval = ask.approval;
    // As left by an instance that crashed before it finished the job.
    let output = "it was long".to_owned();
    let log = DeployLog { approval, ended_at: Timestamp(1), exit_code: Some(9), output };
    platform.store.log_deploy(log).await.expect("it answers");
    let digest = platform.store.digest(&ask).expect("the team is there");
    let launch = Launch { approval, key: Some(approval), digest, target: None, fence: 1 };
    instance.deployer.launch(&launch).await;
    let patience = u64::try_from(PATIENCE.as_millis()).expect("it fits");
    assert_eq!(instance.deployer.outcome(&launch, patience).await, Some(StackStatus::Failed));
    instance.stop().await;
    assert!(!fs::exists(platform.path("runs")).expect("the folder"));
}

#[tokio::test]
async fn a_command_is_ended_when_its_instance_stops_and_run_again_by_the_next() {
    let platform = Platform::new();
    let begun = fifo(&platform, "begun");
    let instance = platform.with_script("echo run >> runs; echo > begun; sleep 3600");
    let launch = platform.promoted(&Flow::atomic_commit(), &instance).await;
    tokio::task::spawn_blocking(move || fs::read(begun)).await.expect("it ends").expect("it is there");
    instance.stop().await;
    assert_eq!(platform.store.deploy_logs(launch.approval).await, Ok(vec![]));
    let next = platform.with_script("echo run >> runs");
    assert_eq!(platform.settled().await, StackStatus::Healthy);
    next.stop().await;
    assert_eq!(fs::read_to_string(platform.path("runs")).expect("text"), "run\nrun\n");
}

#[tokio::test]
async fn a_command_that_is_ended_may_clean_up() {
    let platform = Platform::new();
    let begun = fifo(&platform, "begun");
    let script = "trap 'echo done > cleaned; exit 0' TERM; echo > begun; sleep 3600 & wait";
    let command =
        CommandLine { time_to_clean_up: Duration::from_secs(20), ..shell(script, platform.folder.path()) };
    let instance = Instance::start(platform.parts(DeployMethod::Command(command)));
    platform.promoted(&Flow::atomic_commit(), &instance).await;
    tokio::task::spawn_blocking(move || fs::read(begun)).await.expect("it ends").expect("it is there");
    instance.stop().await;
    assert_eq!(fs::read_to_string(platform.path("cleaned")).ok().as_deref(), Some("done\n"));
}

/// Only root may run it as another user. Elsewhere it does not run at all: never as the server's own user.
#[tokio::test]
async fn a_command_runs_as_its_user_or_not_at_all() {
    const NOBODY: User = User { uid: 65_534, gid: 65_533 };
    let platform = Platform::new();
    // Not in the folder, which is its owner's alone.
    let argv = ["/bin/sh", "-c", "id -u; id -g; id -G; echo $HOME"].map(str::to_owned).into();
    let command = CommandLine { argv, user: Some(NOBODY), ..shell("", platform.folder.path()) };
    if rustix::process::geteuid().is_root() {
        let (status, log) = run(&platform, command).await;
        assert_eq!((status, &*log.output), (StackStatus::Healthy, "65534\n65533\n65533\n/\n"));
        return;
    }
    let metrics = Metrics::new();
    let parts = platform.parts(DeployMethod::Command(command));
    let instance = Instance::start(Parts { metrics: metrics.clone(), ..parts });
    platform.promoted(&Flow::atomic_commit(), &instance).await;
    until(|| metrics.text().contains("\ndeploys_not_started 1\n").then_some(())).await;
    instance.stop().await;
    assert!(metrics.text().contains("\nlaunches_total 0\n"));
}

/// The order of the merged fix, which launches from the process and without a key.
fn consume_last() -> Flow {
    let mut steps = Flow::atomic_commit().steps().to_vec();
    steps.retain(|step| !matches!(step.action, StepAction::Recall { .. }));
    let Some(StepAction::Atomic(members)) = steps.last_mut().map(|step| &mut step.action) else {
        panic!("its last step is the commit")
    };
    members.retain(|member| !matches!(member, Member::Act(_) | Member::Remember));
    steps.push(StepAction::Act(Act::new(Via::Memory)).into());
    Flow::of_steps(steps).expect("a flow")
}

async fn launch_of(platform: &Platform, instance: &Instance<MemoryStore>) -> Launch {
    platform.promoted(&consume_last(), instance).await
}

#[tokio::test]
async fn a_launch_without_a_key_runs_immediately_and_settles_its_target() {
    let platform = Platform::new();
    let instance = platform.with_script("cat > plan; exit 1");
    let launch = launch_of(&platform, &instance).await;
    assert_eq!(platform.settled().await, StackStatus::Failed);
    instance.stop().await;
    assert_eq!(only_log(&platform, launch).await.exit_code, Some(1));
    let plan: Value =
        serde_json::from_slice(&fs::read(platform.path("plan")).expect("a file")).expect("JSON");
    assert_eq!(plan["key"], Value::Null);
}

#[tokio::test]
async fn launches_without_a_key_are_deploys_of_their_own() {
    let platform = Platform::new();
    let instance = platform.with_script("echo run >> runs");
    let launch = Launch { key: None, ..launch_of(&platform, &instance).await };
    instance.deployer.launch(&launch).await;
    assert!(instance.deployer.quiet_within(PATIENCE).await);
    instance.stop().await;
    assert_eq!(fs::read_to_string(platform.path("runs")).expect("text"), "run\nrun\n");
}
