//! The life of one approval: requested, decided, and used by several clients concurrently, during kills.
//!
//! It leaves histories, which are judged as those of any other service are: of the requests, of the link, of a stranger, and
//! of the audit log. The rest are facts that no request shows.

use std::{path::Path, sync::atomic::Ordering, thread};

use countersign::{
    protocol::{Status, Timestamp},
    store::AuditKind,
};
use countersign_models::{
    audit,
    history::{Action, Details, HARNESS, Kind, Operation, Promise, Trial},
    properties::Property,
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Body, Call, now_ns, pause},
    fences::Fences,
    kill::Campaign,
    sink::{self, Launches, SLOW},
};

/// Variation of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twist {
    /// No variation.
    None,
    /// A variable refers to a vault key that is missing at first: the preflight fails.
    Vault,
    /// The same, and the key is there only when everything has come to rest.
    VaultLate,
    /// A new image is built after the approval.
    Drift,
    /// The operator and the administrator decide concurrently.
    Contested,
    /// Its window passes while the clients are at it.
    Expires,
    /// By the store's clock its job's lease ends while the deploy runs, and its worker does not know.
    LeaseEnds,
    /// The administrator revokes it, before its clients begin or concurrently with them.
    Revoked,
    /// After the approval a newer version goes out, and the image is what it was again.
    Overtaken,
}

impl Twist {
    pub(crate) const ALL: [Self; 9] = [
        Self::None,
        Self::Vault,
        Self::VaultLate,
        Self::Drift,
        Self::Contested,
        Self::Expires,
        Self::LeaseEnds,
        Self::Revoked,
        Self::Overtaken,
    ];
}

/// Data of a life until it has come to rest.
pub(crate) struct Life {
    pub(crate) id: String,
    /// The secret in its link.
    pub(crate) token: String,
    slug: String,
    image: String,
    number: usize,
    twist: Twist,
    expires_at: Timestamp,
    /// A newer version of its target is known to have gone out.
    is_overtaken: bool,
    /// The statuses that were seen, in order.
    seen: Vec<Status>,
    /// Its clients' requests, and what happened to it.
    operations: Vec<Operation>,
    /// The histories that are over.
    trials: Vec<Trial>,
    /// Whether these properties are violated, where no history of requests shows it.
    facts: Vec<(Property, bool)>,
}

impl Life {
    /// Those of a kind follow each other in generations, which differ in their clients.
    fn generation(&self) -> usize {
        self.number / Twist::ALL.len()
    }

    fn did(&mut self, f: Action, began_ns: u64) {
        self.operations.push(done(f, began_ns, Details::default()));
    }

    fn read(&mut self, f: Action, began_ns: u64, read: impl Into<Value>) {
        self.operations.push(done(f, began_ns, Details { read: Some(read.into()), ..Details::default() }));
    }

    fn revoked(&mut self, operation: Operation) {
        if operation.kind == Kind::Ok {
            self.seen.push(Status::Revoked);
        }
        self.operations.push(operation);
    }

    fn trial(&self, operations: Vec<Operation>) -> Trial {
        Trial { object: self.id.clone(), promise: promise(), operations }
    }
}

/// Preflight refuses with 412 or 422, a stranger is told 404.
fn promise() -> Promise {
    Promise { noun: "approval".into(), conflict: vec![409], ..Promise::default() }
}

/// Something that succeeded, other than a use.
pub(crate) fn done(f: Action, began_ns: u64, details: Details) -> Operation {
    Operation { process: HARNESS, f, kind: Kind::Ok, invoked_ns: began_ns, completed_ns: now_ns(), details }
}

/// An attempt to use it.
fn attempt(client: usize, path: &str, began_ns: u64, answer: Option<&Answer>) -> Operation {
    let kind = match answer {
        Some(answer) if answer.is_success() => Kind::Ok,
        Some(answer) if answer.status < 500 => Kind::Fail,
        _ => Kind::Info,
    };
    let details = Details {
        request: Some(format!("POST {path}")),
        status: answer.map(|answer| answer.status),
        error: answer.map(|answer| answer.text("code")).filter(|code| !code.is_empty()),
        key: Some(client as u64),
        ..Details::default()
    };
    let process = i64::try_from(client).unwrap_or(i64::MAX);
    Operation { process, f: Action::Use, kind, invoked_ns: began_ns, completed_ns: now_ns(), details }
}

