//! From the text of a target file to a [`Target`].

use std::{ops::Range, path::Path, time::Duration};

use regex_lite::Regex;
use serde_json_path::JsonPath;
use toml::de::DeTable;

use super::{
    BaseUrl, Body, Change, Counter, Database, Observe, Problem, Promise, Request, Service, Target, Usage,
    table::{Table, Value, json, problem, shortened, string, wrong_type},
};
use crate::template::{Capture, Template};

/// The longest target file.
pub const MAX_BYTES: usize = 1 << 20;

const REQUEST: &[&str] = &["request", "json", "form", "body", "headers", "capture"];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const ROLES: &[&str] = &[
    "about",
    "base_url",
    "ca",
    "headers",
    "object",
    "arrange",
    "use",
    "observe",
    "effects",
    "audit",
    "targets",
    "trace",
    "settled",
    "approve",
    "requester",
    "reject",
    "expire",
    "drift",
    "spoil",
    "mend",
    "other_owner",
    "safe_links",
    "service",
    "database",
];

/// Reads a target file. `folder` is where it is.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(bytes: &[u8], folder: &Path) -> Result<Target, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(problem(
            0..0,
            format!("{} bytes", bytes.len()),
            format!("at most {MAX_BYTES} bytes"),
            None,
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        problem(at..at + 1, "a byte that is not UTF-8", "a text file", None)
    })?;
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        problem(span, error.message().lines().next().unwrap_or_default(), "TOML", None)
    })?;
    let root = Table::of(document.get_ref(), 0..0);
    root.only(ROLES, "a target file")?;
    let usage = usage(&required(&root, "use")?)?;
    let arrange = match root.table("arrange")? {
        Some(table) => arrange(&table)?,
        None => return Err(missing(&root, "arrange", "makes a fresh object for each race")),
    };
    let effects = root.table("effects")?;
    let target = Target {
        about: root.text("about")?.map(str::to_owned),
        base_url: base_url(&root)?,
        ca: root.text("ca")?.map(|file| folder.join(file)),
        promise: promise(&root)?,
        headers: headers(&root, "headers")?,
        arrange,
        usage,
        observe: root.table("observe")?.map(|table| observe(&table, "used")).transpose()?,
        payload: effects.as_ref().map(payload).transpose()?.flatten(),
        effects: effects.map(|table| counter(&table, "effects", "count")).transpose()?,
        audit: root.table("audit")?.map(|table| counter(&table, "audit", "count")).transpose()?,
        targets: root.table("targets")?.map(|table| counter(&table, "targets", "count")).transpose()?,
        trace: root.table("trace")?.map(|table| counter(&table, "trace", "value")).transpose()?,
        settled: root.table("settled")?.map(|table| observe(&table, "when")).transpose()?,
        approve: changes(&root, "approve")?,
        requester: only_headers(&root, "requester")?,
        reject: changes(&root, "reject")?,
        expire: changes(&root, "expire")?,
        drift: changes(&root, "drift")?,
        spoil: changes(&root, "spoil")?,
        mend: changes(&root, "mend")?,
        other_owner: only_headers(&root, "other_owner")?,
        safe_links: templates(&root, "safe_links")?,
        service: root.table("service")?.map(|table| service(&table)).transpose()?,
        database: root.table("database")?.map(|table| database(&table)).transpose()?,
        folder: folder.to_owned(),
    };
    agree(&root, target)
}

/// Refuses roles that need another one.
fn agree(root: &Table<'_>, mut target: Target) -> Result<Target, Problem> {
    target.promise.conflict = match root.table("use")? {
        Some(table) => statuses(&table, "conflict")?,
        None => Vec::new(),
    };
    if target.requester.is_some() && target.approve.is_none() {
        return Err(missing(root, "approve", "`requester` says who must not approve"));
    }
    if let Some(ca) = root.get("ca")
        && !target.base_url.is_encrypted
    {
        return Err(problem(
            ca.span(),
            "`ca` for a service without encryption",
            "a `base_url` with https",
            None,
        ));
    }
    if target.mend.is_some() && target.spoil.is_none() {
        return Err(missing(root, "spoil", "`mend` repairs what it did"));
    }
    Ok(target)
}

fn missing(root: &Table<'_>, role: &str, why: &str) -> Problem {
    let help = Some(format!("`{role}`: {why}; `countersign help targets` shows an example"));
    problem(root.span(), format!("no table `[{role}]`"), format!("`[{role}]`"), help)
}

fn required<'t>(root: &Table<'t>, role: &str) -> Result<Table<'t>, Problem> {
    root.table(role)?.ok_or_else(|| missing(root, role, "the request that must succeed at most once"))
}

