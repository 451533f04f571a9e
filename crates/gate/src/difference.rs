//! What an approval would change, for people: each service, variable and vault key, compared with what ran when it was asked
//! for. Values of variables and vault keys are not shown.

use countersign::{
    platform::Kind,
    store::{ApprovalRecord, BoundValue, Difference, Service},
};

/// The change of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// `service`, `variable` or `vault key`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// The new value; empty where it is not shown.
    pub(crate) value: String,
    /// Difference from the running value.
    pub(crate) change: String,
}

/// Services first, then variables, then vault keys. A twin has none.
pub(crate) fn lines(record: &ApprovalRecord) -> Vec<Line> {
    if record.binding.kind == Kind::ResourceTwin {
        return Vec::new();
    }
    let bound = record.bound.as_deref();
    let ran: &[Service] =
        bound.and_then(|bound| bound.target.as_ref()).map_or(&[], |target| &target.services);
    let mut lines: Vec<Line> = record
        .services
        .iter()
        .map(|service| {
            let before = ran.iter().find(|other| other.name == service.name);
            let change = match (bound, before) {
                (None, _) => String::new(),
                (Some(_), None) => "new".to_owned(),
                (Some(_), Some(before)) if before == service => "unchanged".to_owned(),
                (Some(_), Some(before)) => format!("changed, was {}", described(before)),
            };
            Line { kind: "service", name: service.name.clone(), value: described(service), change }
        })
        .collect();
    let is_removed = |before: &&Service| record.services.iter().all(|service| service.name != before.name);
    lines.extend(ran.iter().filter(is_removed).map(|before| Line {
        kind: "service",
        name: before.name.clone(),
        value: String::new(),
        change: format!("removed, was {}", described(before)),
    }));
    let (from, to) = (&record.binding.from, &record.binding.to);
    let values = |kind: &'static str, values: &[BoundValue]| -> Vec<Line> {
        let line = |value: &BoundValue| Line {
            kind,
            name: value.name.clone(),
            value: String::new(),
            change: match value.change {
                Difference::Unchanged => "unchanged".to_owned(),
                Difference::Added => format!("changed: set to the value in {from}"),
                Difference::Missing => format!("has no value in {to} yet"),
            },
        };
        values.iter().map(line).collect()
    };
    if let Some(bound) = bound {
        lines.extend(values("variable", &bound.variables));
        lines.extend(values("vault key", &bound.vault));
    }
    lines
}

/// Image, port and whether it can be reached from outside.
fn described(service: &Service) -> String {
    let mut text = service.image_ref.clone().unwrap_or_else(|| "no image".to_owned());
    if let Some(port) = service.port {
        text.push_str(&format!(", port {port}"));
    }
    if service.expose {
        text.push_str(", reachable from outside");
    }
    text
}