const CLIENTS: usize = 3;

fn get<'a>(path: &'a str, bearer: &'a str) -> Call<'a> {
    Call { method: "GET", path, bearer: Some(bearer), key: None, body: Body::None }
}

/// A time as the service writes it.
pub(crate) fn time(value: &Value) -> Option<Timestamp> {
    let at: jiff::Timestamp = value.as_str()?.parse().ok()?;
    Some(Timestamp(at.as_millisecond().try_into().ok()?))
}

fn status(text: &str) -> Status {
    let found = Status::ALL.into_iter().find(|status| status.to_string() == text);
    found.unwrap_or_else(|| panic!("{text:?} is a status"))
}

impl Campaign {
    pub(crate) fn post(&self, bearer: &str, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let bearer = Some(bearer);
        self.clients.until_answered(Call { method: "POST", path, bearer, key, body: Body::Json(body) })
    }

    pub(crate) fn status_now(&self, id: &str) -> Status {
        let answer = self.clients.until_answered(get(&format!("/api/v1/approvals/{id}"), &self.bearer));
        assert_eq!(answer.status, 200, "{}", answer.body);
        status(&answer.text("status"))
    }

    pub(crate) fn stack(&self, bearer: &str, name: &str, env_vars: &Value) -> String {
        let services = json!([{"name": "web", "image_ref": format!("{name}:1"), "port": 80, "expose": true}]);
        let body = json!({"name": name, "env": "development", "services": services, "env_vars": env_vars});
        let created = self.post(bearer, "/api/v1/stacks", None, &body);
        assert_eq!(created.status, 201, "{}", created.body);
        created.text("slug")
    }

    /// A new build of the stack's service.
    fn build(&self, slug: &str, image: &str) {
        let (path, image) = (format!("/api/v1/stacks/{slug}/services/web"), json!({ "image_ref": image }));
        let (method, bearer) = ("PATCH", Some(self.bearer.as_str()));
        let call = Call { method, path: &path, bearer, key: None, body: Body::Json(&image) };
        assert_eq!(self.clients.until_answered(call).status, 200);
    }

