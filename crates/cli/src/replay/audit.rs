//! An audit log of a service, a JSON object on each line: was all that it tells allowed by the flow?

use std::{collections::BTreeMap, path::Path, time::UNIX_EPOCH};

use countersign::{protocol::Timestamp, store::AuditKind};
use countersign_models::{
    audit::{Auditor, NotAllowed, violated},
    model::Bounds,
};
use indicatif::HumanCount;
use owo_colors::OwoColorize;
use serde::Deserialize;

use crate::judge::fit;
use countersign_terminal::{BadInput, Exit, input, print_line};

/// The longest log.
const MOST: usize = 1 << 30;
const WHAT: &str = "an event as `GET /api/v1/audit` gives it: \
                    {\"kind\": \"promote.approved\", \"approval_id\": \"…\", \"at\": \"2026-01-01T00:00:00Z\", …}";

const CHECKED: &str = "\
Checked: each event against the transitions of its approval. The order of the steps is not checked:
the log of a correct run satisfies more than one flow.";

/// One line. Its other fields are ignored.
#[derive(Deserialize)]
struct Line {
    kind: String,
    approval_id: String,
    at: String,
}

struct Event {
    line: usize,
    kind: AuditKind,
    at: Timestamp,
}

pub(super) fn run(path: &Path, flow: &str) -> Result<Exit, BadInput> {
    let named = input::flow(flow)?;
    fit(&named.name, &named.subject.flow, Bounds::default())?;
    let name = path.display().to_string();
    let text = input::text(path, MOST, WHAT)?;
    let mut approvals: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut events = 0;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (approval, event) = read(&name, index + 1, line)?;
        approvals.entry(approval).or_default().push(event);
        events += 1;
    }
    if events == 0 {
        return Err(BadInput::plain(&format!("{name}: found no event"), WHAT));
    }
    let mut auditor = Auditor::new(named.subject.flow);
    let mut not_allowed = 0;
    for (approval, events) in &approvals {
        let sequence: Vec<_> = events.iter().map(|event| (event.kind, event.at)).collect();
        if let Err(why) = auditor.judge(&sequence) {
            not_allowed += 1;
            tell(&name, approval, events, why);
            for (property, how) in violated(&sequence) {
                print_line!("  {property} is violated: {how}");
            }
        }
    }
    let events = HumanCount(events);
    let approvals = HumanCount(approvals.len() as u64);
    print_line!("{}", CHECKED.dimmed());
    if not_allowed > 0 {
        let title = format!("{not_allowed} of {approvals} approvals did what {} never does", named.name);
        print_line!("{}", title.red().bold());
        return Ok(Exit::Unexpected);
    }
    print_line!(
        "{events} events of {approvals} approvals: {}",
        format!("all allowed by {}", named.name).green().bold()
    );
    Ok(Exit::Expected)
}

fn read(name: &str, number: usize, line: &str) -> Result<(String, Event), BadInput> {
    let bad = |found: String| {
        BadInput::plain(&format!("{name}:{number}: found {found}"), &format!("expected {WHAT}"))
    };
    let Line { kind, approval_id, at } = serde_json::from_str(line).map_err(|error| {
        let message = error.to_string();
        bad(message.split(" at line ").next().unwrap_or_default().to_owned())
    })?;
    let shown = |text: &str| text.chars().take(80).collect::<String>().escape_debug().to_string();
    let known = AuditKind::ALL.iter().copied().find(|known| known.as_str() == kind);
    let kind = known.ok_or_else(|| bad(format!("the unknown kind `{}`", shown(&kind))))?;
    let time = humantime::parse_rfc3339(&at).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let time = time.ok_or_else(|| bad(format!("`{}`, which is no time in RFC 3339", shown(&at))))?;
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok((shown(&approval_id), Event { line: number, kind, at: Timestamp(ms) }))
}

fn tell(name: &str, approval: &str, events: &[Event], why: NotAllowed) {
    let place = match why {
        NotAllowed::NoRequest => 0,
        NotAllowed::Event(place) => place,
    };
    let Some(event) = events.get(place) else { return };
    print_line!("{}", format!("{name}:{}: {} is not allowed", event.line, event.kind.as_str()).red().bold());
    print_line!("  approval {approval}");
    for (index, event) in events.iter().take(place + 1).enumerate() {
        let mark = if index == place { "✗".red().to_string() } else { "·".to_owned() };
        let at = humantime::format_rfc3339_millis(UNIX_EPOCH + std::time::Duration::from_millis(event.at.0));
        print_line!("  {mark} {at} {}", event.kind.as_str());
    }
    if why == NotAllowed::NoRequest {
        print_line!("  expected the request first: is the log whole?");
    }
}
