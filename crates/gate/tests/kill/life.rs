//! The life of one approval: requested, decided, and used by several clients concurrently, during kills.

use std::{path::Path, sync::atomic::Ordering, thread};

use countersign::{
    protocol::{Status, Timestamp},
    store::AuditKind,
};
use countersign_models::{
    observation::{Client, Observation, Response},
    properties::ExtraFacts,
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Body, Call, pause},
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
}

impl Twist {
    pub(crate) const ALL: [Self; 7] = [
        Self::None,
        Self::Vault,
        Self::VaultLate,
        Self::Drift,
        Self::Contested,
        Self::Expires,
        Self::LeaseEnds,
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
    observation: Observation,
    /// Outcome of the fresh promotion after a failed preflight, if one was made.
    fresh_succeeds: Option<bool>,
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
    fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Answer {
        let bearer = Some(self.bearer.as_str());
        self.clients.until_answered(Call { method: "POST", path, bearer, key, body: Body::Json(body) })
    }

    fn status_now(&self, id: &str) -> Status {
        let answer = self.clients.until_answered(get(&format!("/api/v1/approvals/{id}"), &self.bearer));
        assert_eq!(answer.status, 200, "{}", answer.body);
        status(&answer.text("status"))
    }

    fn stack(&self, name: &str, env_vars: &Value) -> String {
        let services = json!([{"name": "web", "image_ref": format!("{name}:1"), "port": 80, "expose": true}]);
        let body = json!({"name": name, "env": "development", "services": services, "env_vars": env_vars});
        let created = self.post("/api/v1/stacks", None, &body);
        assert_eq!(created.status, 201, "{}", created.body);
        created.text("slug")
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
        let slug = self.stack(&name, &variables);
        let other = self.stack(&format!("other-{number}"), &json!({}));
        let path = format!("/api/v1/stacks/{slug}/promote");
        let wish = json!({"from": "development", "to": "production"});
        let asked = self.post(&path, Some(&format!("ask-{number}")), &wish);
        assert_eq!(asked.status, 202, "{}", asked.body);
        let id = asked.text("approval_id");
        let mut life = Life {
            token: link(&self.service.home.join("mail"), &id),
            slug: slug.clone(),
            image: format!("{name}:1"),
            number,
            twist,
            observation: Observation {
                status: Status::Pending,
                expires_at: time(&asked.json()["expires_at"]).expect("it ends"),
                window_passed: false,
                drifted: twist == Twist::Drift,
                seen: vec![Status::Pending],
                events: Vec::new(),
                clients: Vec::new(),
                targets: 0,
                wrote: false,
                building: 0,
                launches: 0,
                launched_other: false,
                disturbed: false,
                extra: ExtraFacts::default(),
            },
            fresh_succeeds: None,
            id,
        };
        self.look(&mut life);
        self.strangers(&mut life, number);
        self.decide(&mut life, twist);
        let began_on_approved = life.observation.seen.last() == Some(&Status::Approved);
        match twist {
            Twist::Drift => {
                let bearer = Some(self.bearer.as_str());
                let image = json!({"image_ref": format!("{name}:2")});
                let path = format!("/api/v1/stacks/{slug}/services/web");
                let call = Call { method: "PATCH", path: &path, bearer, key: None, body: Body::Json(&image) };
                assert_eq!(self.clients.until_answered(call).status, 200);
            }
            Twist::Expires => life.observation.expires_at = self.expire_soon(&life.id),
            Twist::None | Twist::Vault | Twist::VaultLate | Twist::Contested | Twist::LeaseEnds => {}
        }
        let kills = self.service.kills.load(Ordering::SeqCst);
        // In every other life of a kind the last one asks for something else than was approved.
        let last = if (number / Twist::ALL.len()).is_multiple_of(2) { &slug } else { &other };
        let slugs: Vec<&str> =
            (0..CLIENTS).map(|at| if at + 1 < CLIENTS { slug.as_str() } else { last }).collect();
        life.observation.clients = if twist == Twist::LeaseEnds {
            self.while_its_lease_ends(&life.id, || self.race(&life.id, number, &slugs, began_on_approved))
        } else {
            self.race(&life.id, number, &slugs, began_on_approved)
        };
        if twist == Twist::Vault {
            let fresh = self.mended(&life);
            if began_on_approved {
                life.fresh_succeeds = Some(succeeded(&fresh));
            }
            life.observation.clients.push(fresh);
        }
        let answers = life.observation.clients.iter().flat_map(|client| &client.told);
        let unsure = answers.into_iter().any(|told| *told == Response::Nothing);
        life.observation.disturbed = unsure || self.service.kills.load(Ordering::SeqCst) != kills;
        life.observation.seen.push(self.status_now(&life.id));
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
    fn mended(&self, life: &Life) -> Client {
        let bearer = Some(self.administrator.as_str());
        let path = format!("/api/v1/vault/production/{}", vault_key(life.number));
        let body = json!({"value": "secret"});
        let call = Call { method: "PUT", path: &path, bearer, key: None, body: Body::Json(&body) };
        let answer = self.clients.until_answered(call);
        assert_eq!(answer.status, 204, "{}", answer.body);
        let before = self.status_now(&life.id) == Status::Approved;
        let mut fresh = self.race(&life.id, life.number + 1_000_000, &[life.slug.as_str()], before);
        fresh.remove(0)
    }

    /// Opens the link, as mail scanners do.
    fn look(&self, life: &mut Life) {
        let path = format!("/approve/{}", life.token);
        for method in ["GET", "HEAD"] {
            let call = Call { method, path: &path, bearer: None, key: None, body: Body::None };
            assert_eq!(self.clients.until_answered(call).status, 200, "{method} of the link");
        }
        life.observation.extra.looked_at = true;
        life.observation.extra.moved_by_a_look = self.status_now(&life.id) != Status::Pending;
    }

    /// Another team asks for it, and for one that does not exist.
    fn strangers(&self, life: &mut Life, number: usize) {
        let unknown = format!("00000000-0000-4000-8000-{number:012}");
        let told = |id: &str| {
            let paths = [format!("/api/v1/approvals/{id}"), format!("/api/v1/audit?approval_id={id}")];
            paths.map(|path| {
                let answer = self.clients.until_answered(get(&path, &self.stranger));
                (answer.status, answer.body.replace(id, "ID"))
            })
        };
        life.observation.extra.other_tenant_asked = true;
        life.observation.extra.other_tenant_answered = told(&life.id) != told(&unknown);
    }

    fn decide(&self, life: &mut Life, twist: Twist) {
        let path = format!("/approve/{}", life.token);
        let form = Call {
            method: "POST",
            path: &path,
            bearer: None,
            key: None,
            body: Body::Form("decision=approve"),
        };
        let reject = format!("/api/v1/admin/promotions/{}/reject", life.id);
        thread::scope(|scope| {
            scope.spawn(|| {
                let answer = self.clients.until_answered(form);
                assert!(matches!(answer.status, 303 | 410), "{} {}", answer.status, answer.body);
            });
            if twist == Twist::Contested {
                scope.spawn(|| {
                    let bearer = Some(self.administrator.as_str());
                    let call = Call { method: "POST", path: &reject, bearer, key: None, body: Body::None };
                    let answer = self.clients.until_answered(call);
                    assert!(matches!(answer.status, 200 | 409), "{} {}", answer.status, answer.body);
                });
            }
        });
        life.observation.seen.push(self.status_now(&life.id));
    }

    /// Concurrent clients that use the approval, each with its own key. A successful client repeats its request.
    fn race(&self, id: &str, number: usize, slugs: &[&str], began_on_approved: bool) -> Vec<Client> {
        let body = json!({"from": "development", "to": "production", "approval_id": id});
        let foreign = |at: usize| slugs[at] != slugs[0];
        thread::scope(|scope| {
            let body = &body;
            let clients: Vec<_> = (0..slugs.len())
                .map(|at| {
                    scope.spawn(move || {
                        let (path, key) =
                            (format!("/api/v1/stacks/{}/promote", slugs[at]), format!("use-{number}-{at}"));
                        let bearer = Some(self.bearer.as_str());
                        let call = Call {
                            method: "POST",
                            path: &path,
                            bearer,
                            key: Some(&key),
                            body: Body::Json(body),
                        };
                        let mut told = Vec::new();
                        if self.clients.insist(call, &mut told).is_success() {
                            self.clients.insist(call, &mut told);
                        }
                        Client { foreign: foreign(at), began_on_approved, told }
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
        })
    }

    /// True once its deploy, if any, is over.
    pub(crate) fn is_at_rest(&self, life: &Life) -> bool {
        let family = self.family(life);
        let building = family.iter().any(|stack| stack["status"] == "building");
        let launched = sink::launches(&self.service.home.join("sink")).contains_key(&life.id);
        !building && (launched || self.status_now(&life.id) != Status::Executed)
    }

    fn family(&self, life: &Life) -> Vec<Value> {
        let path = format!("/api/v1/stacks/{}/family", life.slug);
        let answer = self.clients.until_answered(get(&path, &self.bearer));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let json = answer.json();
        let members =
            json.as_array().or_else(|| json["items"].as_array()).or_else(|| json["stacks"].as_array());
        members.cloned().unwrap_or_else(|| panic!("a family is a list: {json}"))
    }

    /// The final observations.
    pub(crate) fn observation(
        &self,
        mut life: Life,
        launches: Option<&Launches>,
        fences: Option<&Fences>,
    ) -> (String, Observation, Option<bool>) {
        let answer =
            self.clients.until_answered(get(&format!("/api/v1/approvals/{}", life.id), &self.bearer));
        let audit = format!("/api/v1/audit?approval_id={}", life.id);
        let audit = self.clients.until_answered(get(&audit, &self.bearer)).json();
        let observation = &mut life.observation;
        observation.status = status(&answer.text("status"));
        let expires_at = time(&answer.json()["expires_at"]).expect("it ends");
        observation.window_passed = expires_at.0 <= crate::kill::now().0;
        observation.expires_at = expires_at;
        for event in audit["items"].as_array().expect("a list") {
            let kind = AuditKind::ALL.into_iter().find(|kind| event["kind"] == kind.as_str());
            let kind = kind.unwrap_or_else(|| panic!("{event} is an event"));
            observation.events.push((kind, time(&event["at"]).expect("it has a time")));
        }
        let family = self.family(&life);
        let targets: Vec<_> = family.iter().filter(|stack| stack["env"] == "production").collect();
        let observation = &mut life.observation;
        observation.targets = targets.len();
        observation.wrote = !targets.is_empty();
        observation.building = targets.iter().filter(|stack| stack["status"] == "building").count();
        let runs_other = targets.iter().any(|stack| stack["services"][0]["image_ref"] != life.image.as_str());
        observation.extra.other_services = runs_other;
        if let Some(launches) = launches {
            observation.launches = launches.count;
            let other = |document: &Value| document["services"][0]["image_ref"] != life.image.as_str();
            observation.launched_other = launches.documents.iter().any(other);
        }
        if let Some(fences) = fences {
            observation.extra.stale_worker_tried = fences.stale_worker_tried();
            observation.extra.stale_worker_acted = fences.stale_worker_acted();
        }
        observation.extra.searched = true;
        observation.extra.token_found = self.exposed(&life.token);
        // The expected status is the earlier one: approved, without a successful client.
        if life.twist == Twist::VaultLate && life.observation.status == Status::Approved {
            life.fresh_succeeds = Some(succeeded(&self.mended(&life)));
        }
        (format!("{} {:?}", life.id, life.observation), life.observation.clone(), life.fresh_succeeds)
    }
}

fn vault_key(number: usize) -> String {
    format!("KEY_{number}")
}

fn succeeded(client: &Client) -> bool {
    matches!(client.told.last(), Some(Response::Success(..)))
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