    /// Lives it, up to the last answer to the last client.
    pub(crate) fn live(&self, number: usize) -> Life {
        let twist = Twist::ALL[number % Twist::ALL.len()];
        let name = match twist {
            Twist::LeaseEnds => format!("{SLOW}{number}"),
            _ => format!("shop-{number}"),
        };
        let variables = match twist {
            Twist::Vault | Twist::VaultLate => json!({"SECRET": format!("vault:{}", vault_key(number))}),
            _ => json!({}),
        };
        let slug = self.stack(&self.bearer, &name, &variables);
        let other = self.stack(&self.bearer, &format!("other-{number}"), &json!({}));
        if twist == Twist::Overtaken {
            // Its target has a version.
            self.promote(&slug, &format!("{number}-before"));
        }
        let path = format!("/api/v1/stacks/{slug}/promote");
        let wish = json!({"from": "development", "to": "production"});
        let asked = self.post(&self.bearer, &path, Some(&format!("ask-{number}")), &wish);
        assert_eq!(asked.status, 202, "{}", asked.body);
        let id = asked.text("approval_id");
        let mut life = Life {
            token: link(&self.service.home.join("mail"), &id),
            slug: slug.clone(),
            image: format!("{name}:1"),
            number,
            twist,
            expires_at: time(&asked.json()["expires_at"]).expect("it ends"),
            is_overtaken: false,
            seen: vec![Status::Pending],
            operations: Vec::new(),
            trials: Vec::new(),
            facts: Vec::new(),
            id,
        };
        self.look(&mut life);
        self.strangers_read(&mut life);
        let kills = self.service.kills.load(Ordering::SeqCst);
        let generation = life.generation();
        if twist == Twist::None && generation % 3 == 2 {
            // Too early: it is not approved yet.
            self.race(&mut life, CLIENTS, &[slug.as_str()]);
        }
        if matches!(twist, Twist::Vault | Twist::VaultLate) {
            life.did(Action::Spoil, now_ns());
        }
        self.decide(&mut life, twist);
        self.stranger_uses(&mut life);
        match twist {
            Twist::Drift => {
                let began_ns = now_ns();
                self.build(&slug, &format!("{name}:2"));
                life.did(Action::Drift, began_ns);
            }
            Twist::Overtaken => {
                let began_ns = now_ns();
                self.build(&slug, &format!("{name}:2"));
                life.is_overtaken = self.promote(&slug, &format!("{number}-newer"));
                self.build(&slug, &format!("{name}:1"));
                life.did(Action::Drift, began_ns);
            }
            Twist::Revoked if generation.is_multiple_of(2) => {
                let operation = self.revoke(&life.id);
                life.revoked(operation);
            }
            Twist::Expires => {
                life.expires_at = self.expire_soon(&life.id);
                let mut expired = done(Action::Expire, now_ns(), Details::default());
                // Before anything of the same millisecond.
                (expired.invoked_ns, expired.completed_ns) = ends(life.expires_at);
                life.operations.push(expired);
            }
            Twist::None
            | Twist::Vault
            | Twist::VaultLate
            | Twist::Contested
            | Twist::LeaseEnds
            | Twist::Revoked => {}
        }
        self.observe(&mut life);
        let family = self.targets(&life);
        life.read(Action::Trace, now_ns(), family);
        // In every third generation one asks for something else than was approved; in every other third there is one client.
        let slugs = match generation % 3 {
            2 => vec![slug.as_str()],
            // The payload of a late success is not read.
            1 if twist != Twist::VaultLate => {
                life.did(Action::Drift, now_ns());
                vec![slug.as_str(), slug.as_str(), other.as_str()]
            }
            _ => vec![slug.as_str(); CLIENTS],
        };
        let id = life.id.clone();
        match twist {
            Twist::LeaseEnds => self.while_its_lease_ends(&id, || self.race(&mut life, 0, &slugs)),
            Twist::Revoked if !generation.is_multiple_of(2) => {
                let operation = thread::scope(|scope| {
                    let revoking = scope.spawn(|| self.revoke(&id));
                    self.race(&mut life, 0, &slugs);
                    revoking.join().expect("the administrator does not panic")
                });
                life.revoked(operation);
            }
            _ => self.race(&mut life, 0, &slugs),
        }
        if twist == Twist::Vault {
            self.mended(&mut life);
        }
        let unsure = life.operations.iter().any(|usage| usage.kind == Kind::Info);
        if unsure && self.service.kills.load(Ordering::SeqCst) != kills {
            // A kill that no client has noticed excuses nothing.
            life.did(Action::Crash, now_ns());
        }
        life.seen.push(self.status_now(&life.id));
        life
    }

    /// Runs this, and ends the lease of the approval's job as soon as its deploy has begun, or else at the end.
    fn while_its_lease_ends<T: Send>(&self, id: &str, act: impl FnOnce() -> T + Send) -> T {
        let sink = self.service.home.join("sink");
        thread::scope(|scope| {
            let act = scope.spawn(act);
            while !sink::has_begun(&sink, id) && !act.is_finished() {
                pause(5);
            }
            self.end_lease(id);
            act.join().expect("a client does not panic")
        })
    }

    /// Puts the vault's key where it belongs, and promotes once more.
    fn mended(&self, life: &mut Life) {
        let began_ns = now_ns();
        let bearer = Some(self.administrator.as_str());
        let path = format!("/api/v1/vault/production/{}", vault_key(life.number));
        let body = json!({"value": "secret"});
        let call = Call { method: "PUT", path: &path, bearer, key: None, body: Body::Json(&body) };
        let answer = self.clients.until_answered(call);
        assert_eq!(answer.status, 204, "{}", answer.body);
        life.did(Action::Mend, began_ns);
        let slug = life.slug.clone();
        self.race(life, CLIENTS, &[&slug]);
    }

