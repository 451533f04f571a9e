//! The JSON Schema of a flow file, from the declarations that the parser reads by.
//!
//! A file that the schema refuses is refused by the parser. Not the other way round: a schema cannot express the order
//! of steps, the number of consumes and acts, or a reference from one step to another.

use serde_json::{Map, Value as Json, json};

use super::{
    declaration::{Declaration, Kind, Only, Presence},
    vocabulary::{ATOMIC, DO, EVERY_STEP, FILE, STEPS, StepWord, TABLES},
};
use crate::protocol::Flow;

/// The JSON Schema (draft 7) of a flow file whose expectations may name `known_properties`.
///
/// Editors use it through a first line `#:schema ./flow.schema.json`.
///
/// ```
/// let schema = countersign::flow_file::schema(&["S1", "S2"]);
/// assert_eq!(schema["properties"]["object"]["properties"]["uses"]["maximum"], 3);
/// ```
pub fn schema(known_properties: &[&str]) -> Json {
    let mut file = table(FILE, known_properties);
    let root = file.as_object_mut().into_iter().flat_map(|root| root.iter_mut());
    for (_, properties) in root.filter(|(key, _)| *key == "properties") {
        for declared in TABLES {
            properties[declared.name] = documented(table(declared.keys, known_properties), declared.doc);
        }
    }
    file["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    file["title"] = json!("countersign flow file");
    file["required"] = json!(["step"]);
    file["allOf"] = json!([decision_needs_approvers(), keys_need_retry()]);
    let mut definitions = Map::new();
    for step in STEPS {
        definitions.insert(step.word.to_owned(), documented(step_schema(step), step.doc));
        if let Some(keys) = step.member {
            definitions.insert(member_name(step), documented(worded(step, &[], keys), step.doc));
        }
    }
    definitions.insert("atomic".to_owned(), group());
    file["definitions"] = Json::Object(definitions);
    file
}

fn member_name(step: &StepWord) -> String {
    format!("{}_member", step.word)
}

fn documented(mut schema: Json, doc: &str) -> Json {
    schema["description"] = json!(doc);
    schema
}

/// A table of these keys and no others.
fn table(keys: &[Declaration], known_properties: &[&str]) -> Json {
    let properties: Map<String, Json> =
        keys.iter().map(|key| (key.name.to_owned(), property(key, known_properties))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.is_required()).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required });
    let conditions: Vec<Json> = keys.iter().filter_map(|key| key.only).map(condition).collect();
    if !conditions.is_empty() {
        schema["allOf"] = Json::Array(conditions);
    }
    schema
}

fn property(key: &Declaration, known_properties: &[&str]) -> Json {
    let references = |words: Vec<String>| -> Vec<Json> {
        words.iter().map(|word| json!({ "$ref": format!("#/definitions/{word}") })).collect()
    };
    let mut schema = match key.kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Words(words) => list(json!({ "enum": words })),
        Kind::Properties => list(json!({ "enum": known_properties })),
        Kind::Refusals => list(json!({ "type": "string", "pattern": "^[45][0-9][0-9] [a-z][a-z0-9_]*$" })),
        Kind::Table => json!({ "type": "object" }),
        Kind::Steps => {
            let words = STEPS.iter().map(|step| step.word.to_owned()).chain([ATOMIC.name.to_owned()]);
            items(references(words.collect()))
        }
        Kind::Members => {
            items(references(STEPS.iter().filter(|step| step.member.is_some()).map(member_name).collect()))
        }
    };
    if let Presence::Default(default) = key.presence {
        // A default is TOML of a kind that is JSON, too.
        schema["default"] = serde_json::from_str(default).unwrap_or_default();
    }
    documented(schema, key.doc)
}

fn list(item: Json) -> Json {
    json!({ "type": "array", "items": item, "uniqueItems": true })
}

fn items(any_of: Vec<Json>) -> Json {
    json!({ "type": "array", "items": { "oneOf": any_of }, "minItems": 1, "maxItems": Flow::MAX_STEPS })
}

fn step_schema(step: &StepWord) -> Json {
    worded(step, EVERY_STEP, step.keys)
}

/// A table with the word of `step`.
fn worded(step: &StepWord, every: &[Declaration], own: &[Declaration]) -> Json {
    let keys: Vec<Declaration> = [DO.declaration()].iter().chain(every).chain(own).copied().collect();
    let mut schema = table(&keys, &[]);
    schema["properties"]["do"] = json!({ "const": step.word });
    schema
}

fn group() -> Json {
    let keys: Vec<Declaration> = EVERY_STEP.iter().copied().chain([ATOMIC]).collect();
    let mut schema = table(&keys, &[]);
    schema["required"] = json!(["atomic"]);
    documented(schema, ATOMIC.doc)
}

fn condition(only: Only) -> Json {
    let json_of = |toml: &str| serde_json::from_str::<Json>(toml).unwrap_or_default();
    let has = |key: &str, value: &str| json!({ "properties": { key: { "const": json_of(value) } } });
    let present = |mut schema: Json, key: &str| {
        schema["required"] = json!([key]);
        schema
    };
    let needed = has(only.other, only.needs);
    json!({
        "if": present(has(only.key, only.value), only.key),
        "then": if only.by_default { needed } else { present(needed, only.other) },
    })
}

fn decision_needs_approvers() -> Json {
    json!({
        "if": {
            "properties": { "object": { "properties": { "approvers": { "const": 0 } }, "required": ["approvers"] } },
            "required": ["object"],
        },
        "then": { "properties": { "decision": false } },
    })
}

fn keys_need_retry() -> Json {
    let keyed = json!({ "properties": { "do": { "enum": ["recall", "remember"] } }, "required": ["do"] });
    let in_group = json!({
        "properties": { "atomic": { "type": "array", "contains": keyed } },
        "required": ["atomic"],
    });
    json!({
        "if": { "properties": { "step": { "type": "array", "contains": { "anyOf": [keyed, in_group] } } } },
        "then": {
            "properties": { "endpoint": { "properties": { "retry": { "const": "key" } }, "required": ["retry"] } },
            "required": ["endpoint"],
        },
    })
}
