//! Rows in JSON, read as the records that they stand for. It knows the schema by itself: a store that writes one thing
//! and reads another does not get away with it.

use std::str::FromStr;

use countersign::{
    platform::Environment,
    protocol::{Digest, Status, Timestamp},
    store::{AuditKind, Job, JobState, Service, Stack, StackStatus},
};
use countersign_models::replay::{About, Records};
use serde_json::Value;
use uuid::Uuid;

use crate::database::{CLOCK, Dump, TABLES};

/// One row.
struct Row(Value);

/// The rows of a table.
fn table(dump: &Dump, name: &str) -> Vec<Row> {
    let place = TABLES.iter().position(|table| *table == name).expect("a table of the schema");
    let rows: Vec<Value> = serde_json::from_str(&dump[place]).expect("an array");
    rows.into_iter().map(Row).collect()
}

impl Row {
    fn text(&self, column: &str) -> Option<&str> {
        self.0.get(column).expect("a column of the table").as_str()
    }

    fn number(&self, column: &str) -> u64 {
        self.0[column].as_u64().expect("a number")
    }

    /// An id, as PostgreSQL writes it or as bytes.
    fn id(&self, column: &str) -> Option<Uuid> {
        let text = self.text(column)?;
        Some(Uuid::from_str(text.strip_prefix("\\x").unwrap_or(text)).expect("an id"))
    }

    fn word<T: serde::de::DeserializeOwned>(&self, column: &str) -> T {
        serde_json::from_value(self.0[column].clone()).expect("a word that is known")
    }

    fn document<T: serde::de::DeserializeOwned>(&self, column: &str) -> T {
        serde_json::from_str(self.text(column).expect("a document")).expect("what is expected of it")
    }

    fn digest(&self, column: &str) -> Digest {
        let text = self.text(column).and_then(|text| text.strip_prefix("\\x")).expect("bytes in hex");
        let mut digest = [0; 32];
        for (place, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).expect("hex");
        }
        Digest(digest)
    }
}

/// The content of the tables, as edge replay compares it.
pub(crate) fn records(dump: &Dump, about: &About) -> Records {
    let clock = table(dump, CLOCK);
    let approvals = table(dump, "approvals");
    let approval = approvals
        .iter()
        .find(|row| row.id("id") == Some(about.approval) && row.id("team") == Some(about.team))
        .expect("it was requested");
    let of_approval =
        |name| table(dump, name).into_iter().filter(|row| row.id("approval") == Some(about.approval));
    let mut events: Vec<(u64, AuditKind)> = of_approval("audit")
        .map(|row| {
            let kind = AuditKind::ALL.into_iter().find(|kind| row.text("kind") == Some(kind.as_str()));
            (row.number("seq"), kind.expect("a kind that is known"))
        })
        .collect();
    events.sort_by_key(|(seq, _)| *seq);
    let mut stacks: Vec<(u64, Stack)> = table(dump, "stacks")
        .into_iter()
        .filter(|row| row.id("team") == Some(about.team))
        .map(|row| (row.number("seq"), stack(&row)))
        .collect();
    stacks.sort_by_key(|(seq, _)| *seq);
    let in_vault = |row: &Row| {
        row.id("team") == Some(about.team)
            && row.text("env") == Some(about.env.as_str())
            && row.text("key") == Some(about.key)
    };
    Records {
        now: Timestamp(clock[0].number("now_ms")),
        status: approval.word::<Status>("status"),
        expires_at: Timestamp(approval.number("expires_at")),
        events: events.into_iter().map(|(_, kind)| kind).collect(),
        stacks: stacks.into_iter().map(|(_, stack)| stack).collect(),
        vault: table(dump, "vault")
            .iter()
            .find(|row| in_vault(row))
            .and_then(|row| row.text("value").map(str::to_owned)),
        job: of_approval("jobs").next().map(|row| job(&row)),
        lease: (approval.number("lease_fence"), Timestamp(approval.number("lease_until"))),
    }
}

fn stack(row: &Row) -> Stack {
    let service = |document: Value| Service {
        name: document["name"].as_str().expect("a name").to_owned(),
        image_ref: document["image_ref"].as_str().map(str::to_owned),
        port: document["port"].as_u64().map(|port| port.try_into().expect("a port")),
        expose: document["expose"].as_bool().expect("yes or no"),
    };
    let id = row.id("id").expect("an id");
    Stack {
        id,
        name: row.text("name").expect("a name").to_owned(),
        env: Environment::parse(row.text("env").expect("a name")).expect("a legal name"),
        status: match row.text("status") {
            Some("building") => StackStatus::Building,
            Some("healthy") => StackStatus::Healthy,
            Some("failed") => StackStatus::Failed,
            other => panic!("{other:?} is no stack's status"),
        },
        parent: row.id("parent"),
        root: row.id("root").expect("an id"),
        services: row.document::<Vec<Value>>("services").into_iter().map(service).collect(),
        env_vars: row.document("env_vars"),
        version: row.number("version"),
    }
}

fn job(row: &Row) -> Job {
    Job {
        approval: row.id("approval").expect("an id"),
        digest: row.digest("digest"),
        target: row.id("target"),
        state: match row.text("state") {
            Some("ready") => JobState::Ready,
            Some("leased") => {
                JobState::Leased { fence: row.number("fence"), until: Timestamp(row.number("leased_until")) }
            }
            Some("done") => JobState::Done,
            other => panic!("{other:?} is no job's state"),
        },
    }
}
