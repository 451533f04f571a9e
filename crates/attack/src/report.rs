//! The report of a campaign: one verdict per property, with the shortest history of each violation.

mod html;
mod text;

use countersign_models::flows::BUILT_IN;
use serde::Serialize;
use serde_json::Value;

use crate::{
    campaign::{Gathered, Interleaved},
    canary::Calibration,
    client::Protocol,
    clock::Clock,
    history::{self, Event, Promise, Trial},
    judge::{self, Judged, Tally},
    reproduction::Scenario,
    safety::{Budget, Secrets},
    target::Target,
};

/// The version of the JSON document.
pub const VERSION: u32 = 1;

/// Every verdict of a campaign. No text in it contains a secret of the target file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The version of this document.
    pub version: u32,
    /// The target file's description.
    pub about: Option<String>,
    /// The service. Absent for a history that was judged again.
    pub service: Option<String>,
    /// Name of the object in messages.
    pub noun: String,
    /// One line for each property.
    pub verdicts: Vec<VerdictLine>,
    /// Objects that were judged.
    pub objects: usize,
    /// Rounds of concurrent uses.
    pub races: usize,
    /// Pairs at offsets.
    pub pairs: usize,
    /// Protocol of the requests of a round.
    pub protocol: Protocol,
    /// Median time between the first and the last release of a round, in microseconds.
    pub spread_us: u64,
    /// The requests of the rounds met.
    pub raced: bool,
    /// Results of the canary.
    pub calibration: Option<Calibration>,
    /// Interleavings of statements.
    pub interleaved: Vec<Interleaved>,
    /// Additional notes for the reader.
    pub notes: Vec<String>,
    /// The built-in flows that agree with every verdict.
    pub behaves_like: Vec<String>,
    /// Why the campaign ended before it was complete.
    pub cut_off: Option<String>,
    /// Requests that were sent.
    pub requests: u64,
    /// Kills of the service.
    pub kills: u64,
    /// Duration, in milliseconds.
    pub milliseconds: u64,
    /// The recorded history.
    #[serde(skip)]
    pub history: Vec<Event>,
}

/// One property.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictLine {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its definition.
    pub sentence: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// Objects that could have violated it.
    pub exercised: usize,
    /// Objects that did.
    pub violated: usize,
    /// Description of the violation, or the reason for a missing verdict.
    pub why: Option<String>,
    /// The shortest history that violates it.
    pub history: Option<Vec<Event>>,
    /// Origin of the violation.
    pub scenario: Option<Scenario>,
}

/// Verdict of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A recorded history violates it.
    Violated,
    /// No history violates it, and some could have.
    NotViolated,
    /// An outcome that nothing resolved decides.
    Unknown,
    /// A role is missing.
    NotTestable,
}

/// End of a campaign, for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// No property is violated: 0.
    Clean,
    /// A property is violated: 1.
    Violated,
    /// Cut off, or without the power to find anything: 3.
    Inconclusive,
}

impl Report {
    pub(crate) fn new(
        target: &Target,
        budget: &Budget,
        secrets: Secrets,
        gathered: Gathered,
        calibration: Option<Calibration>,
        cut_off: Option<String>,
        clock: Clock,
    ) -> Self {
        let missing = |id: &str| {
            let why = "`expire` only waits: an object may have expired when it is used again";
            let expired = || target.expires_by_itself().filter(|_| id == "L4").map(|_| why.to_owned());
            missing_role(id, target).or_else(expired)
        };
        let mut report = Self {
            about: target.about.clone(),
            service: Some(format!("http://{}{}", target.base_url.authority(), target.base_url.prefix)),
            races: gathered.races.rounds,
            pairs: gathered.races.pairs,
            protocol: gathered.races.protocol,
            spread_us: gathered.races.spread_us(),
            raced: gathered.races.raced(),
            calibration,
            interleaved: gathered.interleaved,
            notes: gathered.notes,
            cut_off,
            requests: budget.requests(),
            kills: budget.kills(),
            milliseconds: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            history: gathered.history,
            ..Self::judged(&target.promise, &gathered.tally, missing)
        };
        for line in &mut report.verdicts {
            line.scenario = gathered.scenarios.get(line.id).cloned();
        }
        report.redact(&secrets);
        report
    }

    /// The verdicts on a history that was recorded before.
    ///
    /// # Errors
    /// The history is malformed.
    pub fn of_history(events: Vec<Event>) -> Result<Self, history::BadHistory> {
        let trials = history::trials(&events)?;
        let promise = trials.first().map(|trial| trial.promise.clone()).unwrap_or_default();
        let tally = judge::judge_all(&trials);
        let report = Self::judged(&promise, &tally, |_| Some("the history does not exercise it".into()));
        Ok(Self { history: events, ..report })
    }

    fn judged(promise: &Promise, tally: &Tally, missing: impl Fn(&str) -> Option<String>) -> Self {
        let verdicts: Vec<VerdictLine> = tally.judged().iter().map(|judged| line(judged, &missing)).collect();
        Self {
            version: VERSION,
            about: None,
            service: None,
            noun: promise.noun.clone(),
            behaves_like: behaves_like(&verdicts),
            verdicts,
            objects: tally.trials(),
            races: 0,
            pairs: 0,
            protocol: Protocol::Http1,
            spread_us: 0,
            raced: true,
            calibration: None,
            interleaved: Vec::new(),
            notes: Vec::new(),
            cut_off: None,
            requests: 0,
            kills: 0,
            milliseconds: 0,
            history: Vec::new(),
        }
    }

