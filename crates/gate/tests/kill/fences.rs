//! The workers' logs of their jobs, checked for fencing: a worker without a lease must not act.

use std::collections::BTreeMap;

use serde_json::Value;

/// Log entries of one approval's job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fences {
    leased: Vec<u64>,
    finished: Vec<u64>,
    refused: Vec<u64>,
}

impl Fences {
    fn latest(&self) -> Option<u64> {
        self.leased.iter().copied().max()
    }

    fn is_stale(&self, fence: u64) -> bool {
        self.latest().is_some_and(|latest| fence < latest)
    }

    /// A worker acted, or tried to, after another one had leased the job.
    pub(crate) fn stale_worker_tried(&self) -> bool {
        self.refused.iter().chain(&self.finished).any(|fence| self.is_stale(*fence))
    }

    /// The stale worker acted. No lease is granted once a job is done: the worker that finished it had to have the last
    /// one.
    pub(crate) fn stale_worker_acted(&self) -> bool {
        self.finished.iter().any(|fence| self.is_stale(*fence))
    }
}

/// The jobs' fences by approval, as the logs of all instances tell them, one JSON object a line.
///
/// A line that a killed process has not written to its end is passed over: what is not known of makes no worker stale.
pub(crate) fn logged(logs: &str) -> BTreeMap<String, Fences> {
    const BEGIN: &str = r#"{"timestamp""#;
    let mut all: BTreeMap<String, Fences> = BTreeMap::new();
    for line in logs.lines() {
        let whole = line.rfind(BEGIN).map_or(line, |begin| &line[begin..]);
        let Ok(event) = serde_json::from_str::<Value>(whole) else { continue };
        let fields = &event["fields"];
        let (Some(approval), Some(fence)) = (fields["approval"].as_str(), fields["fence"].as_u64()) else {
            continue;
        };
        let fences = all.entry(approval.to_owned()).or_default();
        match fields["message"].as_str() {
            Some("a launch job is leased") => fences.leased.push(fence),
            Some("a deploy has ended") => fences.finished.push(fence),
            Some("the job is no longer this worker's") => fences.refused.push(fence),
            _ => {}
        }
    }
    all
}

/// Logs of which it is known what they say.
pub(crate) fn are_read_as_they_are_meant() {
    let line = |message: &str, fence: u64| {
        format!(r#"{{"timestamp":"t","fields":{{"message":"{message}","approval":"a","fence":{fence}}}}}"#)
    };
    let (leased, ended, lost) =
        ("a launch job is leased", "a deploy has ended", "the job is no longer this worker's");
    let told = |lines: &[(&str, u64)]| {
        let lines: Vec<String> = lines.iter().map(|(message, fence)| line(message, *fence)).collect();
        let fences = logged(&lines.join("\n"))["a"].clone();
        (fences.stale_worker_tried(), fences.stale_worker_acted())
    };
    assert_eq!(told(&[(leased, 1), (ended, 1)]), (false, false), "one worker, one lease");
    assert_eq!(told(&[(leased, 1), (lost, 1)]), (false, false), "the other lease was not seen");
    assert_eq!(told(&[(leased, 1), (leased, 2), (lost, 1), (ended, 2)]), (true, false), "fenced");
    assert_eq!(told(&[(leased, 1), (leased, 2), (ended, 1), (lost, 2)]), (true, true), "not fenced");
    let torn = format!("{{\"timest{}\nnothing\n{}", line(leased, 2), line(ended, 1));
    assert!(logged(&torn)["a"].stale_worker_acted(), "a torn line hides nothing but itself");
}