fn base_url(root: &Table<'_>) -> Result<BaseUrl, Problem> {
    let Some(value) = root.get("base_url") else {
        return Err(problem(root.span(), "no `base_url`", "`base_url = \"http://127.0.0.1:3000\"`", None));
    };
    let text = string(value)?;
    BaseUrl::parse(text).ok_or_else(|| {
        let found = format!("\"{}\"", shortened(text));
        problem(value.span(), found, "a URL such as \"http://127.0.0.1:3000\"", None)
    })
}

fn promise(root: &Table<'_>) -> Result<Promise, Problem> {
    let mut promise = Promise::default();
    let Some(table) = root.table("object")? else { return Ok(promise) };
    table.only(&["noun", "uses", "approvers", "failed_attempt"], "`[object]`")?;
    if let Some(noun) = table.get("noun") {
        let text = string(noun)?;
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(problem(
                noun.span(),
                "a noun that cannot be printed",
                "a word such as \"coupon\"",
                None,
            ));
        }
        promise.noun = text.to_owned();
    }
    promise.uses = table.integer("uses", 1..4)?.unwrap_or(1);
    promise.approvers = table.integer("approvers", 1..4)?.unwrap_or(1);
    if let Some(value) = table.get("failed_attempt") {
        promise.burn = match string(value)? {
            "keep" => false,
            "burn" => true,
            other => {
                let found = format!("\"{}\"", shortened(other));
                return Err(problem(value.span(), found, "\"keep\" or \"burn\"", None));
            }
        };
    }
    Ok(promise)
}

fn arrange(table: &Table<'_>) -> Result<Vec<Request>, Problem> {
    if table.get("request").is_some() {
        table.only(REQUEST, "`[arrange]`")?;
        return Ok(vec![request(table)?]);
    }
    table.only(&["steps"], "`[arrange]`")?;
    let steps = table.tables("steps")?.unwrap_or_default();
    if steps.is_empty() {
        return Err(problem(table.span(), "no steps", "`steps = [{ request = \"POST /cards\" }]`", None));
    }
    steps
        .iter()
        .map(|step| {
            step.only(REQUEST, "a step")?;
            request(step)
        })
        .collect()
}

fn usage(table: &Table<'_>) -> Result<Usage, Problem> {
    let keys = [REQUEST, &["success", "conflict", "key_header"]].concat();
    table.only(&keys, "`[use]`")?;
    Ok(Usage {
        request: request(table)?,
        success: statuses(table, "success")?,
        key_header: table.text("key_header")?.map(str::to_owned),
    })
}

fn statuses(table: &Table<'_>, key: &str) -> Result<Vec<u16>, Problem> {
    let statuses = table.integers(key, 100..600)?.unwrap_or_default();
    Ok(statuses.into_iter().filter_map(|status| u16::try_from(status).ok()).collect())
}

fn request(table: &Table<'_>) -> Result<Request, Problem> {
    let Some(value) = table.get("request") else {
        return Err(problem(table.span(), "no `request`", "`request = \"POST /redeem\"`", None));
    };
    let line = string(value)?;
    let expected = "a method and a path such as \"POST /redeem\"";
    let malformed = |help| problem(value.span(), format!("\"{}\"", shortened(line)), expected, help);
    let (method, path) = line.split_once(' ').ok_or_else(|| malformed(None))?;
    if !METHODS.contains(&method) {
        return Err(malformed(super::table::closest(method, METHODS)));
    }
    if !path.starts_with('/') || path.contains([' ', '#']) || path.chars().any(char::is_control) {
        return Err(malformed(None));
    }
    Ok(Request {
        method: method.to_owned(),
        path: template(path, value.span())?,
        headers: headers(table, "headers")?,
        body: body(table)?,
        capture: captures(table)?,
    })
}

fn body(table: &Table<'_>) -> Result<Body, Problem> {
    let given: Vec<&str> =
        ["json", "form", "body"].into_iter().filter(|key| table.get(key).is_some()).collect();
    if let [_, second, ..] = given.as_slice() {
        let span = table.get(second).map_or(table.span(), toml::Spanned::span);
        return Err(problem(span, format!("`{}` and `{second}`", given[0]), "one body", None));
    }
    if let Some(value) = table.get("json") {
        let document = json(value)?;
        check_json(&document, value.span())?;
        return Ok(Body::Json(document));
    }
    if table.get("form").is_some() {
        return Ok(Body::Form(headers(table, "form")?));
    }
    Ok(match table.get("body") {
        Some(value) => Body::Raw(template(string(value)?, value.span())?),
        None => Body::Empty,
    })
}

