//! Templates: texts with `{name}`, filled from captures, `{unique}` and `{env.NAME}`, and the captures themselves.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// Escaping of a placeholder's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Unquoted.
    None,
    /// Percent-encoded: in a path or a form.
    Url,
    /// As an SQL literal, quoted unless the template already quotes it.
    Sql,
}

/// The values of placeholders.
pub type Values = BTreeMap<String, Value>;

/// A placeholder that has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfilled {
    /// Its name.
    pub name: String,
    /// The names that have a value.
    pub known: Vec<String>,
}

impl std::fmt::Display for Unfilled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known: Vec<String> = self.known.iter().map(|name| format!("{{{name}}}")).collect();
        write!(f, "{{{}}} has no value here (known: {})", self.name, known.join(" "))
    }
}

impl std::error::Error for Unfilled {}

impl Template {
    /// Reads a template. `{{` and `}}` are single braces.
    ///
    /// # Errors
    /// The byte at which a placeholder is malformed, and the expected text.
    pub fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.char_indices().peekable();
        while let Some((at, character)) = rest.next() {
            match character {
                '{' | '}' if rest.peek().is_some_and(|(_, next)| *next == character) => {
                    rest.next();
                    plain.push(character);
                }
                '{' => {
                    let Some(length) = text[at..].find('}') else {
                        return Err((at, "a placeholder such as {code}, or {{ for a brace"));
                    };
                    let name = &text[at + 1..at + length];
                    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
                    if name.is_empty() || !name.chars().all(valid) {
                        return Err((at, "a placeholder such as {code}, or {{ for a brace"));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Name(name.to_owned()));
                    while rest.next_if(|(next, _)| *next <= at + length).is_some() {}
                }
                '}' => return Err((at, "}} for a brace")),
                other => plain.push(other),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// A template without placeholders.
    pub fn literal(text: &str) -> Self {
        Self(if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] })
    }

    /// The names of its placeholders.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every placeholder filled.
    ///
    /// # Errors
    /// [`Unfilled`] names the first placeholder without a value.
    pub fn fill(&self, values: &Values, escape: Escape) -> Result<String, Unfilled> {
        let mut filled = String::new();
        for (index, part) in self.0.iter().enumerate() {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Name(name) => {
                    let text = plain(&value(name, values)?);
                    match escape {
                        Escape::None => filled.push_str(&text),
                        Escape::Url => filled.push_str(&percent_encoded(&text)),
                        Escape::Sql => {
                            let doubled = text.replace('\'', "''");
                            let quoted = filled.ends_with('\'')
                                && matches!(self.0.get(index + 1), Some(Part::Text(next)) if next.starts_with('\''));
                            if quoted {
                                filled.push_str(&doubled);
                            } else {
                                filled.push('\'');
                                filled.push_str(&doubled);
                                filled.push('\'');
                            }
                        }
                    }
                }
            }
        }
        Ok(filled)
    }

    /// The template as it was written.
    pub fn source(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            Part::Name(name) => format!("{{{name}}}"),
        };
        self.0.iter().map(part).collect()
    }
}

/// Fills every string of a JSON value. A string that is one placeholder takes the captured value with its type.
pub(crate) fn fill_json(template: &Value, values: &Values) -> Result<Value, Unfilled> {
    Ok(match template {
        Value::String(text) => {
            let Ok(parsed) = Template::parse(text) else { return Ok(template.clone()) };
            match parsed.0.as_slice() {
                [Part::Name(name)] => value(name, values)?,
                _ => Value::String(parsed.fill(values, Escape::None)?),
            }
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill_json(item, values)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, item)| Ok((key.clone(), fill_json(item, values)?)))
                .collect::<Result<_, Unfilled>>()?,
        ),
        other => other.clone(),
    })
}

fn value(name: &str, values: &Values) -> Result<Value, Unfilled> {
    if let Some(value) = values.get(name) {
        return Ok(value.clone());
    }
    if name == "unique" {
        return Ok(Value::String(crate::clock::unique()));
    }
    let from_environment = name.strip_prefix("env.").and_then(|name| std::env::var(name).ok());
    from_environment.map(Value::String).ok_or_else(|| {
        let known = values.keys().cloned().chain(["unique".to_owned(), "env.NAME".to_owned()]);
        Unfilled { name: name.to_owned(), known: known.collect() }
    })
}

