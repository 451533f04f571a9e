//! Histories of a running service: requests, times and outcomes, as NDJSON with the keys of Jepsen.

pub mod judge;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The caller, from 0; `-1` is the harness itself.
    pub process: i64,
    /// Begin or end.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The action.
    pub f: Action,
    /// To which object, and with which result.
    pub value: Details,
    /// Nanoseconds since the run began.
    pub time: u64,
}

/// The harness as a process.
pub const HARNESS: i64 = -1;

/// Begin or end of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The invocation.
    Invoke,
    /// Completed.
    Ok,
    /// Refused, or never sent.
    Fail,
    /// Unknown outcome.
    Info,
}

/// The actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The requirements on every object.
    Promise,
    /// Make an object.
    Arrange,
    /// An approver says yes.
    Approve,
    /// Reject or revoke.
    Reject,
    /// Expire.
    Expire,
    /// Change the payload.
    Drift,
    /// Make a check refuse.
    Spoil,
    /// Repair it.
    Mend,
    /// Use the object.
    Use,
    /// Open a safe link.
    Open,
    /// Read the state of the object.
    Observe,
    /// Count the effects.
    Effects,
    /// Read what the effect was made with.
    Payload,
    /// Count the events.
    Audit,
    /// Count the targets.
    Targets,
    /// Read what a refusal leaves unchanged.
    Trace,
    /// Read whether the targets have settled.
    Settled,
    /// Kill the service.
    Crash,
    /// Start it again.
    Restart,
    /// Hold a request before one of its statements, for longer than a lease lasts.
    Stall,
}

impl Action {
    /// Its name in a history.
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// The object of an operation, and its result. What does not apply is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The object. Empty for the whole run.
    pub object: String,
    /// `POST /redeem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Reason for a missing answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A number that stands for the idempotency key: equal for equal keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<u64>,
    /// The person: `approver-1`, `requester`, `other_tenant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The value of a read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Value>,
    /// The value after an undisturbed use, for `payload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Value>,
    /// The promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// The use had written nothing before this time: its statements were held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrote_after_ns: Option<u64>,
    /// The statements that the request led to, where the database was followed, each with its place in the schedule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sql: Vec<(usize, String)>,
}

/// Requirements on an object: those keys of `[object]` in a flow file that can be judged on a running service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Name of the object in messages.
    pub noun: String,
    /// Number of permitted uses.
    pub uses: u64,
    /// Number of different people who have to approve.
    pub approvers: u64,
    /// A refused attempt uses it up.
    pub burn: bool,
    /// The answers that a use may give a loser. Empty: any 4xx.
    pub conflict: Vec<u16>,
}

impl Default for Promise {
    fn default() -> Self {
        Self { noun: "object".into(), uses: 1, approvers: 1, burn: false, conflict: Vec::new() }
    }
}

/// An operation: its begin and its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The caller.
    pub process: i64,
    /// The action.
    pub f: Action,
    /// Outcome; [`Kind::Info`] if it never ended.
    pub kind: Kind,
    /// When it began.
    pub invoked_ns: u64,
    /// When it ended. `u64::MAX`: never.
    pub completed_ns: u64,
    /// The result.
    pub details: Details,
}

/// All that happened to one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The object.
    pub object: String,
    /// The requirements.
    pub promise: Promise,
    /// In the order in which they began.
    pub operations: Vec<Operation>,
}

/// An error in a history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHistory {
    /// From 1.
    pub line: usize,
    /// The found and the expected text.
    pub message: String,
}

impl std::fmt::Display for BadHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for BadHistory {}

/// Reads NDJSON.
///
/// # Errors
/// The first line that is no event.
pub fn read(text: &str) -> Result<Vec<Event>, BadHistory> {
    let event = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| BadHistory { line: index + 1, message: error.to_string() })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(event).collect()
}

/// Writes NDJSON.
pub fn write(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        // A value without maps of non-text keys always serializes.
        text.push_str(&serde_json::to_string(event).unwrap_or_default());
        text.push('\n');
    }
    text
}

/// Pairs begins with ends, and groups them by object.
///
/// # Errors
/// An end without a begin, or a history that does not open with a promise.
pub fn trials(events: &[Event]) -> Result<Vec<Trial>, BadHistory> {
    let mut promise = None;
    let mut trials: Vec<Trial> = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let bad = |message: &str| BadHistory { line: index + 1, message: message.to_owned() };
        if event.f == Action::Promise {
            promise = event.value.promise.clone();
            continue;
        }
        let Some(promise) = &promise else { return Err(bad("found an operation before the promise")) };
        let at = trials.iter().rposition(|trial| trial.object == event.value.object);
        let at = at.unwrap_or_else(|| {
            trials.push(Trial {
                object: event.value.object.clone(),
                promise: promise.clone(),
                operations: Vec::new(),
            });
            trials.len() - 1
        });
        let operations = &mut trials[at].operations;
        if event.kind == Kind::Invoke {
            operations.push(Operation {
                process: event.process,
                f: event.f,
                kind: Kind::Info,
                invoked_ns: event.time,
                completed_ns: u64::MAX,
                details: event.value.clone(),
            });
            continue;
        }
        let open = operations.iter_mut().rev().find(|operation| {
            (operation.process, operation.f) == (event.process, event.f) && operation.completed_ns == u64::MAX
        });
        let Some(operation) = open else {
            return Err(bad("found the end of an operation that did not begin"));
        };
        operation.kind = event.kind;
        operation.completed_ns = event.time;
        operation.details = event.value.clone();
    }
    Ok(trials)
}

impl Trial {
    /// The two events of each operation, ordered by time.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for operation in &self.operations {
            let event = |kind, value: Details, time| Event {
                process: operation.process,
                kind,
                f: operation.f,
                value,
                time,
            };
            let asked = Details {
                object: operation.details.object.clone(),
                request: operation.details.request.clone(),
                key: operation.details.key,
                who: operation.details.who.clone(),
                ..Details::default()
            };
            events.push(event(Kind::Invoke, asked, operation.invoked_ns));
            if operation.completed_ns < u64::MAX {
                events.push(event(operation.kind, operation.details.clone(), operation.completed_ns));
            }
        }
        events.sort_by_key(|event| event.time);
        events
    }
}