fn check_json(value: &serde_json::Value, span: Range<usize>) -> Result<(), Problem> {
    match value {
        serde_json::Value::String(text) => template(text, span).map(drop),
        serde_json::Value::Array(items) => items.iter().try_for_each(|item| check_json(item, span.clone())),
        serde_json::Value::Object(map) => map.values().try_for_each(|item| check_json(item, span.clone())),
        _ => Ok(()),
    }
}

fn template(text: &str, span: Range<usize>) -> Result<Template, Problem> {
    Template::parse(text)
        .map_err(|(at, expected)| problem(span, format!("\"{}\"", shortened(&text[at..])), expected, None))
}

fn headers(table: &Table<'_>, key: &str) -> Result<Vec<(String, Template)>, Problem> {
    let Some(headers) = table.table(key)? else { return Ok(Vec::new()) };
    pairs(&headers, key != "form")
}

fn pairs(table: &Table<'_>, tokens: bool) -> Result<Vec<(String, Template)>, Problem> {
    let mut pairs = Vec::new();
    for entry in table.entries() {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if tokens && (entry.key.is_empty() || !entry.key.chars().all(token)) {
            let found = format!("`{}`", shortened(entry.key));
            return Err(problem(entry.key_span.clone(), found, "the name of a header", None));
        }
        let text = crate::template::plain(&json(entry.value)?);
        if tokens && text.contains(['\r', '\n']) {
            return Err(problem(entry.value.span(), "a line end in a header", "one line", None));
        }
        pairs.push((entry.key.to_owned(), template(&text, entry.value.span())?));
    }
    Ok(pairs)
}

fn captures(table: &Table<'_>) -> Result<Vec<(String, Capture)>, Problem> {
    let Some(captures) = table.table("capture")? else { return Ok(Vec::new()) };
    captures.entries().iter().map(|entry| Ok((entry.key.to_owned(), capture(entry.value)?))).collect()
}

fn capture(value: Value<'_>) -> Result<Capture, Problem> {
    if value.get_ref().as_str().is_some() {
        return Ok(Capture::Path(json_path(value)?));
    }
    let Ok(table) = Table::from_value(value) else {
        return Err(wrong_type(value, "a JSONPath such as \"$.code\", or { regex = \"…\", header = \"…\" }"));
    };
    table.only(&["regex", "header"], "a capture")?;
    let header = table.text("header")?.map(str::to_owned);
    let pattern = match table.get("regex") {
        Some(value) => Regex::new(string(value)?).map_err(|error| {
            problem(value.span(), format!("a bad expression: {error}"), "a regular expression", None)
        })?,
        None if header.is_some() => Regex::new("(?s).*")
            .map_err(|error| problem(value.span(), error.to_string(), "an expression", None))?,
        None => return Err(problem(value.span(), "an empty capture", "`regex`, `header`, or both", None)),
    };
    Ok(Capture::Pattern { header, pattern })
}

fn json_path(value: Value<'_>) -> Result<JsonPath, Problem> {
    let text = string(value)?;
    parse_path(text, value.span())
}

fn parse_path(text: &str, span: Range<usize>) -> Result<JsonPath, Problem> {
    JsonPath::parse(text).map_err(|error| {
        let found = format!("\"{}\" ({error})", shortened(text));
        problem(span, found, "a JSONPath (RFC 9535, without functions) such as \"$.code\"", None)
    })
}

fn observe(table: &Table<'_>, condition: &str) -> Result<Observe, Problem> {
    let status = format!("{condition}_status");
    table.only(&[REQUEST, &[condition, &status]].concat(), "an observation")?;
    let mut when = Vec::new();
    if let Some(conditions) = table.table(condition)? {
        for entry in conditions.entries() {
            when.push((parse_path(entry.key, entry.key_span.clone())?, json(entry.value)?));
        }
    }
    let when_status = statuses(table, &status)?;
    if when.is_empty() && when_status.is_empty() {
        let expected = format!("`{condition} = {{ \"$.state\" = \"…\" }}` or `{status} = [404]`");
        return Err(problem(table.span(), format!("no `{condition}`"), expected, None));
    }
    Ok(Observe { request: request(table)?, when, when_status })
}

fn counter(table: &Table<'_>, role: &str, path: &str) -> Result<Counter, Problem> {
    let keys: Vec<&str> = match role {
        "effects" => [REQUEST, &[path, "payload", "sql", "sink"]].concat(),
        _ => [REQUEST, &[path, "sql"]].concat(),
    };
    table.only(&keys, &format!("`[{role}]`"))?;
    if let Some(value) = table.get("sql") {
        return Ok(Counter::Sql(template(string(value)?, value.span())?));
    }
    if table.flag("sink")? == Some(true) {
        return Ok(Counter::Sink);
    }
    let found = table.get(path).map(json_path).transpose()?;
    if found.is_none() && path == "count" {
        let expected = "`count = \"$.entries\"` with a `request`, or `sql`";
        return Err(problem(table.span(), format!("no `{path}`"), expected, None));
    }
    Ok(Counter::Request { request: request(table)?, path: found })
}

