//! `countersign-gate demo`: a promote from beginning to end, on a temporary server, as a newcomer would do it with
//! curl.

mod client;
mod mail;

use std::{fs, path::Path, sync::Arc, thread, time::Duration};

use countersign::store::{Clock, Ids};
use countersign_gate::{
    http::{ClaimedPlan, Claims, Metrics, mint},
    instance::system_clock::{Secret, SecretIds, SystemClock},
};
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use self::client::{Answer, Client, Request};
use crate::{
    args::{DemoArgs, ServeArgs},
    serve::{
        self, Listeners, Signals,
        gate::Gate,
        settings::Settings,
        values::{Listen, MailAddress},
    },
};
use countersign_terminal::{BadInput, Exit, print_error, print_line};

const DEVELOPER: &str = "dev@example.com";
const APPROVED_IMAGE: &str = "registry.example.com/shop:1.4.2";
const OPERATOR: &str = "ops@example.com";

pub(crate) fn run(args: &DemoArgs) -> Result<Exit, BadInput> {
    let folder = tempfile::tempdir().map_err(|error| {
        BadInput::plain(&format!("no folder can be made for the demo: {error}"), "is the disk full?")
    })?;
    let runtime = serve::runtime()?;
    let ids = SecretIds::new(&Secret::new(""));
    let secret = Secret::new([ids.next().into_bytes(), ids.next().into_bytes()].concat());
    let team = ids.next();
    let gate = open(&runtime, folder.path(), &secret)?;
    let claims = Claims {
        team,
        email: Some(DEVELOPER.to_owned()),
        plan: Some(ClaimedPlan::Pro),
        admin: false,
        exp: SystemClock.now().0 / 1000 + 12 * 60 * 60,
        nbf: None,
        iat: None,
    };
    let client = Client::new(format!("http://{}", gate.address), mint(secret.as_bytes(), &claims));
    print_line!("{}", "A single-use approval gate, in a minute".bold());
    print_line!("on SQLite in {}, at {}", folder.path().display(), client.gate().cyan());
    let told = Story { client: &client, folder: folder.path() }.tell();
    let exit = match &told {
        Ok(()) => Exit::Expected,
        Err(unexpected) => {
            print_error!("{} {unexpected}", "unexpected:".red());
            Exit::Unexpected
        }
    };
    if args.keep {
        keep(&runtime, &client, folder.path())?;
    }
    runtime.block_on(gate.close());
    Ok(exit)
}

fn open(runtime: &Runtime, folder: &Path, secret: &Secret) -> Result<Gate, BadInput> {
    let args = ServeArgs {
        store: Some(format!("sqlite:{}", folder.join("countersign.db").display())),
        listen: Some(Listen("127.0.0.1:0".to_owned())),
        secret: Some(secret.clone()),
        mail_dir: Some(folder.join("mail")),
        operator: vec![MailAddress(OPERATOR.to_owned())],
        forbid_self_approval: Some(true),
        ..ServeArgs::default()
    };
    let settings = Settings::gather(&args)?;
    runtime.block_on(async {
        let listeners = Listeners::open(&settings).await?;
        let ids = Arc::new(SecretIds::new(secret));
        serve::open::open(&settings.store, ids.clone()).await?.open_gate(
            settings,
            ids,
            listeners,
            Metrics::new(),
        )
    })
}

/// Leaves it running until it is interrupted.
fn keep(runtime: &Runtime, client: &Client, folder: &Path) -> Result<(), BadInput> {
    print_line!("\n{}", "It goes on running, to play with (end with Ctrl-C):".bold());
    print_line!("  export GATE={}", client.gate());
    print_line!("  export DEV={}", client.bearer());
    print_line!("  mails are in {}", folder.join("mail").display());
    runtime.block_on(async {
        Signals::begin()?.wait().await;
        Ok(())
    })
}

/// The demo, act by act. Each act states the expected answer, and ends the demo on any other.
struct Story<'a> {
    client: &'a Client,
    folder: &'a Path,
}

type ActResult<T = ()> = Result<T, String>;