    /// Reads whether it is used.
    fn observed(&self, id: &str) -> (Status, Operation) {
        let began_ns = now_ns();
        let status = self.status_now(id);
        let read = Some(Value::Bool(status == Status::Executed));
        (status, done(Action::Observe, began_ns, Details { read, ..Details::default() }))
    }

    fn observe(&self, life: &mut Life) -> Status {
        let (status, operation) = self.observed(&life.id);
        life.operations.push(operation);
        status
    }

    /// Opens the link, as mail scanners do.
    fn look(&self, life: &mut Life) {
        let path = format!("/approve/{}", life.token);
        let began_ns = now_ns();
        for method in ["GET", "HEAD"] {
            let call = Call { method, path: &path, bearer: None, key: None, body: Body::None };
            assert_eq!(self.clients.until_answered(call).status, 200, "{method} of the link");
        }
        let request = Some("GET of the link".to_owned());
        let opened = done(Action::Open, began_ns, Details { request, ..Details::default() });
        let (status, observed) = self.observed(&life.id);
        life.trials.push(life.trial(vec![opened, observed]));
        life.facts.push((Property::S15, status != Status::Pending));
    }

    /// Another team asks for it, and for one that does not exist.
    fn strangers_read(&self, life: &mut Life) {
        let unknown = format!("00000000-0000-4000-8000-{:012}", life.number);
        let told = |id: &str| {
            let paths = [format!("/api/v1/approvals/{id}"), format!("/api/v1/audit?approval_id={id}")];
            paths.map(|path| {
                let answer = self.clients.until_answered(get(&path, &self.stranger));
                (answer.status, answer.body.replace(id, "ID"))
            })
        };
        let is_shown = told(&life.id) != told(&unknown);
        life.facts.push((Property::S12, is_shown));
    }

    /// Another team uses it, for a stack of its own.
    fn stranger_uses(&self, life: &mut Life) {
        let body = json!({"from": "development", "to": "production", "approval_id": life.id});
        let path = format!("/api/v1/stacks/{}/promote", self.stack_of_stranger);
        let (bearer, key) = (Some(self.stranger.as_str()), format!("stranger-{}", life.number));
        let call = Call { method: "POST", path: &path, bearer, key: Some(&key), body: Body::Json(&body) };
        let mut operations = Vec::new();
        self.clients.insist(call, |began_ns, answer| {
            let mut usage = attempt(0, &path, began_ns, answer);
            usage.details.who = Some("stranger".into());
            operations.push(usage);
        });
        operations.push(self.observed(&life.id).1);
        life.trials.push(life.trial(operations));
    }

    /// Presses the button of the link's page.
    pub(crate) fn approve(&self, token: &str) {
        let (path, body) = (format!("/approve/{token}"), Body::Form("decision=approve"));
        let form = Call { method: "POST", path: &path, bearer: None, key: None, body };
        let answer = self.clients.until_answered(form);
        assert!(matches!(answer.status, 303 | 410), "{} {}", answer.status, answer.body);
    }

