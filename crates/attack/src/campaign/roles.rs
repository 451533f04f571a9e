//! Each role once, against fresh objects: what `check` prints, and what has to be so before anything is attacked.

use serde_json::Value;

use crate::{
    client::{self, Protocol},
    history::{Action, Kind},
    proxy::Proxy,
    safety::Stop,
    schedule::ExploreError,
    session::{NO_ROW, Object, Session, Variant, described, excerpt},
    target::Change,
};

/// What the roles showed.
pub(super) struct Roles {
    /// By role: the answer, or the captured values.
    pub(super) lines: Vec<(String, String)>,
    /// An object that was used.
    pub(super) used: Object,
    /// The payload that its use led to.
    pub(super) payload: Option<Value>,
    /// Roles that the service refused.
    pub(super) notes: Vec<String>,
}

/// Runs each role once.
///
/// # Errors
/// [`Stop::BadInput`]: the target file does not fit the service.
pub(super) async fn run(session: &mut Session<'_>, proxy: &mut Option<Proxy>) -> Result<Roles, Stop> {
    let mut object = session.arrange(true).await?;
    let races = match session.protocol {
        Protocol::Http1 => "HTTP/1.1, released by their last byte",
        Protocol::Http2 => "HTTP/2, in one packet",
    };
    let captured: Vec<String> =
        object.values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let mut lines =
        vec![("races".to_owned(), races.to_owned()), (Action::Arrange.word(), captured.join(", "))];
    let before = object.trial.operations.len();
    used(session, proxy, &mut object).await?;
    let payload = last_read(&object, Action::Payload);
    lines.extend(object.trial.operations[before..].iter().map(described));
    let mut notes = Vec::new();
    changed(session, &mut lines, &mut notes).await?;
    filled(session, &object)?;
    Ok(Roles { lines, used: object, payload, notes })
}

fn last_read(object: &Object, f: Action) -> Option<Value> {
    object.trial.operations.iter().rev().find(|read| read.f == f).and_then(|read| read.details.read.clone())
}

/// One use of a fresh object, which has to succeed, and to be seen by every role that reads.
async fn used(session: &mut Session<'_>, proxy: &mut Option<Proxy>, object: &mut Object) -> Result<(), Stop> {
    let reads =
        [Action::Effects, Action::Observe, Action::Audit, Action::Targets, Action::Trace, Action::Settled];
    session.read(object, &reads).await?;
    if last_read(object, Action::Observe) == Some(Value::Bool(true)) {
        return Err(Stop::BadInput("[observe]: a fresh object is shown as used".into()));
    }
    if last_read(object, Action::Effects).is_some_and(|count| count.as_u64() != Some(0)) {
        return Err(Stop::BadInput("[effects]: counts effects of a fresh object".into()));
    }
    if let Some(proxy) = proxy {
        proxy.record();
    }
    let sent = session.use_once(object, 0, Variant::default()).await?;
    let used = object.trial.operations.last().filter(|usage| usage.kind == Kind::Ok);
    if used.is_none() {
        let outcome = match &sent.outcome {
            client::Outcome::Answered(answer) => excerpt(answer),
            client::Outcome::NotSent(error) | client::Outcome::Unknown(error) => error.clone(),
        };
        let message = format!("[use]: the use of a fresh object did not succeed: {outcome}");
        return Err(Stop::BadInput(session.secrets.redact(&message)));
    }
    session.settle(object).await?;
    if proxy.as_mut().is_some_and(|proxy| proxy.take_recording().is_empty()) {
        return Err(Stop::BadInput(format!("[database]: {}", ExploreError::<Stop>::NoStatements)));
    }
    session.read(object, &[Action::Payload, Action::Trace]).await?;
    let target = session.target;
    for (f, is_present) in [
        (Action::Observe, target.observe.is_some()),
        (Action::Effects, target.effects.is_some()),
        (Action::Audit, target.audit.is_some()),
        (Action::Targets, target.targets.is_some()),
    ] {
        if is_present && last_read(object, f).is_none() {
            return Err(Stop::BadInput(format!("[{}]: its answer shows nothing that can be read", f.word())));
        }
    }
    Ok(())
}

/// The changes, each of a fresh object.
async fn changed(
    session: &mut Session<'_>,
    lines: &mut Vec<(String, String)>,
    notes: &mut Vec<String>,
) -> Result<(), Stop> {
    let target = session.target;
    let roles = [
        (Action::Reject, &target.reject),
        (Action::Expire, &target.expire),
        (Action::Drift, &target.drift),
        (Action::Spoil, &target.spoil),
        (Action::Mend, &target.mend),
    ];
    let mut object = None;
    for (f, role) in roles {
        let Some(changes) = role else { continue };
        if changes.iter().all(|change| matches!(change, Change::Wait(_))) {
            lines.push((f.word(), "only waits".to_owned()));
            continue;
        }
        // What is mended has been spoilt.
        let mut fresh = match object.take() {
            Some(spoilt) if f == Action::Mend => spoilt,
            _ => session.arrange(true).await?,
        };
        session.change(&mut fresh, f, changes, None, &Vec::new()).await?;
        if let Some(operation) = fresh.trial.operations.last() {
            let (role, result) = described(operation);
            if operation.details.error.as_deref() == Some(NO_ROW) {
                let message = format!("[{role}]: {result}, of a fresh object");
                return Err(Stop::BadInput(session.secrets.redact(&message)));
            }
            if operation.kind != Kind::Ok {
                notes.push(format!("the service refused `{role}` of a fresh object: {result}"));
            }
            lines.push((role, result));
        }
        object = Some(fresh);
    }
    Ok(())
}

/// Fills the roles that are not run here.
fn filled(session: &mut Session<'_>, object: &Object) -> Result<(), Stop> {
    let target = session.target;
    session.use_wire(object, Variant { key: Some(1), stranger: true })?;
    for link in &target.safe_links {
        session.link_wire(object, link)?;
    }
    for change in target.approve.iter().flatten() {
        if let (Change::Request(request), Some(requester)) = (change, &target.requester) {
            session.request_wire_of(object, request, requester)?;
        }
    }
    Ok(())
}