fn payload(effects: &Table<'_>) -> Result<Option<Counter>, Problem> {
    let Some(value) = effects.get("payload") else { return Ok(None) };
    let path = Some(json_path(value)?);
    Ok(Some(Counter::Request { request: request(effects)?, path }))
}

fn changes(root: &Table<'_>, role: &str) -> Result<Option<Vec<Change>>, Problem> {
    let Some(table) = root.table(role)? else { return Ok(None) };
    let steps = match table.tables("steps")? {
        Some(steps) => {
            table.only(&["steps"], &format!("`[{role}]`"))?;
            steps.iter().map(|step| change(step, role)).collect::<Result<Vec<_>, _>>()?
        }
        None => vec![change(&table, role)?],
    };
    Ok(Some(steps))
}

fn change(table: &Table<'_>, role: &str) -> Result<Change, Problem> {
    table.only(&[REQUEST, &["sql", "wait_ms"]].concat(), &format!("`[{role}]`"))?;
    if let Some(value) = table.get("sql") {
        return Ok(Change::Sql(template(string(value)?, value.span())?));
    }
    if let Some(wait) = table.integer("wait_ms", 1..60_001)? {
        return Ok(Change::Wait(Duration::from_millis(wait)));
    }
    Ok(Change::Request(request(table)?))
}

fn only_headers(root: &Table<'_>, role: &str) -> Result<Option<Vec<(String, Template)>>, Problem> {
    let Some(table) = root.table(role)? else { return Ok(None) };
    table.only(&["headers"], &format!("`[{role}]`"))?;
    let found = headers(&table, "headers")?;
    if found.is_empty() {
        return Err(problem(table.span(), "no headers", "`headers = { Authorization = \"…\" }`", None));
    }
    Ok(Some(found))
}

fn templates(root: &Table<'_>, key: &str) -> Result<Vec<Template>, Problem> {
    let span = root.get(key).map_or(root.span(), toml::Spanned::span);
    let texts = root.texts(key)?.unwrap_or_default();
    texts
        .into_iter()
        .map(|text| {
            if text.starts_with('/') {
                template(text, span.clone())
            } else {
                Err(problem(
                    span.clone(),
                    format!("\"{}\"", shortened(text)),
                    "a path that begins with `/`",
                    None,
                ))
            }
        })
        .collect()
}

fn service(table: &Table<'_>) -> Result<Service, Problem> {
    table.only(&["start", "env", "ready", "ready_within_ms", "lease_ms"], "`[service]`")?;
    let span = table.get("start").map_or(table.span(), toml::Spanned::span);
    let start = table.texts("start")?.unwrap_or_default();
    if start.is_empty() {
        return Err(problem(span, "no command", "`start = [\"node\", \"server.js\"]`", None));
    }
    let ready = table.get("ready").map(|value| {
        let text = string(value)?;
        match text.strip_prefix("GET ") {
            Some(path) if path.starts_with('/') => template(path, value.span()),
            _ => Err(problem(value.span(), format!("\"{}\"", shortened(text)), "\"GET /healthz\"", None)),
        }
    });
    Ok(Service {
        start: start.into_iter().map(|text| template(text, span.clone())).collect::<Result<_, _>>()?,
        env: table.table("env")?.map(|env| pairs(&env, false)).transpose()?.unwrap_or_default(),
        ready: ready.transpose()?,
        ready_within: Duration::from_millis(table.integer("ready_within_ms", 1..600_001)?.unwrap_or(30_000)),
        lease: Duration::from_millis(table.integer("lease_ms", 1..60_001)?.unwrap_or(1_000)),
    })
}

fn database(table: &Table<'_>) -> Result<Database, Problem> {
    table.only(&["upstream"], "`[database]`")?;
    let Some(value) = table.get("upstream") else {
        return Err(problem(
            table.span(),
            "no `upstream`",
            "`upstream = \"postgres://app@127.0.0.1:5432/shop\"`",
            None,
        ));
    };
    let text = string(value)?;
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") && !text.starts_with('{') {
        return Err(problem(
            value.span(),
            "another kind of URL",
            "a URL that begins with `postgres://`",
            None,
        ));
    }
    Ok(Database { upstream: template(text, value.span())? })
}