impl Story<'_> {
    fn tell(&self) -> ActResult {
        let source = self.deploy_to_development()?;
        let approval = self.ask_for_an_approval(&source)?;
        let link = self.the_mail(approval)?;
        self.look_and_approve(&link, approval)?;
        self.a_build_that_nobody_approved(&source, approval)?;
        let (key, target) = self.promote_twice_concurrently(&source, approval)?;
        self.ask_again(&source, approval, key, &target)?;
        self.healthy(approval)?;
        self.the_audit(approval)?;
        print_line!("\n{}", "One approval, one launch.".bold());
        print_line!("What the order of the steps promises, and how that is known: `countersign verify`.");
        Ok(())
    }

    fn deploy_to_development(&self) -> ActResult<String> {
        chapter("A shop runs in development", "only there is anything changed without an approval");
        let body = json!({
            "name": "shop", "env": "development",
            "services": [{ "name": "web", "image_ref": APPROVED_IMAGE, "port": 8080 }],
            "env_vars": { "DATABASE_URL": "vault:DATABASE_URL" },
        });
        let answer =
            self.client.tell(Request::post("/api/v1/stacks", &body).show(&["slug", "env", "status"]));
        let value = json!({ "value": "postgres://db.internal/shop" });
        self.client.tell(Request::put("/api/v1/vault/development/DATABASE_URL", &value)).expect(204)?;
        answer.expect(201)?.text("slug")
    }

    fn ask_for_an_approval(&self, source: &str) -> ActResult<Uuid> {
        chapter(
            "To production? A human has to approve",
            "without an approval the answer is 202: one was requested",
        );
        let path = format!("/api/v1/stacks/{source}/promote");
        let answer = self.client.tell(
            Request::post(&path, &json!({ "to": "production", "copy_vault": true })).show(&[
                "status",
                "approval_id",
                "expires_at",
            ]),
        );
        let approval = answer.expect(202)?.text("approval_id")?;
        approval.parse().map_err(|_| format!("{approval} is no approval's id"))
    }

    fn the_mail(&self, approval: Uuid) -> ActResult<String> {
        chapter("The operator gets a mail", "never the requester, where self-approval is forbidden");
        let file = self.folder.join("mail").join(format!("{approval}.eml"));
        let mail = eventually(|| fs::read_to_string(&file).ok()).ok_or("there is no mail")?;
        let notification = mail::Notification::read(&mail).ok_or("the mail cannot be read")?;
        print_line!("  {}", format!("$ cat mail/{approval}.eml").cyan());
        for line in notification.lines() {
            print_line!("  {} {line}", "│".dimmed());
        }
        notification.link().ok_or_else(|| "the mail has no link".to_owned())
    }

    fn look_and_approve(&self, link: &str, approval: Uuid) -> ActResult {
        chapter("Looking changes nothing, deciding happens once", "mail scanners follow links, too");
        self.client.tell(Request::page(link)).expect(200)?;
        self.status(approval, "pending")?;
        self.client.tell(Request::decide(link, "approve")).expect(303)?;
        self.client.tell(Request::decide(link, "reject")).expect(410)?;
        Ok(())
    }

    fn a_build_that_nobody_approved(&self, source: &str, approval: Uuid) -> ActResult {
        chapter(
            "A newer build is refused, and the approval is still good",
            "it is bound to what was asked for. Other orders of the same steps burn the approval here",
        );
        let service = format!("/api/v1/stacks/{source}/services/web");
        let build = |image: &str| {
            self.client.tell(Request::patch(&service, &json!({ "image_ref": image }))).expect(200).map(drop)
        };
        build("registry.example.com/shop:1.5.0-rc.1")?;
        let path = format!("/api/v1/stacks/{source}/promote");
        let failed = self.client.tell(Request::post(&path, &promote_with(approval))).expect(409)?;
        failed.is("code", "approval_payload_mismatch")?;
        failed.is("approval_status", "approved")?;
        build(APPROVED_IMAGE)
    }

    fn promote_twice_concurrently(&self, source: &str, approval: Uuid) -> ActResult<(&'static str, String)> {
        chapter("Two promote at the same moment", "one wins; the other one gets a 409: the approval is used");
        let path = format!("/api/v1/stacks/{source}/promote");
        let body = promote_with(approval);
        let requests = ["pipeline-41", "pipeline-42"]
            .map(|key| (key, Request::post(&path, &body).key(key).show(PROMOTED)));
        let answers = thread::scope(|scope| {
            let asked = requests.map(|(key, request)| (key, scope.spawn(|| self.client.ask(request))));
            asked.map(|(key, thread)| (key, thread.join()))
        });
        let mut winner = None;
        for (key, answer) in answers {
            let answer = answer.map_err(|_| "a caller panicked")?;
            self.client.print(&answer);
            match answer.status() {
                202 if winner.is_none() => winner = Some((key, answer.text("stack_id")?)),
                409 => answer.is("consumed", true)?,
                other => return Err(format!("{key} was answered with {other}")),
            }
        }
        winner.ok_or_else(|| "no request won".to_owned())
    }

    fn ask_again(&self, source: &str, approval: Uuid, key: &'static str, target: &str) -> ActResult {
        chapter(
            "The winner's answer was lost, so it asks again",
            "the same Idempotency-Key is given the same outcome, and nothing happens",
        );
        let path = format!("/api/v1/stacks/{source}/promote");
        let body = promote_with(approval);
        let answer = self.client.tell(Request::post(&path, &body).key(key).show(PROMOTED)).expect(202)?;
        answer.is("stack_id", target)
    }

    fn healthy(&self, approval: Uuid) -> ActResult {
        chapter(
            "A worker has launched it",
            "from the outbox, under the approval's id: after a crash another one would",
        );
        let path = format!("/api/v1/approvals/{approval}");
        let done = eventually(|| {
            let shown = &["status", "approved_at", "executed_at", "outcome.status"];
            let answer = self.client.ask(Request::get(&path).show(shown));
            (answer.body()["outcome"]["status"] == "healthy").then_some(answer)
        });
        self.client.print(&done.ok_or("it is not healthy")?);
        Ok(())
    }

    fn the_audit(&self, approval: Uuid) -> ActResult {
        chapter("And it is all written down", "each event in the same transaction as what it tells");
        let path = format!("/api/v1/audit?approval_id={approval}");
        let answer = self.client.tell(Request::get(&path).show(&["items"])).expect(200)?;
        let items = answer.body()["items"].as_array().map_or(0, Vec::len);
        if items == 3 { Ok(()) } else { Err(format!("there are {items} events, and should be 3")) }
    }

    fn status(&self, approval: Uuid, expected: &str) -> ActResult {
        let answer = self.client.ask(Request::get(&format!("/api/v1/approvals/{approval}")));
        print_line!("  {} {expected}", "the approval is still".dimmed());
        answer.is("status", expected)
    }
}