    fn decide(&self, life: &mut Life, twist: Twist) {
        let reject = format!("/api/v1/admin/promotions/{}/reject", life.id);
        let began_ns = now_ns();
        thread::scope(|scope| {
            let token = life.token.as_str();
            scope.spawn(|| self.approve(token));
            if twist == Twist::Contested {
                scope.spawn(|| {
                    let bearer = Some(self.administrator.as_str());
                    let call = Call { method: "POST", path: &reject, bearer, key: None, body: Body::None };
                    let answer = self.clients.until_answered(call);
                    assert!(matches!(answer.status, 200 | 409), "{} {}", answer.status, answer.body);
                });
            }
        });
        let status = self.status_now(&life.id);
        life.seen.push(status);
        // An answer to a repeated press does not say which press was the first one. The status does.
        let mut decision = |f, is_done| {
            let who = Some("approver-1".to_owned());
            let operation = done(f, began_ns, Details { who, ..Details::default() });
            let kind = if is_done { Kind::Ok } else { Kind::Fail };
            life.operations.push(Operation { kind, ..operation });
        };
        decision(Action::Approve, status == Status::Approved);
        if twist == Twist::Contested {
            decision(Action::Reject, status == Status::Rejected);
        }
        if status != Status::Approved {
            let arranged = done(Action::Arrange, began_ns, Details::default());
            let details = Details { who: Some("unapproved".into()), ..arranged.details };
            life.operations.insert(0, Operation { details, ..arranged });
        }
    }

    /// Concurrent clients that use the approval, each with its own key, counted from `first`. In some generations a
    /// successful client repeats its request. One that is alone reads the state before it repeats a request without an answer.
    fn race(&self, life: &mut Life, first: usize, slugs: &[&str]) {
        let (id, number, repeats) = (life.id.as_str(), life.number, repeats(life.generation()));
        let body = json!({"from": "development", "to": "production", "approval_id": id});
        let use_it = |at: usize, slug: &str| {
            let client = first + at;
            let (path, key) = (format!("/api/v1/stacks/{slug}/promote"), format!("use-{number}-{client}"));
            let bearer = Some(self.bearer.as_str());
            let call = Call { method: "POST", path: &path, bearer, key: Some(&key), body: Body::Json(&body) };
            let mut operations = Vec::new();
            let mut each = |began_ns: u64, answer: Option<&Answer>| {
                let usage = attempt(client, &path, began_ns, answer);
                let is_unknown = usage.kind == Kind::Info;
                operations.push(usage);
                if is_unknown && slugs.len() == 1 {
                    operations.push(self.observed(id).1);
                }
            };
            let answer = self.clients.insist(call, &mut each);
            let mut differs = None;
            if answer.is_success() && repeats {
                let again = self.clients.insist(call, &mut each);
                differs = Some((answer.status, &answer.body) != (again.status, &again.body));
            }
            (operations, differs)
        };
        let results: Vec<_> = thread::scope(|scope| {
            let use_it = &use_it;
            let clients: Vec<_> =
                slugs.iter().enumerate().map(|(at, slug)| scope.spawn(move || use_it(at, slug))).collect();
            clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
        });
        for (operations, differs) in results {
            life.operations.extend(operations);
            life.facts.extend(differs.map(|differs| (Property::S13, differs)));
        }
    }

    /// True once its deploy, if any, is over.
    pub(crate) fn is_at_rest(&self, life: &Life) -> bool {
        let launched = sink::launches(&self.service.home.join("sink")).contains_key(&life.id);
        !self.is_building(&life.slug) && (launched || self.status_now(&life.id) != Status::Executed)
    }

    /// A deploy of the stack's family has not ended.
    pub(crate) fn is_building(&self, slug: &str) -> bool {
        self.family(slug).iter().any(|stack| stack["status"] == "building")
    }

    fn family(&self, slug: &str) -> Vec<Value> {
        let path = format!("/api/v1/stacks/{slug}/family");
        let answer = self.clients.until_answered(get(&path, &self.bearer));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let json = answer.json();
        let members =
            json.as_array().or_else(|| json["items"].as_array()).or_else(|| json["stacks"].as_array());
        members.cloned().unwrap_or_else(|| panic!("a family is a list: {json}"))
    }

    fn targets(&self, life: &Life) -> Vec<Value> {
        let mut family = self.family(&life.slug);
        family.retain(|stack| stack["env"] == "production");
        family
    }