/// A JSON value as the text that stands for it in a path, a header or a form.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Source of a captured value in an answer.
#[derive(Clone, Debug)]
pub enum Capture {
    /// In the body, by JSONPath (RFC 9535, without filter functions).
    Path(JsonPath),
    /// In the body, or in a header: the first group of a regular expression, or its whole match.
    Pattern {
        /// The header to search instead of the body.
        header: Option<String>,
        /// The expression.
        pattern: Regex,
    },
}

impl Capture {
    /// The value, if the answer has it.
    pub fn of(&self, headers: &[(String, String)], body: &[u8]) -> Option<Value> {
        match self {
            Self::Path(path) => select(path, body),
            Self::Pattern { header, pattern } => {
                let matched = |text: &str| {
                    let groups = pattern.captures(text)?;
                    groups.get(1).or_else(|| groups.get(0)).map(|found| Value::from(found.as_str()))
                };
                match header {
                    Some(name) => headers
                        .iter()
                        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
                        .find_map(|(_, text)| matched(text)),
                    None => matched(&String::from_utf8_lossy(body)),
                }
            }
        }
    }
}

/// The first node that a path selects in a body of JSON.
pub(crate) fn select(path: &JsonPath, body: &[u8]) -> Option<Value> {
    let document: Value = serde_json::from_slice(body).ok()?;
    path.query(&document).first().cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> Values {
        Values::from([("code".into(), json!("a b")), ("id".into(), json!(7)), ("o".into(), json!("o'x"))])
    }

    #[test]
    fn names_are_filled_and_escaped_for_where_they_stand() {
        let filled = |text: &str, escape| Template::parse(text).unwrap().fill(&values(), escape).unwrap();
        assert_eq!(filled("/c/{code}/{id}", Escape::Url), "/c/a%20b/7");
        assert_eq!(filled("{{x}} {id}", Escape::None), "{x} 7");
        assert_eq!(filled("code = {o}", Escape::Sql), "code = 'o''x'");
        assert_eq!(filled("code = '{o}'", Escape::Sql), "code = 'o''x'");
    }

    #[test]
    fn a_whole_placeholder_keeps_the_type_of_its_value() {
        let filled = fill_json(&json!({"a": "{id}", "b": "n{id}"}), &values()).unwrap();
        assert_eq!(filled, json!({"a": 7, "b": "n7"}));
    }

    #[test]
    fn unique_differs_each_time() {
        let template = Template::parse("{unique}").unwrap();
        let one = template.fill(&values(), Escape::None).unwrap();
        assert_ne!(one, template.fill(&values(), Escape::None).unwrap());
    }

    #[test]
    fn malformed_placeholders_and_unknown_names_are_refused() {
        for (text, at) in [("a{", 1), ("{a b}", 0), ("x}", 1), ("{}", 0)] {
            assert_eq!(Template::parse(text).unwrap_err().0, at, "{text}");
        }
        let missing = Template::parse("{nope}").unwrap().fill(&values(), Escape::None).unwrap_err();
        assert_eq!(missing.name, "nope");
        assert!(missing.to_string().contains("{code}"), "{missing}");
    }

    #[test]
    fn captures_read_bodies_and_headers() {
        let body = br#"{"data":{"codes":[{"c":"x1"},{"c":"x2"}]}}"#;
        let path = Capture::Path(JsonPath::parse("$.data.codes[*].c").unwrap());
        assert_eq!(path.of(&[], body), Some(json!("x1")));
        let header =
            Capture::Pattern { header: Some("location".into()), pattern: Regex::new(r"code=(\w+)").unwrap() };
        let headers = [("Location".to_owned(), "/cb?code=zz&x=1".to_owned())];
        assert_eq!(header.of(&headers, b""), Some(json!("zz")));
        let whole = Capture::Pattern { header: None, pattern: Regex::new("x[0-9]").unwrap() };
        assert_eq!(whole.of(&[], body), Some(json!("x1")));
        assert_eq!(whole.of(&[], b"none"), None);
    }
}
