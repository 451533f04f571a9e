//! Clients: ask, and ask again until the answer is a definite one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde_json::Value;

use crate::instance::Instance;

/// A response, or none.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn text(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..400).contains(&self.status)
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) bearer: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    None,
    Json(&'a Value),
    Form(&'a str),
}

/// The clients of the instances.
pub(crate) struct Clients {
    agent: ureq::Agent,
    instances: Arc<Vec<Instance>>,
    next: AtomicUsize,
    /// All that was ever answered, but for the approval's page: no token may be in it.
    pub(crate) heard: Mutex<Vec<u8>>,
}

/// Number of polls before giving up.
const PATIENCE: usize = 2_000;

impl Clients {
    pub(crate) fn new(instances: Arc<Vec<Instance>>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(10)));
        Self {
            agent: config.build().into(),
            instances,
            next: AtomicUsize::new(0),
            heard: Mutex::new(Vec::new()),
        }
    }

    /// Sends it to one of the instances; `None` for an unknown outcome.
    pub(crate) fn once(&self, call: Call<'_>) -> Option<Answer> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let address = self.instances[turn % self.instances.len()].address();
        let mut request =
            ureq::http::Request::builder().method(call.method).uri(format!("http://{address}{}", call.path));
        if let Some(bearer) = call.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
        }
        if call.method == "PUT" {
            // Production's vault is changed without an approval.
            request = request.header("break-glass", "a key is missing");
        }
        let (kind, body) = match call.body {
            Body::None => (None, String::new()),
            Body::Json(value) => (Some("application/json"), value.to_string()),
            Body::Form(form) => (Some("application/x-www-form-urlencoded"), form.to_owned()),
        };
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(body).expect("a request can be made");
        let mut response = self.agent.run(request).ok()?;
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().ok()?;
        if !call.path.starts_with("/approve/") {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.extend_from_slice(body.as_bytes());
        }
        Some(Answer { status, body })
    }

    /// Sends it again until it is answered by something else than a 5xx or "in flight".
    pub(crate) fn until_answered(&self, call: Call<'_>) -> Answer {
        self.insist(call, |_, _| {})
    }

    /// As [`until_answered`](Self::until_answered), and hands over each attempt: when it began, and its answer.
    pub(crate) fn insist(&self, call: Call<'_>, mut each: impl FnMut(u64, Option<&Answer>)) -> Answer {
        for _ in 0..PATIENCE {
            let began_ns = now_ns();
            match self.once(call) {
                Some(answer)
                    if answer.text("code") == "idempotency_key_in_flight" || answer.status == 429 => {}
                Some(answer) if answer.status < 500 => {
                    each(began_ns, Some(&answer));
                    return answer;
                }
                unknown => each(began_ns, unknown.as_ref()),
            }
            pause(20);
        }
        panic!("{} {} is never answered", call.method, call.path);
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
    u64::try_from(since.as_nanos()).expect("it is before 2554")
}

/// Waits. Nothing depends on how long.
pub(crate) fn pause(ms: u64) {
    let (_nobody, never) = mpsc::channel::<()>();
    never.recv_timeout(Duration::from_millis(ms)).ok();
}
