//! Writes a target file from what people have at hand: a curl command line, a HAR file, an OpenAPI operation.
//!
//! The request becomes the role `use`. What only its owner can know stays as a marked gap.

use std::fmt::Write;

use serde_json::Value;

/// A request that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    method: String,
    /// `http://host:port`.
    base_url: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    form: bool,
}

/// From a command line such as `curl -X POST http://127.0.0.1:3000/redeem -d '{"code":"x"}'`.
///
/// # Errors
/// The missing or unreadable part.
pub fn from_curl(command: &str) -> Result<String, String> {
    let words = words(command)?;
    let mut words = words.into_iter().skip_while(|word| word == "curl");
    let mut found = Found::default();
    let mut url = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` has no value"));
        match word.as_str() {
            "-X" | "--request" => found.method = value()?.to_ascii_uppercase(),
            "-H" | "--header" => {
                let header = value()?;
                let (name, text) =
                    header.split_once(':').ok_or_else(|| format!("`{header}` is no header"))?;
                found.headers.push((name.trim().into(), text.trim().into()));
            }
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii" => {
                let data = value()?;
                let joined = found.body.take().map_or(data.clone(), |body| format!("{body}&{data}"));
                found.body = Some(joined);
            }
            "--json" => {
                found.body = Some(value()?);
                found.headers.push(("Content-Type".into(), "application/json".into()));
            }
            "--url" => url = Some(value()?),
            "-b" | "--cookie" => {
                let cookie = value()?;
                found.headers.push(("Cookie".into(), cookie));
            }
            "-u" | "--user" | "-o" | "--output" | "-A" | "--user-agent" | "-e" | "--referer" => {
                drop(value()?);
            }
            "-G" | "--get" => found.method = "GET".into(),
            option if option.starts_with('-') => {}
            _ => url = Some(word),
        }
    }
    let url = url.ok_or("the command line has no URL")?;
    (found.base_url, found.path) = split_url(&url)?;
    if found.method.is_empty() {
        found.method = if found.body.is_some() { "POST" } else { "GET" }.into();
    }
    let json = found.body.as_ref().is_some_and(|body| serde_json::from_str::<Value>(body).is_ok());
    found.form = found.body.is_some() && !json;
    Ok(render(&found))
}

/// From a HAR file: the last request that changes something.
///
/// # Errors
/// The missing or unreadable part.
pub fn from_har(text: &str) -> Result<String, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| format!("no HAR file: {error}"))?;
    let entries = document["log"]["entries"].as_array().ok_or("no HAR file: `log.entries` is missing")?;
    let method = |entry: &&Value| {
        !matches!(entry["request"]["method"].as_str(), None | Some("GET" | "HEAD" | "OPTIONS"))
    };
    let entry = entries.iter().rev().find(method).or(entries.last()).ok_or("the HAR file has no request")?;
    let request = &entry["request"];
    let (base_url, path) = split_url(request["url"].as_str().unwrap_or_default())?;
    let headers = request["headers"].as_array().into_iter().flatten();
    let pair =
        |header: &Value| Some((header["name"].as_str()?.to_owned(), header["value"].as_str()?.to_owned()));
    let kind = request["postData"]["mimeType"].as_str().unwrap_or_default();
    Ok(render(&Found {
        method: request["method"].as_str().unwrap_or("GET").to_owned(),
        base_url,
        path,
        headers: headers.filter_map(pair).collect(),
        body: request["postData"]["text"].as_str().map(str::to_owned),
        form: kind.contains("form-urlencoded"),
    }))
}

/// From an operation of an OpenAPI document in JSON, by its `operationId`.
///
/// # Errors
/// The missing or unreadable part.
pub fn from_openapi(text: &str, operation: &str) -> Result<String, String> {
    let document: Value =
        serde_json::from_str(text).map_err(|error| format!("no OpenAPI document in JSON: {error}"))?;
    let paths = document["paths"].as_object().ok_or("no OpenAPI document: `paths` is missing")?;
    let mut known = Vec::new();
    for (path, methods) in paths {
        for (method, about) in methods.as_object().into_iter().flatten() {
            let Some(id) = about["operationId"].as_str() else { continue };
            known.push(id);
            if id != operation {
                continue;
            }
            let schema = &about["requestBody"]["content"]["application/json"];
            let body = example(&document, schema);
            let server = document["servers"][0]["url"].as_str().unwrap_or_default();
            let base_url = if server.starts_with("http://") || server.starts_with("https://") {
                server.trim_end_matches('/')
            } else {
                "http://127.0.0.1:3000"
            };
            return Ok(render(&Found {
                method: method.to_ascii_uppercase(),
                base_url: base_url.to_owned(),
                path: path.clone(),
                headers: Vec::new(),
                body: body.map(|body| body.to_string()),
                form: false,
            }));
        }
    }
    Err(format!("no operation `{operation}` (found: {})", known.join(", ")))
}

/// An example of a body: the document's own, or the properties with placeholders.
fn example(document: &Value, content: &Value) -> Option<Value> {
    if let Some(given) = content.get("example") {
        return Some(given.clone());
    }
    let schema = content.get("schema")?;
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#')?)?,
        None => schema,
    };
    let properties = schema["properties"].as_object()?;
    let value = |(name, about): (&String, &Value)| {
        let value = match about["type"].as_str() {
            Some("integer" | "number") => Value::from(1),
            Some("boolean") => Value::from(true),
            _ => Value::from(format!("{{{name}}}")),
        };
        (name.clone(), about.get("example").cloned().unwrap_or(value))
    };
    Some(Value::Object(properties.iter().map(value).collect()))
}

fn split_url(url: &str) -> Result<(String, String), String> {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[scheme..].find('/').map_or(url.len(), |at| at + scheme);
    let host = if scheme == 0 { format!("http://{}", &url[..path]) } else { url[..path].to_owned() };
    if host == "http://" || host.is_empty() {
        return Err(format!("`{url}` is not a URL"));
    }
    let path = url[path..].split('#').next().unwrap_or_default();
    Ok((host, if path.is_empty() { "/".into() } else { path.to_owned() }))
}

/// Splits a command line as a shell does: quotes, backslashes, continued lines.
fn words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('\n') | None => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            '\'' => {
                let into = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(inside) => into.push(inside),
                        None => return Err("a quote is not closed".into()),
                    }
                }
            }
            '"' => {
                let into = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => into.extend(characters.next()),
                        Some(inside) => into.push(inside),
                        None => return Err("a quote is not closed".into()),
                    }
                }
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A literal text as a template: braces are doubled.
fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| format!("{} = {}", quoted(key), toml(value));
            format!("{{ {} }}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::Null => "\"\"".into(),
        other => other.to_string(),
    }
}

fn render(found: &Found) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write(found, &mut out).unwrap_or_default();
    out
}

fn write(found: &Found, out: &mut String) -> std::fmt::Result {
    const SKIPPED: &[&str] = &[
        "host",
        "content-length",
        "connection",
        "accept-encoding",
        "user-agent",
        "origin",
        "referer",
        "content-type",
        "accept-language",
        "accept",
    ];
    writeln!(out, "base_url = {}\n", quoted(&found.base_url))?;
    writeln!(out, "# Makes one fresh object. `capture` keeps what the other roles need: {{code}} below.")?;
    writeln!(
        out,
        "[arrange]\nrequest = \"POST /CHANGE-ME\"\njson = {{}}\ncapture = {{ code = \"$.code\" }}\n"
    )?;
    writeln!(out, "# Must succeed at most once per object. Put {{code}} where the object is named.")?;
    writeln!(out, "[use]\nrequest = {}", quoted(&format!("{} {}", found.method, found.path)))?;
    if let Some(body) = &found.body {
        match serde_json::from_str::<Value>(body) {
            Ok(json @ Value::Object(_)) => writeln!(out, "json = {}", toml(&json))?,
            _ if found.form => {
                let pair = |pair: &str| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    format!("{} = {}", quoted(name), quoted(&literal(value)))
                };
                let pairs: Vec<String> = body.split('&').map(pair).collect();
                writeln!(out, "form = {{ {} }}", pairs.join(", "))?;
            }
            _ => writeln!(out, "body = {}", quoted(&literal(body)))?,
        }
    }
    let mut variables = Vec::new();
    let mut headers = Vec::new();
    for (name, value) in &found.headers {
        let lower = name.to_ascii_lowercase();
        if SKIPPED.contains(&lower.as_str()) || lower.starts_with("sec-") || lower.starts_with(':') {
            continue;
        }
        // Credentials stay out of files: they come from the environment.
        let secret = ["auth", "cookie", "token", "secret", "key"].iter().any(|part| lower.contains(part));
        if secret && lower != "idempotency-key" {
            let variable = name.to_ascii_uppercase().replace('-', "_");
            headers.push(format!("{} = \"{{env.{variable}}}\"", quoted(name)));
            variables.push(variable);
        } else if lower == "idempotency-key" {
            writeln!(out, "key_header = {}", quoted(name))?;
        } else {
            headers.push(format!("{} = {}", quoted(name), quoted(&literal(value))));
        }
    }
    if !headers.is_empty() {
        writeln!(out, "headers = {{ {} }}", headers.join(", "))?;
    }
    if !variables.is_empty() {
        writeln!(out, "# Set {} in the environment.", variables.join(", "))?;
    }
    writeln!(out, "# conflict = [409]              # what a loser is told; without it, any 4xx\n")?;
    writeln!(out, "# The effect decides, not the status: count it if you can.")?;
    writeln!(out, "# [effects]\n# request = \"GET /ledger?code={{code}}\"\n# count = \"$.entries\"\n")?;
    writeln!(
        out,
        "# [observe]\n# request = \"GET /cards/{{code}}\"\n# used = {{ \"$.state\" = \"redeemed\" }}"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::target::parse;

    fn reads(text: &str) -> crate::target::Target {
        parse(text.as_bytes(), Path::new(".")).unwrap_or_else(|problem| panic!("{problem:?}\n{text}"))
    }

    #[test]
    fn a_curl_command_becomes_a_target_file_without_its_secrets() {
        let text = from_curl(
            "curl -s 'http://127.0.0.1:3000/redeem' -H 'Authorization: Bearer s3cret' \\\n -H \"X-Shop: a{b}\" \
             --data-raw '{\"code\":\"{code}\",\"n\":[1,true]}'",
        );
        let text = text.unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let target = reads(&text);
        assert_eq!((target.usage.request.method.as_str(), target.base_url.port), ("POST", 3000));
        assert_eq!(target.usage.request.headers.len(), 2);
    }

    #[test]
    fn forms_and_har_files_and_operations_become_target_files() {
        let form =
            from_curl("curl http://localhost:8080/token -d grant_type=authorization_code -d code=x").unwrap();
        assert!(
            matches!(reads(&form).usage.request.body, crate::target::Body::Form(fields) if fields.len() == 2)
        );
        let har = r#"{"log":{"entries":[{"request":{"method":"PUT","url":"http://127.0.0.1:1/a?b=c","headers":[
            {"name":"Cookie","value":"id=1"}],"postData":{"mimeType":"application/json","text":"{\"a\":1}"}}},
            {"request":{"method":"GET","url":"http://127.0.0.1:1/","headers":[]}}]}}"#;
        assert_eq!(reads(&from_har(har).unwrap()).usage.request.method, "PUT");
        let openapi = r##"{"paths":{"/redeem/{code}":{"post":{"operationId":"redeem","requestBody":{"content":{
            "application/json":{"schema":{"$ref":"#/components/schemas/R"}}}}}}},
            "components":{"schemas":{"R":{"properties":{"order":{"type":"string"},"n":{"type":"integer"}}}}}}"##;
        let target = reads(&from_openapi(openapi, "redeem").unwrap());
        assert_eq!(target.usage.request.path.names().collect::<Vec<_>>(), ["code"]);
        assert!(from_openapi(openapi, "redem").unwrap_err().contains("redeem"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (command, message) in
            [("curl -X", "no value"), ("curl", "no URL"), ("curl 'http://x", "not closed")]
        {
            assert!(from_curl(command).unwrap_err().contains(message), "{command}");
        }
        assert!(from_har("{}").is_err());
    }
}