/// A promote that uses this approval.
fn promote_with(approval: Uuid) -> Value {
    json!({ "to": "production", "copy_vault": true, "approval_id": approval })
}

/// What a promote's answer tells, whether it won or lost.
const PROMOTED: &[&str] =
    &["action", "env", "stack_id", "status", "code", "approval_status", "consumed", "retryable"];

impl Answer {
    fn expect(self, status: u16) -> ActResult<Self> {
        match self.status() {
            found if found == status => Ok(self),
            found => Err(format!("{found}, expected {status}")),
        }
    }

    fn text(&self, name: &str) -> ActResult<String> {
        let text = self.body()[name].as_str().map(str::to_owned);
        text.ok_or_else(|| format!("the answer has no {name}"))
    }

    fn is(&self, name: &str, expected: impl Into<Value>) -> ActResult {
        let expected = expected.into();
        match &self.body()[name] {
            found if *found == expected => Ok(()),
            found => Err(format!("{name} is {found}, expected {expected}")),
        }
    }
}

fn chapter(title: &str, explanation: &str) {
    print_line!("\n{} {}", "▌".green(), title.bold());
    print_line!("  {}\n", explanation.dimmed());
}

/// Polls until there is a result; `None` after the time limit.
fn eventually<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    (0..400).find_map(|_| {
        look().or_else(|| {
            thread::sleep(Duration::from_millis(25));
            None
        })
    })
}