    fn redact(&mut self, secrets: &Secrets) {
        let text = |text: &mut String| *text = secrets.redact(text);
        self.about.iter_mut().for_each(text);
        self.notes.iter_mut().for_each(text);
        self.cut_off.iter_mut().for_each(text);
        self.interleaved.iter_mut().filter_map(|pair| pair.why_incomplete.as_mut()).for_each(text);
        for line in &mut self.verdicts {
            line.why.iter_mut().for_each(text);
            line.history.iter_mut().flatten().for_each(|event| redact_event(event, secrets));
        }
        self.history.iter_mut().for_each(|event| redact_event(event, secrets));
    }

    /// The conclusion, from which the exit code follows.
    pub fn conclusion(&self) -> Conclusion {
        let is = |verdict| self.verdicts.iter().any(|line| line.verdict == verdict);
        let blind = self.calibration.is_some_and(|found| found.window_us.is_none() || found.false_alarm);
        if is(Verdict::Violated) {
            Conclusion::Violated
        } else if self.cut_off.is_some() || blind || !self.raced || is(Verdict::Unknown) {
            Conclusion::Inconclusive
        } else {
            Conclusion::Clean
        }
    }

    /// The document as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The document for a terminal of 80 columns.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// A page that needs nothing else, light and dark.
    pub fn html(&self) -> String {
        html::render(self)
    }

    /// The recorded history as NDJSON.
    pub fn history(&self) -> String {
        history::write(&self.history)
    }
}

fn redact_event(event: &mut Event, secrets: &Secrets) {
    let Ok(mut value) = serde_json::to_value(&event.value) else { return };
    secrets.redact_json(&mut value);
    if let Ok(details) = serde_json::from_value(value) {
        event.value = details;
    }
}

fn line(judged: &Judged, missing: &impl Fn(&str) -> Option<String>) -> VerdictLine {
    let property = judge::property(judged.id);
    let (verdict, why) = match &judged.shortest {
        Some((_, how)) => (Verdict::Violated, Some(how.clone())),
        None if judged.unknown > 0 => (Verdict::Unknown, judged.undecided.clone()),
        None if judged.exercised > 0 => (Verdict::NotViolated, None),
        None => (
            Verdict::NotTestable,
            Some(missing(judged.id).unwrap_or_else(|| "nothing in the campaign exercised it".into())),
        ),
    };
    VerdictLine {
        id: judged.id,
        name: property.map_or("", |property| property.name()),
        sentence: property.map_or("", |property| property.sentence()),
        verdict,
        exercised: judged.exercised,
        violated: judged.violated,
        why,
        history: judged.shortest.as_ref().map(|(trial, _)| Trial::events(trial)),
        scenario: None,
    }
}

/// Why a property cannot be tested with these roles.
pub fn missing_role(id: &str, target: &Target) -> Option<String> {
    let role = |present: bool, name: &str| (!present).then(|| format!("the role `{name}` is missing"));
    let observe = role(target.observe.is_some(), "observe");
    let effects = role(target.effects.is_some(), "effects");
    let spoil = role(target.spoil.is_some(), "spoil");
    let mend = role(target.mend.is_some(), "mend");
    match id {
        "S1" if target.promise.burn => Some("failed attempts are meant to use it up".into()),
        "L3" if target.promise.burn => Some("failed attempts are meant to use it up".into()),
        "S1" => observe,
        "S4" => role(target.approve.is_some(), "approve"),
        "S5" => role(target.expire.is_some(), "expire"),
        "S6" => role(target.drift.is_some(), "drift"),
        "S7" => spoil.or_else(|| role(target.trace.is_some() || target.effects.is_some(), "trace")),
        "S8" => role(target.audit.is_some(), "audit"),
        "S9" | "L4" => observe,
        "S10" => {
            role(target.approve.is_some(), "approve").or_else(|| role(target.reject.is_some(), "reject"))
        }
        "S11" => role(target.targets.is_some(), "targets"),
        "S12" => role(target.other_owner.is_some(), "other_owner"),
        "S13" => role(target.usage.key_header.is_some(), "use.key_header"),
        "S14" => role(target.service.is_some(), "service")
            .or_else(|| role(target.database.is_some(), "database"))
            .or_else(|| Some("no caller was refused while another one held a lease".into())),
        "S15" => role(!target.safe_links.is_empty(), "safe_links"),
        "S16" => Some("a target file does not say which values are tokens".into()),
        "S17" => observe.or(effects),
        "S18" if target.promise.approvers < 2 => Some("one approver is enough".into()),
        "S18" => role(target.approve.is_some(), "approve"),
        "S19" => role(target.requester.is_some(), "requester"),
        "S20" => role(target.reject.is_some(), "reject"),
        "S21" if !target.promise.burn => Some("failed attempts are not meant to use it up".into()),
        "S21" | "L3" => spoil.or(mend),
        "S22" => Some("no role changes the version of the target".into()),
        "L1" => effects,
        "L2" => role(target.settled.is_some(), "settled"),
        _ => None,
    }
}

/// The built-in flows whose known verdicts agree with all of these.
fn behaves_like(verdicts: &[VerdictLine]) -> Vec<String> {
    let of =
        |verdict: Verdict| verdicts.iter().filter(move |line| line.verdict == verdict).map(|line| line.id);
    if of(Verdict::Violated).next().is_none() && of(Verdict::NotViolated).count() < 3 {
        return Vec::new();
    }
    let agrees = |broken: &[&str]| {
        of(Verdict::Violated).all(|id| broken.contains(&id))
            && of(Verdict::NotViolated).all(|id| !broken.contains(&id))
    };
    BUILT_IN
        .iter()
        .filter(|flow| {
            let subject = flow.subject();
            let broken: Vec<&str> =
                subject.expectations.broken.iter().map(|property| property.id()).collect();
            agrees(&broken)
        })
        .map(|flow| flow.name.to_owned())
        .collect()
}

/// A value in one line, cut to `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The text of a read value.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
