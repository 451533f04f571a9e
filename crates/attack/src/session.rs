//! A connection to the service under attack: fills the roles of the target file, sends them, and records what happened.

mod process;
mod reads;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::{
    client::{self, Answer, Endpoint, Outcome, Protocol, Runner, Sent, Wire},
    clock::Clock,
    history::{Action, Details, HARNESS, Kind, Operation, Trial},
    proxy::Monitor,
    safety::{Budget, Secrets, Stop},
    service::Running,
    sink::Sink,
    target::{Body, Change, Counter, Request, Target},
    template::{self, Escape, Template, Values},
};

/// Why a change by SQL did not happen.
pub(crate) const NO_ROW: &str = "it changed no row";

/// A fresh object, and what has happened to it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) trial: Trial,
    pub(crate) values: Values,
}

impl Object {
    /// The last attempt was refused, and the reads after it show that there was no use; or it was the retry of one.
    pub(crate) fn may_have_met_a_lease(&self, variant: Variant) -> bool {
        let operations = &self.trial.operations;
        let Some(last) = operations.iter().rposition(|operation| operation.f == Action::Use) else {
            return false;
        };
        let shows_use = |read: &Operation| match (read.f, &read.details.read) {
            (Action::Observe, Some(used)) => *used == Value::Bool(true),
            (Action::Effects, Some(count)) => count.as_u64() != Some(0),
            _ => false,
        };
        let mut reads =
            operations[last..].iter().filter(|read| matches!(read.f, Action::Observe | Action::Effects));
        let unused = reads.clone().next().is_some() && !reads.any(shows_use);
        operations[last].kind == Kind::Fail && (unused || variant.key.is_some())
    }
}

/// Variation of a use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The idempotency key: equal numbers are equal keys.
    pub(crate) key: Option<u64>,
    /// With the credentials of another owner.
    pub(crate) stranger: bool,
}

pub(crate) struct Session<'t> {
    pub(crate) target: &'t Target,
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    pub(crate) secrets: Secrets,
    pub(crate) service: Option<Running>,
    /// Values of every template: `database_url`.
    pub(crate) values: Values,
    endpoint: Endpoint,
    /// Protocol of the requests of a race; single ones go over HTTP/1.1.
    pub(crate) protocol: Protocol,
    sink: Option<Sink>,
    monitor: Option<Monitor>,
    objects: u64,
    log: PathBuf,
    /// For an effect, a settled target, an event and a readable answer.
    patience: [reads::Patience; 4],
    /// A connection of the service to its database was cut since the last object was made.
    was_cut: bool,
    /// How often the service ended by itself, and how at first: after such a cut, and otherwise.
    ends: BTreeMap<bool, (u64, String)>,
}

type Headers = Vec<(String, Template)>;

impl<'t> Session<'t> {
    pub(crate) async fn open(
        target: &'t Target,
        endpoint: Endpoint,
        budget: Budget,
        clock: Clock,
        log: PathBuf,
    ) -> Result<Self, Stop> {
        let sink = match &target.effects {
            Some(Counter::Sink) => Some(
                Sink::start()
                    .await
                    .map_err(|error| Stop::BadInput(format!("cannot open a sink: {error}")))?,
            ),
            _ => None,
        };
        let mut session = Self {
            target,
            clock,
            budget,
            secrets: Secrets::default(),
            service: None,
            values: Values::new(),
            endpoint,
            protocol: Protocol::Http1,
            sink,
            monitor: None,
            objects: 0,
            log,
            patience: [reads::Patience::default(); 4],
            was_cut: false,
            ends: BTreeMap::new(),
        };
        if let Some(url) = session.upstream()? {
            session.values.insert("database_url".into(), Value::String(url));
        }
        for (_, value) in target.service.iter().flat_map(|service| &service.env) {
            // Values that the service inherits from our environment must not be shown.
            if value.names().any(|name| name.starts_with("env.")) {
                let filled = session.fill(value, &Values::new(), Escape::None)?;
                session.secrets.add(&filled);
            }
        }
        Ok(session)
    }