    /// The final reads: all histories of the life, and the facts beyond them.
    pub(crate) fn histories(
        &self,
        mut life: Life,
        launches: Option<&Launches>,
        fences: Option<&Fences>,
    ) -> (Vec<Trial>, Vec<(Property, bool)>) {
        let status = self.observe(&mut life);
        let began_ns = now_ns();
        let audit = format!("/api/v1/audit?approval_id={}", life.id);
        let audit = self.clients.until_answered(get(&audit, &self.bearer)).json();
        let mut events = Vec::new();
        for event in audit["items"].as_array().expect("a list") {
            let kind = AuditKind::ALL.into_iter().find(|kind| event["kind"] == kind.as_str());
            let kind = kind.unwrap_or_else(|| panic!("{event} is an event"));
            events.push((kind, time(&event["at"]).expect("it has a time")));
        }
        let is_executed = |(kind, _): &&(AuditKind, Timestamp)| *kind == AuditKind::Executed;
        let executed = events.iter().filter(is_executed).count();
        if let Some(revoked) = events.iter().position(|(kind, _)| *kind == AuditKind::Revoked) {
            life.facts.push((Property::S20, events[revoked..].iter().any(|event| is_executed(&event))));
        }
        life.read(Action::Audit, began_ns, executed);
        let began_ns = now_ns();
        let targets = self.targets(&life);
        life.read(Action::Targets, began_ns, targets.len());
        life.read(Action::Settled, began_ns, targets.iter().all(|stack| stack["status"] != "building"));
        let image = |stack: &Value| stack["services"][0]["image_ref"].clone();
        // What was launched, or else what a target runs; one that was not approved first.
        let documents = launches.map(|launches| launches.documents.as_slice()).unwrap_or_default();
        let mut images: Vec<Value> = documents.iter().chain(&targets).map(image).collect();
        images.sort_by_key(|image| *image == life.image.as_str());
        if let Some(image) = images.first() {
            let approved = Some(life.image.clone().into());
            let details = Details { read: Some(image.clone()), approved, ..Details::default() };
            life.operations.push(done(Action::Payload, began_ns, details));
        }
        life.read(Action::Trace, began_ns, targets);
        life.read(Action::Effects, began_ns, launches.map_or(0, |launches| launches.count));

        life.seen.push(status);
        let left = |pair: &[Status]| pair[0].is_final() && pair[1] != pair[0];
        life.facts.push((Property::S9, life.seen.windows(2).any(left)));
        if life.is_overtaken {
            life.facts.push((Property::S22, status == Status::Executed));
        }
        if let Some(fences) = fences.filter(|fences| fences.stale_worker_tried()) {
            life.facts.push((Property::S14, fences.stale_worker_acted()));
        }
        // The expected status is the earlier one: approved, without a successful client.
        if life.twist == Twist::VaultLate && status == Status::Approved {
            self.mended(&mut life);
        }
        let mut operations = std::mem::take(&mut life.operations);
        operations.sort_by_key(|operation| operation.invoked_ns);
        life.trials.push(life.trial(operations));
        life.trials.push(audit::trial(&events, life.expires_at));
        (life.trials, life.facts)
    }
}

/// Those of the other generations show what several callers get who ask once.
fn repeats(generation: usize) -> bool {
    !generation.is_multiple_of(3) && !generation.is_multiple_of(2)
}

fn vault_key(number: usize) -> String {
    format!("KEY_{number}")
}

/// The last moment before a time.
fn ends(at: Timestamp) -> (u64, u64) {
    let at_ns = at.0.saturating_mul(1_000_000);
    (at_ns.saturating_sub(2), at_ns.saturating_sub(1))
}

/// The token that the operator was sent.
pub(crate) fn link(mail: &Path, id: &str) -> String {
    for _ in 0..3_000 {
        for file in std::fs::read_dir(mail).expect("it is there").flatten() {
            let text = std::fs::read_to_string(file.path())
                .unwrap_or_default()
                .replace("=\r\n", "")
                .replace("=\n", "");
            let token = text.split_once("/approve/").map(|(_, rest)| {
                let end = rest
                    .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            });
            if let Some(token) = token.filter(|_| text.contains(id)) {
                return token;
            }
        }
        pause(20);
    }
    panic!("no mail for {id} is ever written");
}
