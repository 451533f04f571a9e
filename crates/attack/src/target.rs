//! The target file: the roles of a service, such as how to make an object, how to use it, and how to observe it.
//!
//! A file is read completely before the first request is sent. What is wrong with it is reported by position.

mod read;
mod table;

use std::{ops::Range, path::PathBuf, time::Duration};

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::{
    history::Promise,
    template::{Capture, Template},
};

pub use read::{MAX_BYTES, parse};

/// The first mistake in a target file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its place, in bytes from the beginning of the file.
    pub span: Range<usize>,
    /// The found text.
    pub found: String,
    /// The expected text.
    pub expected: String,
    /// A suggestion.
    pub help: Option<String>,
}

/// A service and its requirements.
#[derive(Clone, Debug)]
pub struct Target {
    /// One sentence about it.
    pub about: Option<String>,
    /// Address of the service.
    pub base_url: BaseUrl,
    /// The certificate of the service, or of its issuer, for `https`.
    pub ca: Option<PathBuf>,
    /// Requirements on an object.
    pub promise: Promise,
    /// Headers of every request.
    pub headers: Vec<(String, Template)>,
    /// Makes a fresh object that is ready to be used.
    pub arrange: Vec<Request>,
    /// The request that may succeed at most `uses` times per object.
    pub usage: Usage,
    /// The state of the object.
    pub observe: Option<Observe>,
    /// Counts the effects.
    pub effects: Option<Counter>,
    /// Reads the effect's payload: compared before and after a drift.
    pub payload: Option<Counter>,
    /// Counts the events that record a use.
    pub audit: Option<Counter>,
    /// Counts the targets that the object's uses created.
    pub targets: Option<Counter>,
    /// Reads state that a refused attempt must leave unchanged.
    pub trace: Option<Counter>,
    /// A condition that holds some time after each use.
    pub settled: Option<Observe>,
    /// Makes an approver say yes. Without it, an object is usable once it is arranged.
    pub approve: Option<Vec<Change>>,
    /// Headers that make the approver the requester.
    pub requester: Option<Vec<(String, Template)>>,
    /// Rejects or revokes the object.
    pub reject: Option<Vec<Change>>,
    /// Lets the object expire.
    pub expire: Option<Vec<Change>>,
    /// Changes the payload after the approval.
    pub drift: Option<Vec<Change>>,
    /// Makes a check of the use refuse.
    pub spoil: Option<Vec<Change>>,
    /// Repairs what `spoil` did.
    pub mend: Option<Vec<Change>>,
    /// Headers of another owner.
    pub other_owner: Option<Vec<(String, Template)>>,
    /// Paths that a link scanner would open.
    pub safe_links: Vec<Template>,
    /// Start of the service.
    pub service: Option<Service>,
    /// The database of the service.
    pub database: Option<Database>,
    /// The folder of the file: the working directory of the service.
    pub folder: PathBuf,
}

impl Target {
    /// The time after which an object has expired by itself, if `expire` only waits.
    pub fn expires_by_itself(&self) -> Option<Duration> {
        let wait = |change: &Change| match change {
            Change::Wait(time) => Some(*time),
            Change::Request(_) | Change::Sql(_) => None,
        };
        self.expire.as_deref()?.iter().map(wait).sum()
    }
}

/// `http://host:port/prefix`, or `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`.
    pub is_encrypted: bool,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Prefix of every path, without the last slash.
    pub prefix: String,
}

impl BaseUrl {
    /// Reads `http://host[:port][/prefix]`, or `https`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_encrypted = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(six) => {
                let (host, port) = six.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Ok(if is_encrypted { 443 } else { 80 }), str::parse).ok()?;
        let plain = !prefix.contains(['?', '#', ' ']) && !host.contains(['@', ' ']);
        (plain && !host.is_empty()).then(|| Self {
            is_encrypted,
            host: host.to_owned(),
            port,
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }

    /// `host:port`, as in the header `Host`.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The use of an object.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Its request.
    pub request: Request,
    /// The answers of a success. Empty: any 2xx.
    pub success: Vec<u16>,
    /// The header with the idempotency key.
    pub key_header: Option<String>,
}

/// A request, before its placeholders are filled.
#[derive(Clone, Debug)]
pub struct Request {
    /// In capitals.
    pub method: String,
    /// Begins with a slash.
    pub path: Template,
    /// In addition to those of the target.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Body,
    /// The values to keep of the answer, with their names.
    pub capture: Vec<(String, Capture)>,
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// No body.
    Empty,
    /// JSON whose strings are templates.
    Json(Value),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
    /// Free text.
    Raw(Template),
}

/// A request, and the meaning of its condition.
#[derive(Clone, Debug)]
pub struct Observe {
    /// The request.
    pub request: Request,
    /// Values that the body has when the condition holds.
    pub when: Vec<(JsonPath, Value)>,
    /// Statuses that say that the condition holds.
    pub when_status: Vec<u16>,
}

/// Source of a number or a value.
#[derive(Clone, Debug)]
pub enum Counter {
    /// In an answer: a number, the length of an array, or any value.
    Request {
        /// The request.
        request: Request,
        /// Its path in the body; `None` for the whole body.
        path: Option<JsonPath>,
    },
    /// The first column of the first row of a query.
    Sql(Template),
    /// The requests that arrived at `{sink_url}`.
    Sink,
}

/// One step of a change.
#[derive(Clone, Debug)]
pub enum Change {
    /// A request that has to be answered with a 2xx or 3xx.
    Request(Request),
    /// A statement.
    Sql(Template),
    /// Time that passes.
    Wait(Duration),
}

/// Start, address and stop of the service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The program and its arguments.
    pub start: Vec<Template>,
    /// Its environment, in addition to ours.
    pub env: Vec<(String, Template)>,
    /// The path that answers 2xx when it is ready.
    pub ready: Option<Template>,
    /// Time limit for becoming ready.
    pub ready_within: Duration,
    /// Maximum duration of a lock or a lease of the service.
    pub lease: Duration,
}

/// The database of the service.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its URL, with a password perhaps.
    pub upstream: Template,
}