    /// The URL of the database, as the target file has it.
    pub(crate) fn upstream(&mut self) -> Result<Option<String>, Stop> {
        let Some(database) = &self.target.database else { return Ok(None) };
        let url = self.fill(&database.upstream, &Values::new(), Escape::None)?;
        self.secrets.add_url(&url);
        Ok(Some(url))
    }

    fn fill(&self, text: &Template, values: &Values, escape: Escape) -> Result<String, Stop> {
        let mut all = self.values.clone();
        all.extend(values.clone());
        text.fill(&all, escape).map_err(|error| Stop::BadInput(format!("`{}`: {error}", text.source())))
    }

    /// From now on races are sent in one packet, if the service speaks HTTP/2.
    pub(crate) async fn choose_protocol(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        if client::speaks_http2(&self.endpoint, PATIENCE).await {
            self.protocol = Protocol::Http2;
        }
    }

    fn hide(&self, stop: Stop) -> Stop {
        match stop {
            Stop::BadInput(message) => Stop::BadInput(self.secrets.redact(&message)),
            Stop::CutOff(message) => Stop::CutOff(self.secrets.redact(&message)),
        }
    }

    fn wire(&mut self, request: &Request, values: &Values, extra: &Headers) -> Result<Wire, Stop> {
        let path = self.fill(&request.path, values, Escape::Url)?;
        let path = format!("{}{path}", self.target.base_url.prefix);
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in self.target.headers.iter().chain(&request.headers).chain(extra) {
            let text = self.fill(value, values, Escape::None)?;
            if text.contains(['\r', '\n']) {
                return Err(Stop::BadInput(format!("the header {name} has a line end")));
            }
            self.secrets.add_header(name, &text);
            if value.names().any(|name| name.starts_with("env.")) {
                self.secrets.add(&text);
            }
            // The more specific one replaces the more general one.
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            headers.push((name.clone(), text));
        }
        let (body, kind) = match &request.body {
            Body::Empty => (None, None),
            Body::Json(json) => {
                let mut all = self.values.clone();
                all.extend(values.clone());
                let filled = template::fill_json(json, &all).map_err(|error| {
                    Stop::BadInput(format!("{} {}: {error}", request.method, request.path.source()))
                })?;
                (Some(filled.to_string()), Some("application/json"))
            }
            Body::Form(fields) => {
                let mut pairs = Vec::new();
                for (name, value) in fields {
                    let text = self.fill(value, values, Escape::None)?;
                    pairs.push(format!(
                        "{}={}",
                        template::percent_encoded(name),
                        template::percent_encoded(&text)
                    ));
                }
                (Some(pairs.join("&")), Some("application/x-www-form-urlencoded"))
            }
            Body::Raw(text) => (Some(self.fill(text, values, Escape::None)?), None),
        };
        if let Some(kind) =
            kind.filter(|_| !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")))
        {
            headers.push(("Content-Type".into(), kind.into()));
        }
        let authority = self.target.base_url.authority();
        Ok(Wire::new(&request.method, &path, &authority, &headers, body.as_deref().map(str::as_bytes)))
    }

    /// The bytes of a request that is no use.
    pub(crate) fn request_wire(&mut self, object: &Object, request: &Request) -> Result<Wire, Stop> {
        self.wire(request, &object.values, &Vec::new())
    }

    /// The same, with the headers of its sender.
    pub(crate) fn request_wire_of(
        &mut self,
        object: &Object,
        request: &Request,
        sender: &Headers,
    ) -> Result<Wire, Stop> {
        self.wire(request, &object.values, sender)
    }

    /// The bytes of a link that is opened.
    pub(crate) fn link_wire(&mut self, object: &Object, link: &Template) -> Result<Wire, Stop> {
        let request = Request {
            method: "GET".into(),
            path: link.clone(),
            headers: Vec::new(),
            body: Body::Empty,
            capture: Vec::new(),
        };
        self.wire(&request, &object.values, &Vec::new())
    }

    async fn send(&mut self, wire: &Wire) -> Result<Sent, Stop> {
        self.budget.spend(1)?;
        Ok(client::send(&self.endpoint, wire, self.budget.patience(), self.clock).await)
    }

    /// Makes a fresh object. `approved`: with the approvals that it needs.
    pub(crate) async fn arrange(&mut self, approved: bool) -> Result<Object, Stop> {
        const ATTEMPTS: usize = 3;
        let mut attempt = 1;
        loop {
            match self.arrange_once(approved).await {
                Err(Stop::BadInput(message)) if self.is_ending().await => {
                    if attempt == ATTEMPTS {
                        let end = self.service.as_mut().and_then(Running::ended).unwrap_or_default();
                        let message = format!("{message}\nthe service ended by itself ({end})");
                        return Err(self.hide(Stop::BadInput(message)));
                    }
                    attempt += 1;
                }
                done => {
                    self.was_cut = false;
                    return done;
                }
            }
        }
    }

    async fn arrange_once(&mut self, approved: bool) -> Result<Object, Stop> {
        self.objects += 1;
        self.ensure_running().await?;
        let id = format!("{}-{}", self.target.promise.noun, self.objects);
        let trial = Trial { object: id, promise: self.target.promise.clone(), operations: Vec::new() };
        let mut object = Object { trial, values: Values::new() };
        if let Some(sink) = &self.sink {
            let word = crate::clock::unique();
            object.values.insert("sink_url".into(), Value::String(sink.url(&word)));
            object.values.insert("sink_object".into(), Value::String(word));
        }
        let invoked_ns = self.clock.now_ns();
        for step in &self.target.arrange {
            let wire = self.wire(step, &object.values, &Vec::new())?;
            let sent = self.send(&wire).await?;
            let answer = succeeded(&wire, &sent)
                .map_err(|message| self.hide(Stop::BadInput(format!("[arrange]: {message}"))))?;
            self.capture(&mut object, &wire, step, answer).map_err(|stop| within("arrange", stop))?;
        }
        let withheld = self.target.approve.is_some() && !approved;
        let details = Details { who: withheld.then(|| "unapproved".to_owned()), ..Details::default() };
        self.record(&mut object, HARNESS, Action::Arrange, Kind::Ok, invoked_ns, details);
        if approved && self.target.approve.is_some() {
            for person in 1..=self.target.promise.approvers {
                if !self.approve(&mut object, &format!("approver-{person}")).await? {
                    let (_, result) = object.trial.operations.last().map(described).unwrap_or_default();
                    let message = format!("[approve]: a fresh object was not approved: {result}");
                    return Err(self.hide(Stop::BadInput(message)));
                }
            }
        }
        Ok(object)
    }

    /// Keeps the values of an answer.
    fn capture(
        &self,
        object: &mut Object,
        wire: &Wire,
        request: &Request,
        answer: &Answer,
    ) -> Result<(), Stop> {
        for (name, capture) in &request.capture {
            let Some(value) = capture.of(&answer.headers, &answer.body) else {
                let message =
                    format!("{}: no value for `{name}` in the answer {}", wire.line, excerpt(answer));
                return Err(self.hide(Stop::BadInput(message)));
            };
            object.values.insert(name.clone(), value);
        }
        Ok(())
    }

    fn record(
        &self,
        object: &mut Object,
        process: i64,
        f: Action,
        kind: Kind,
        invoked_ns: u64,
        details: Details,
    ) {
        let details = Details { object: object.trial.object.clone(), ..details };
        let completed_ns = self.clock.now_ns();
        object.trial.operations.push(Operation { process, f, kind, invoked_ns, completed_ns, details });
    }

    /// One person says yes. `{approver}` is the number of the person.
    pub(crate) async fn approve(&mut self, object: &mut Object, who: &str) -> Result<bool, Stop> {
        let target = self.target;
        let Some(changes) = &target.approve else { return Ok(true) };
        let number = who.strip_prefix("approver-").unwrap_or("0").to_owned();
        object.values.insert("approver".into(), Value::String(number));
        let extra =
            if who == "requester" { target.requester.clone().unwrap_or_default() } else { Vec::new() };
        self.change(object, Action::Approve, changes, Some(who), &extra).await
    }

    /// Applies a change, and says whether the service accepted it.
    pub(crate) async fn change(
        &mut self,
        object: &mut Object,
        f: Action,
        changes: &[Change],
        who: Option<&str>,
        extra: &Headers,
    ) -> Result<bool, Stop> {
        let invoked_ns = self.clock.now_ns();
        let mut details = Details { who: who.map(str::to_owned), ..Details::default() };
        let mut kind = Kind::Ok;
        for change in changes {
            match change {
                Change::Wait(time) => tokio::time::sleep(*time).await,
                Change::Sql(text) => {
                    let sql = self.fill(text, &object.values, Escape::Sql)?;
                    details.request = Some(text.source());
                    let failure = match self.sql(&sql).await {
                        // A statement that is held may have locked the row: then the change did not happen.
                        Err(Stop::BadInput(error)) if error.contains(reads::LOCK_NOT_AVAILABLE) => {
                            Some("the row is locked")
                        }
                        done => (done?.changed == Some(0)).then_some(NO_ROW),
                    };
                    if let Some(failure) = failure {
                        details.error = Some(failure.into());
                        kind = Kind::Fail;
                        break;
                    }
                }
                Change::Request(request) => {
                    let wire = self.wire(request, &object.values, extra)?;
                    let sent = self.send(&wire).await?;
                    details.request = Some(wire.line.clone());
                    kind = match &sent.outcome {
                        Outcome::Answered(answer) => {
                            details.status = Some(answer.status);
                            if answer.status < 400 {
                                let kept = self.capture(object, &wire, request, answer);
                                kept.map_err(|stop| within(&f.word(), stop))?;
                            }
                            match answer.status {
                                200..400 => Kind::Ok,
                                400..500 => Kind::Fail,
                                _ => Kind::Info,
                            }
                        }
                        Outcome::NotSent(error) => {
                            details.error = Some(error.clone());
                            Kind::Fail
                        }
                        Outcome::Unknown(error) => {
                            details.error = Some(error.clone());
                            Kind::Info
                        }
                    };
                    if kind != Kind::Ok {
                        break;
                    }
                }
            }
        }
        self.record(object, HARNESS, f, kind, invoked_ns, details);
        Ok(kind == Kind::Ok)
    }

    /// The bytes of a use.
    pub(crate) fn use_wire(&mut self, object: &Object, variant: Variant) -> Result<Wire, Stop> {
        let target = self.target;
        let mut extra: Headers = Vec::new();
        if let Some(header) = &target.usage.key_header {
            // Without a separate key, a use would be the retry of another one.
            let key = variant
                .key
                .map_or_else(crate::clock::unique, |key| format!("{}-key-{key}", run_word(object)));
            extra.push((header.clone(), Template::literal(&key)));
        }
        if variant.stranger {
            extra.extend(target.other_owner.clone().unwrap_or_default());
        }
        self.wire(&target.usage.request, &object.values, &extra)
    }

    /// Releases uses together, and records them. The processes are counted from `first`.
    pub(crate) async fn race(
        &mut self,
        object: &mut Object,
        first: i64,
        runners: &[(Runner, Variant)],
    ) -> Result<Vec<Sent>, Stop> {
        self.budget.spend(runners.len() as u64)?;
        let wires: Vec<Runner> = runners.iter().map(|(runner, _)| runner.clone()).collect();
        let protocol = if wires.len() > 1 { self.protocol } else { Protocol::Http1 };
        let sent = client::race(protocol, &self.endpoint, &wires, self.budget.patience(), self.clock).await;
        for (index, (sent, (runner, variant))) in sent.iter().zip(runners).enumerate() {
            let operation = self.operation(object, first + index as i64, &runner.wire, *variant, sent);
            object.trial.operations.push(operation);
        }
        Ok(sent)
    }

    /// A use as an operation of the history.
    pub(crate) fn operation(
        &self,
        object: &Object,
        process: i64,
        wire: &Wire,
        variant: Variant,
        sent: &Sent,
    ) -> Operation {
        let (kind, status, error) = match &sent.outcome {
            Outcome::Answered(answer) => (self.kind(answer), Some(answer.status), None),
            Outcome::NotSent(error) => (Kind::Fail, None, Some(error.clone())),
            Outcome::Unknown(error) => (Kind::Info, None, Some(error.clone())),
        };
        let details = Details {
            object: object.trial.object.clone(),
            request: Some(wire.line.clone()),
            status,
            error,
            key: variant.key,
            who: variant.stranger.then(|| "stranger".to_owned()),
            ..Details::default()
        };
        Operation {
            process,
            f: Action::Use,
            kind,
            invoked_ns: sent.released_ns,
            completed_ns: sent.completed_ns,
            details,
        }
    }

    fn kind(&self, answer: &Answer) -> Kind {
        let success = &self.target.usage.success;
        let succeeded = if success.is_empty() {
            (200..300).contains(&answer.status)
        } else {
            success.contains(&answer.status)
        };
        match answer.status {
            _ if succeeded => Kind::Ok,
            500.. => Kind::Info,
            _ => Kind::Fail,
        }
    }

    /// One plain use, and its answer.
    pub(crate) async fn use_once(
        &mut self,
        object: &mut Object,
        process: i64,
        variant: Variant,
    ) -> Result<Sent, Stop> {
        let wire = self.use_wire(object, variant)?;
        let mut sent = self.race(object, process, &[(Runner::new(wire), variant)]).await?;
        sent.pop().ok_or_else(|| Stop::CutOff("a race without runners".into()))
    }

    /// Opens a link as a scanner does.
    pub(crate) async fn open_link(&mut self, object: &mut Object, link: &Template) -> Result<(), Stop> {
        let wire = self.link_wire(object, link)?;
        let sent = self.send(&wire).await?;
        let status = answer(&sent).map(|answer| answer.status);
        let details = Details { request: Some(wire.line), status, ..Details::default() };
        let kind = if status.is_some() { Kind::Ok } else { Kind::Info };
        self.record(object, HARNESS, Action::Open, kind, sent.released_ns, details);
        Ok(())
    }

    /// A little longer than a lock or a lease of the service lasts.
    pub(crate) fn lease_is_over(&self) -> Duration {
        self.target.service.as_ref().map_or(Duration::ZERO, |service| service.lease.mul_f64(1.1))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

/// The name and the result of an operation.
pub(crate) fn described(operation: &Operation) -> (String, String) {
    let details = &operation.details;
    let mut words: Vec<String> = details.request.iter().cloned().collect();
    words.extend(details.status.map(|status| format!("got {status}")));
    words.extend(details.error.clone());
    match &details.read {
        Some(read) => words.push(format!("read {read}")),
        None if operation.kind == Kind::Info => words.push("shows nothing that can be read".into()),
        None => {}
    }
    (operation.f.word(), words.join(", "))
}

/// A word that differs between objects and between runs, for keys.
fn run_word(object: &Object) -> String {
    let captured = object.values.values().map(template::plain).collect::<Vec<_>>().join("-");
    let word: String = captured.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    format!("{}-{word}", object.trial.object.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}

fn answer(sent: &Sent) -> Option<&Answer> {
    match &sent.outcome {
        Outcome::Answered(answer) => Some(answer),
        _ => None,
    }
}

/// An error, with the role in which it occurred.
fn within(role: &str, stop: Stop) -> Stop {
    match stop {
        Stop::BadInput(message) => Stop::BadInput(format!("[{role}]: {message}")),
        limit => limit,
    }
}

/// The answer of a request that has to succeed.
fn succeeded<'s>(wire: &Wire, sent: &'s Sent) -> Result<&'s Answer, String> {
    match &sent.outcome {
        Outcome::Answered(answer) if answer.status < 400 => Ok(answer),
        Outcome::Answered(answer) => Err(format!("{} got {}", wire.line, excerpt(answer))),
        Outcome::NotSent(error) => Err(format!("{}: the service cannot be reached: {error}", wire.line)),
        Outcome::Unknown(error) => Err(format!("{}: {error}", wire.line)),
    }
}

/// An answer, cut to a line.
pub(crate) fn excerpt(answer: &Answer) -> String {
    let text: String =
        String::from_utf8_lossy(&answer.body).chars().filter(|c| !c.is_control()).take(120).collect();
    format!("{} {text}", answer.status).trim_end().to_owned()
}
