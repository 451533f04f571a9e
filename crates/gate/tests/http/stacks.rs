//! Stacks, vaults and probes: created, looked at, changed.

use std::{sync::Arc, time::Duration};

use countersign_gate::instance::health::Health;
use countersign_testkit::{Peek, Seed};
use serde_json::json;

use crate::{
    gate::{Call, DESCRIPTION, Gate, TEAM, dev, environment, id_in},
    log,
};

#[tokio::test]
async fn a_stack_is_created_shown_and_changed_and_its_variables_are_not_shown() {
    let gate = Gate::new();
    let body = json!({
        "name": "Web Shop", "env": "development", "env_vars": {"PASSWORD": "hunter2"},
        "services": [{"name": "web", "image_ref": "web:1", "port": 80, "expose": true}, {"name": "job"}],
    });
    let created = gate.send(Call::new("POST", "/api/v1/stacks").by(&dev()).json(&body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let slug = created.json()["slug"].as_str().expect("a slug").to_owned();
    assert!(slug.starts_with("web-shop-"));
    let path = format!("/api/v1/stacks/{slug}");
    let shown = gate.get(&path, &dev()).await;
    assert_eq!(shown.json(), created.json());
    assert_eq!(
        shown.json()["services"],
        json!([
            {"name": "web", "image_ref": "web:1", "port": 80, "expose": true, "status": "healthy"},
            {"name": "job", "image_ref": null, "port": null, "expose": false, "status": "healthy"},
        ])
    );
    let build =
        Call::new("PATCH", &format!("{path}/services/job")).by(&dev()).json(&json!({"image_ref": "job:1"}));
    let built = gate.send(build).await;
    assert_eq!((built.status.as_u16(), &built.json()["image_ref"]), (200, &json!("job:1")));
    let env =
        Call::new("PATCH", &format!("{path}/env")).by(&dev()).json(&json!({"PASSWORD": null, "A": "b"}));
    assert_eq!(gate.send(env).await.json(), json!({"ok": true}));
    let stacks = gate.store.stacks(TEAM);
    let stack = stacks.last().expect("it was created");
    assert_eq!(stack.env_vars, [("A".to_owned(), "b".to_owned())].into());
    assert!(!shown.text.contains("hunter2"));
}

#[tokio::test]
async fn a_family_is_what_was_promoted_from_one_stack() {
    let gate = Gate::new();
    let approval = gate.approved().await;
    let promoted = gate.send(gate.promote(Some(approval))).await;
    let family = gate.get(&format!("/api/v1/stacks/{}/family", gate.slug), &dev()).await.json();
    assert_eq!(family["root_id"], json!(gate.source));
    let members: Vec<_> =
        family["items"].as_array().expect("a list").iter().map(|item| &item["id"]).collect();
    assert_eq!(members, [&json!(gate.source), &promoted.json()["stack_id"]]);
}

#[tokio::test]
async fn vault_keys_that_were_copied_are_named() {
    let gate = Gate::new();
    gate.store.seed_vault(TEAM, environment("staging"), "DB_PASSWORD", "hunter2");
    let body = |extra: &str| {
        let body = format!("{{\"to\": \"production\", \"copy_vault\": true{extra}}}");
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
    };
    let ask = Call::new("POST", &gate.promote_path()).by(&dev()).json(&body(""));
    let approval = id_in(&gate.send(ask).await, "approval_id");
    gate.decide(approval, "approve").await;
    let with = body(&format!(", \"approval_id\": \"{approval}\""));
    let promoted = gate.send(Call::new("POST", &gate.promote_path()).by(&dev()).json(&with)).await;
    assert_eq!(promoted.json()["vault_keys_copied"], json!(["DB_PASSWORD"]), "{}", promoted.text);
    assert_eq!(gate.approval(approval).await["outcome"]["vault_keys_copied"], json!(["DB_PASSWORD"]));
    assert_eq!(gate.store.vault(TEAM, &environment("production"), "DB_PASSWORD").as_deref(), Some("hunter2"));
    assert!(!promoted.text.contains("hunter2"));
}

#[tokio::test]
async fn a_new_stack_that_passes_the_cap_is_402() {
    let gate = Gate::with(|parts| {
        parts.tenants = std::sync::Arc::new(|_: uuid::Uuid, _: Option<countersign::store::Plan>| {
            countersign::store::Team { plan: countersign::store::Plan::Pro, deployment_cap: 1 }
        });
    });
    let body = json!({"name": "a", "env": "development", "services": []});
    let answer = gate.send(Call::new("POST", "/api/v1/stacks").by(&dev()).json(&body)).await;
    assert_eq!(answer.problem(), (402, "deployment_limit_reached".to_owned()));
}

#[tokio::test]
async fn an_instance_says_that_it_lives_and_until_it_shuts_down_that_it_is_ready() {
    let gate = Gate::new();
    for path in ["/livez", "/readyz"] {
        assert_eq!(gate.send(Call::new("GET", path)).await.json(), json!({"ok": true}));
    }
    gate.app.begin_shutdown();
    assert_eq!(gate.send(Call::new("GET", "/livez")).await.status, 200);
    let answer = gate.send(Call::new("GET", "/readyz")).await;
    assert_eq!(answer.problem(), (503, "not_ready".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_ready_only_while_each_loop_runs_and_looks_for_work() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let gate = Gate::new();
    let health = Arc::new(Health::default());
    gate.app.ready_with(Arc::clone(&health));
    let ready = async || gate.send(Call::new("GET", "/readyz")).await.status.as_u16();
    health.expect("worker", 1, PATIENCE);
    assert_eq!(ready().await, 503, "it has not begun");
    let pulse = health.begin("worker");
    assert_eq!(ready().await, 200);
    tokio::time::advance(PATIENCE * 2).await;
    assert_eq!(ready().await, 503, "it does not look for work");
    pulse.looked(false);
    assert_eq!(ready().await, 200);
    drop(pulse);
    assert_eq!(ready().await, 503, "it has ended");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let gate = Gate::new();
    let approval = gate.approved().await;
    for _ in 0..2 {
        gate.send(gate.promote(Some(approval)).key("mine")).await;
    }
    gate.send(gate.promote(Some(approval))).await;
    let text = gate.send(Call::new("GET", "/metrics")).await.text;
    for line in [
        "approval_transitions_total{from=\"none\",to=\"pending\"} 1",
        "approval_transitions_total{from=\"pending\",to=\"approved\"} 1",
        "approval_transitions_total{from=\"approved\",to=\"executed\"} 1",
        "approval_consume_total{outcome=\"executed\"} 1",
        "approval_consume_total{outcome=\"replayed\"} 1",
        "approval_consume_total{outcome=\"approval_not_approved\"} 1",
        "http_requests_total{method=\"POST\",path=\"/approve/{token}\",status=\"303\"} 1",
        "http_requests_in_flight 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn what_is_owed_is_among_the_counters() {
    let gate = Gate::new();
    let owed = async |notices: &str, jobs: &str| {
        let text = gate.send(Call::new("GET", "/metrics")).await.text;
        for (series, value) in [("notices_owed", notices), ("launch_jobs_owed", jobs)] {
            assert!(text.contains(&format!("\n{series} {value}\n")), "{series} {value}: {text}");
        }
    };
    owed("0.0", "0.0").await;
    let approval = gate.requested().await;
    owed("1.0", "0.0").await;
    gate.decide(approval, "approve").await;
    assert_eq!(gate.send(gate.promote(Some(approval))).await.status, 202);
    owed("0.0", "1.0").await;
}

/// Failures of the server are warnings, so that a filter for them shows no failures of callers.
#[tokio::test]
async fn a_request_is_logged_as_a_warning_if_the_server_failed_and_as_information_otherwise() {
    let gate = Gate::new();
    let level_of = async |call: Call, status: u16| {
        let before = log::of_this_thread().len();
        assert_eq!(gate.send(call).await.status, status);
        let log = log::of_this_thread().split_off(before);
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(" countersign::access: ")).collect();
        let [line] = lines[..] else { panic!("one line for each request: {log}") };
        assert!(line.contains(&format!("status={status} ")), "{line}");
        line.split_whitespace().nth(1).expect("a level").to_owned()
    };
    assert_eq!(level_of(Call::new("GET", "/readyz"), 200).await, "INFO");
    assert_eq!(level_of(Call::new("GET", "/nowhere"), 404).await, "INFO");
    gate.app.begin_shutdown();
    assert_eq!(level_of(Call::new("GET", "/readyz"), 503).await, "WARN");
}

#[tokio::test]
async fn a_trace_is_taken_over_and_answered() {
    let gate = Gate::new();
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = gate.send(Call::new("GET", "/livez").header("traceparent", sent)).await;
    let answered = answer.header("traceparent").expect("a trace");
    assert!(answered.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && answered != sent, "{answered}");
    assert!(gate.send(Call::new("GET", "/livez")).await.header("traceparent").is_some());
}

#[tokio::test]
async fn the_description_is_served() {
    let gate = Gate::new();
    let served = gate.send(Call::new("GET", "/openapi.json")).await.json();
    assert_eq!(served, *DESCRIPTION);
    assert_eq!(served["openapi"], "3.1.0");
}

/// To renew it: `UPDATE_OPENAPI=1 cargo test -p countersign-gate --test http the_description_equals_the_checked_in_file`.
#[test]
fn the_description_equals_the_checked_in_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let generated = countersign_gate::http::openapi::<
        countersign::store::MemoryStore,
        countersign::service::InMemoryDeployer,
    >();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &generated).expect("it can be written");
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        generated == checked_in,
        "docs/openapi.json is not what the code says: see above this test how to renew it"
    );
}

#[test]
fn every_operation_says_what_it_may_refuse_and_who_may_call_it() {
    let paths = DESCRIPTION["paths"].as_object().expect("paths");
    let mut operations = 0;
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            operations += 1;
            let responses = operation["responses"].as_object().expect("responses");
            let place = format!("{method} {path}");
            assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{place}");
            let problems: Vec<_> = responses
                .iter()
                .filter(|(status, _)| status.starts_with(['4', '5']))
                .map(|(_, response)| &response["content"]["application/problem+json"]["schema"]["$ref"])
                .collect();
            assert!(!problems.is_empty(), "{place}");
            assert!(problems.iter().all(|schema| **schema == "#/components/schemas/Problem"), "{place}");
            assert_eq!(operation["security"].is_array(), path.starts_with("/api/"), "{place}");
            let needs_session = path.starts_with("/api/");
            assert!(responses.contains_key("401") || !needs_session, "{place}");
        }
    }
    assert_eq!(operations, 26);
    assert_eq!(DESCRIPTION["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}
