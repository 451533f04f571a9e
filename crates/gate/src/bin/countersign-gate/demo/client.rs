//! A client that shows each request as a curl command, and the response.

use std::fmt::Write as _;

use owo_colors::OwoColorize;
use serde_json::Value;

use countersign_terminal::print_line;

/// A caller with a bearer token.
pub(super) struct Client {
    gate: String,
    bearer: String,
    agent: ureq::Agent,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: &'static str,
    /// The path, or all of a link.
    address: String,
    body: Option<Sent>,
    key: Option<&'static str>,
    /// Names of the fields to show, in order.
    shown: &'static [&'static str],
}

#[derive(Clone, Debug)]
enum Sent {
    Json(Value),
    Form(String),
}

/// A response.
pub(super) struct Answer {
    request: Request,
    status: u16,
    /// The headers to show.
    headers: Vec<String>,
    body: Value,
    /// The first heading, where it is a page.
    heading: Option<String>,
}

impl Request {
    pub(super) fn get(path: &str) -> Self {
        Self { method: "GET", address: path.to_owned(), body: None, key: None, shown: PROBLEM }
    }

    pub(super) fn post(path: &str, body: &Value) -> Self {
        Self { method: "POST", body: Some(Sent::Json(body.clone())), ..Self::get(path) }
    }

    pub(super) fn put(path: &str, body: &Value) -> Self {
        Self { method: "PUT", ..Self::post(path, body) }
    }

    pub(super) fn patch(path: &str, body: &Value) -> Self {
        Self { method: "PATCH", ..Self::post(path, body) }
    }

    /// A request for a page, without a token.
    pub(super) fn page(link: &str) -> Self {
        Self::get(link)
    }

    pub(super) fn decide(link: &str, decision: &str) -> Self {
        let body = Some(Sent::Form(format!("decision={decision}")));
        Self { method: "POST", body, ..Self::get(link) }
    }

    pub(super) fn key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    pub(super) fn show(self, shown: &'static [&'static str]) -> Self {
        Self { shown, ..self }
    }

    fn is_api(&self) -> bool {
        self.address.starts_with('/')
    }

    /// The equivalent curl command. A long line is continued on the next one.
    fn curl(&self) -> String {
        let mut line = "curl".to_owned();
        match (self.method, &self.body) {
            ("GET", _) | ("POST", Some(_)) => {}
            (method, _) => line = format!("{line} -X {method}"),
        }
        if self.is_api() {
            let _ = write!(line, " \"$GATE{}\" -H \"Authorization: Bearer $DEV\"", self.address);
        } else {
            let _ = write!(line, " {}", self.address);
        }
        if let Some(key) = self.key {
            let _ = write!(line, " -H 'Idempotency-Key: {key}'");
        }
        match &self.body {
            Some(Sent::Json(body)) => {
                let _ = write!(line, " \\\n      --json '{body}'");
            }
            Some(Sent::Form(body)) => {
                let _ = write!(line, " -d {body}");
            }
            None => {}
        }
        line
    }
}

impl Client {
    pub(super) fn new(gate: String, bearer: String) -> Self {
        let config = ureq::Agent::config_builder();
        let config = config.http_status_as_error(false).max_redirects(0).max_redirects_will_error(false);
        Self { gate, bearer, agent: config.build().new_agent() }
    }

    pub(super) fn gate(&self) -> &str {
        &self.gate
    }

    pub(super) fn bearer(&self) -> &str {
        &self.bearer
    }

    /// Asks, and shows both.
    pub(super) fn tell(&self, request: Request) -> Answer {
        let answer = self.ask(request);
        self.print(&answer);
        answer
    }

    /// Asks.
    pub(super) fn ask(&self, request: Request) -> Answer {
        let url = if request.is_api() {
            format!("{}{}", self.gate, request.address)
        } else {
            request.address.clone()
        };
        let mut asked = ureq::http::Request::builder().method(request.method).uri(url);
        if request.is_api() {
            asked = asked.header("authorization", format!("Bearer {}", self.bearer));
        }
        if let Some(key) = request.key {
            asked = asked.header("idempotency-key", key);
        }
        let (kind, body) = match &request.body {
            Some(Sent::Json(body)) => ("application/json", body.to_string()),
            Some(Sent::Form(body)) => ("application/x-www-form-urlencoded", body.clone()),
            None => ("", String::new()),
        };
        if !kind.is_empty() {
            asked = asked.header("content-type", kind);
        }
        let answered = asked.body(body).map_err(ureq::Error::from).and_then(|asked| self.agent.run(asked));
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => {
                let heading = Some(error.to_string());
                return Answer { request, status: 0, headers: Vec::new(), body: Value::Null, heading };
            }
        };
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(format!("{name}: {value}"))
        };
        let headers = ["idempotency-replayed", "retry-after"].into_iter().filter_map(header).collect();
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { request, status, headers, body, heading: heading(&text) }
    }

    /// Shows the request and the response.
    pub(super) fn print(&self, answer: &Answer) {
        print_line!("  {}", format!("$ {}", answer.request.curl()).cyan());
        let status = match answer.status {
            200..400 => answer.status.green().to_string(),
            400..500 => answer.status.yellow().to_string(),
            _ => answer.status.red().to_string(),
        };
        let mut line = status.bold().to_string();
        for header in &answer.headers {
            let _ = write!(line, "  {}", header.magenta());
        }
        if let Some(heading) = &answer.heading {
            let _ = write!(line, "  {}", format_args!("a page: {heading}").dimmed());
        }
        print_line!("  {line}");
        for name in answer.request.shown {
            let value = name.split('.').fold(&answer.body, |value, name| &value[name]);
            let name = name.rsplit('.').next().unwrap_or(name);
            match value {
                Value::Null => {}
                Value::Array(items) if items.iter().any(Value::is_object) => {
                    for item in items {
                        print_line!("    {}", in_a_line(item));
                    }
                }
                value => print_line!("    {} {}", format!("{name}:").dimmed(), in_a_line(value)),
            }
        }
        print_line!("");
    }
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn body(&self) -> &Value {
        &self.body
    }
}

/// The fields shown of a problem.
const PROBLEM: &[&str] = &["code", "approval_status", "consumed", "retryable", "detail"];

fn in_a_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(event) if event.contains_key("at") => {
            let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("{}  {:<27} {}", text("at"), text("kind"), text("by"))
        }
        value => value.to_string(),
    }
}

fn heading(page: &str) -> Option<String> {
    let after = page.split("<h1").nth(1)?.split_once('>')?.1;
    let inner = after.split("</h1>").next()?;
    let mut text = String::new();
    let mut in_tag = false;
    for letter in inner.chars() {
        match letter {
            '<' => in_tag = true,
            '>' => in_tag = false,
            letter if !in_tag => text.push(letter),
            _ => {}
        }
    }
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
