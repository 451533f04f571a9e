//! Advice: small edits of a flow file, each verified, that keep a violated promise and violate no other.
//!
//! Edits are tried one by one, then in pairs. One is offered only if the edited flow was explored in full at the
//! bounds of the violation. The search is bounded by states, so that its result does not depend on the machine.

mod document;
mod edit;

use std::ops::ControlFlow;

use countersign::{flow_file, protocol::Flow};
use foldhash::fast::FixedState;
use rayon::prelude::*;

use self::{
    document::Document,
    edit::{Edit, edits_of},
};
use crate::{
    explorer::Limits,
    model::{Bounds, Model},
    properties::{Property, Set},
    verdict::{Expectations, Verdict, verify},
};

/// Edits that mend a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The violated properties that it is the smallest advice for.
    pub mends: Vec<Property>,
    /// The edits, as imperatives: one, or two that belong together.
    pub edits: Vec<String>,
    /// The edited file.
    pub file: String,
    /// The properties that the edited flow still violates.
    pub remains: Vec<Property>,
}

/// Result of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advised {
    /// The advice: single edits before pairs, small ones before large ones.
    pub advice: Vec<Advice>,
    /// The violated properties that no advice was found for.
    pub without: Vec<Property>,
    /// Every edit and every pair of edits was tried, or none was needed.
    pub complete: bool,
}

/// A flow file after as many edits as helped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// The applied edits, in order.
    pub edits: Vec<String>,
    /// The edited file.
    pub file: String,
    /// The properties that it still violates.
    pub remains: Vec<Property>,
}

/// A search: the violated properties, the bounds, and the limits.
#[derive(Clone, Copy)]
pub struct Search<'s> {
    /// The bounds of the violations, and of every verification.
    pub bounds: Bounds,
    /// The states of the flow as it is.
    pub size: usize,
    /// The states that all verifications together may explore.
    pub states: usize,
    /// Stops the search early when true.
    pub is_stopped: &'s (dyn Fn() -> bool + Sync),
}

impl Search<'_> {
    /// Enough for every pair of edits of a flow of four steps.
    pub const STATES: usize = 3_000_000;
}

/// The flows that were tried.
type Seen = hashbrown::HashSet<Flow, FixedState>;

/// A flow after some edits.
#[derive(Clone)]
struct Candidate {
    edits: Vec<String>,
    rank: usize,
    document: Document,
    flow: Flow,
}

/// The violated properties of a flow, and its exercised ones that hold.
#[derive(Clone, Copy)]
struct Verdicts {
    violated: Set,
    kept: Set,
}

/// The states of a search so far.
struct Spent {
    states: usize,
    /// Those of the largest flow.
    largest: usize,
}

impl Spent {
    /// Candidates to be tried concurrently: as many of the largest size as fit into what is `left`.
    fn concurrently(&self, left: usize) -> usize {
        left.checked_div(self.largest).unwrap_or(left).clamp(1, Search::CHUNK)
    }
}

/// Advice for each of the `violated` properties of a flow file. Uses the current rayon pool.
pub fn advise(file: &str, violated: &[Property], search: &Search<'_>) -> Advised {
    let mut advised = Advised { complete: true, ..Advised::default() };
    let Some(original) = Candidate::read(file) else {
        return Advised { without: violated.to_vec(), ..advised };
    };
    let before = set_of(violated);
    let mut seen = Seen::with_hasher(FixedState::with_seed(0));
    seen.insert(original.flow.clone());
    let mut spent = Spent { states: 0, largest: search.size };
    let singles = original.edited(&mut seen);
    let mut found = Vec::new();
    advised.complete &= search.try_all(&singles, before, before, &mut spent, &mut found);
    let mended = |found: &[(Candidate, Verdicts)]| found.iter().fold(0, |set, (_, one)| set | one.kept);
    if before & !mended(&found) != 0 && advised.complete {
        let mut pairs: Vec<Candidate> = singles.iter().flat_map(|one| one.edited(&mut seen)).collect();
        pairs.sort_by_key(|pair| pair.rank);
        // Bit by bit: the smallest pairs first, and none once every property has its advice.
        for some in pairs.chunks(Search::CHUNK) {
            let wanted = before & !mended(&found);
            if wanted == 0 {
                break;
            }
            advised.complete = search.try_all(some, before, wanted, &mut spent, &mut found);
            if !advised.complete {
                break;
            }
        }
    }
    let of = |property: &Property| {
        let mends =
            |(_, (_, verdicts)): &(usize, &(Candidate, Verdicts))| verdicts.kept & property.bit() != 0;
        let size = |(at, (candidate, verdicts)): &(usize, &(Candidate, Verdicts))| {
            (candidate.edits.len(), verdicts.violated.count_ones(), candidate.rank, *at)
        };
        found.iter().enumerate().filter(mends).min_by_key(size).map(|(at, _)| at)
    };
    let mut chosen: Vec<(usize, Vec<Property>)> = Vec::new();
    for property in violated {
        match of(property) {
            None => advised.without.push(*property),
            Some(at) => match chosen.iter_mut().find(|(other, _)| *other == at) {
                Some((_, mends)) => mends.push(*property),
                None => chosen.push((at, vec![*property])),
            },
        }
    }
    chosen.sort_by_key(|(at, _)| (found[*at].0.edits.len(), found[*at].0.rank, *at));
    advised.advice = chosen
        .into_iter()
        .map(|(at, mends)| {
            let (candidate, verdicts) = &found[at];
            let remains: Vec<Property> = properties(verdicts.violated);
            Advice { mends, edits: candidate.edits.clone(), file: candidate.file(&remains), remains }
        })
        .collect();
    advised
}

/// Follows the advice that leaves the fewest violations, and searches again, until no advice is left.
pub fn mend(file: &str, violated: &[Property], search: &Search<'_>) -> Mended {
    let mut mended = Mended { edits: Vec::new(), file: file.to_owned(), remains: violated.to_vec() };
    while !mended.remains.is_empty() {
        let advised = advise(&mended.file, &mended.remains, search);
        let best = advised.advice.into_iter().min_by_key(|one| (one.remains.len(), one.edits.len()));
        let Some(best) = best else { break };
        mended.edits.extend(best.edits);
        mended.file = best.file;
        mended.remains = best.remains;
    }
    mended
}

impl Candidate {
    fn read(file: &str) -> Option<Self> {
        let flow = flow_file::parse(file.as_bytes(), Property::IDS).ok()?.flow;
        Some(Self { edits: Vec::new(), rank: 0, document: Document::read(file)?, flow })
    }

    /// The flows after one more edit, without those already seen.
    fn edited(&self, seen: &mut Seen) -> Vec<Self> {
        let edits = edits_of(&self.flow);
        edits
            .into_iter()
            .filter_map(|edit| self.after(edit))
            .filter(|one| seen.insert(one.flow.clone()))
            .collect()
    }

    /// `None` if the edited file is not a flow file.
    fn after(&self, edit: Edit) -> Option<Self> {
        let mut document = self.document.clone();
        edit.changes.iter().try_for_each(|change| document.apply(change))?;
        let flow = flow_file::parse(document.text().as_bytes(), Property::IDS).ok()?.flow;
        let edits = self.edits.iter().cloned().chain([edit.words]).collect();
        Some(Self { edits, rank: self.rank + edit.rank, document, flow })
    }

    /// The edited file, with `remains` as its only expected violations.
    fn file(&self, remains: &[Property]) -> String {
        let mut document = self.document.clone();
        let is_gone = |id: &str| !remains.iter().any(|one| one.id() == id);
        document.expect_no_more("expect_broken", is_gone);
        document.text()
    }
}

impl Search<'_> {
    /// The most candidates that are tried concurrently.
    const CHUNK: usize = 16;

    /// Appends the candidates that keep one of `wanted` and violate nothing but of `before`. False when it was stopped.
    fn try_all(
        &self,
        candidates: &[Candidate],
        before: Set,
        wanted: Set,
        spent: &mut Spent,
        found: &mut Vec<(Candidate, Verdicts)>,
    ) -> bool {
        let mut rest = candidates;
        while !rest.is_empty() {
            let left = self.states.saturating_sub(spent.states);
            if left == 0 || (self.is_stopped)() {
                return false;
            }
            let (some, others) = rest.split_at(spent.concurrently(left).min(rest.len()));
            rest = others;
            let tried: Vec<_> =
                some.par_iter().map(|one| self.attempt(&one.flow, before, wanted, left)).collect();
            for (candidate, (verdicts, explored)) in some.iter().zip(tried) {
                spent.states += explored;
                spent.largest = spent.largest.max(explored);
                found.extend(verdicts.map(|verdicts| (candidate.clone(), verdicts)));
            }
        }
        spent.states <= self.states && !(self.is_stopped)()
    }

    /// The verdicts on an edited flow that is worth its while, and the number of states that were explored.
    fn attempt(&self, flow: &Flow, before: Set, wanted: Set, most: usize) -> (Option<Verdicts>, usize) {
        let mut explored = 0;
        let mut last = None;
        for bounds in self.stages() {
            let (verdicts, states) = self.verdicts(flow, bounds, most);
            explored += states;
            // Smaller bounds allow fewer runs: a violation there is a violation here.
            last = verdicts.filter(|one| one.violated & !before == 0 && one.violated & wanted != wanted);
            if last.is_none() {
                break;
            }
        }
        (last.filter(|one| one.kept & wanted != 0), explored)
    }

    /// Small bounds, which reject most edits soon, then those of the search.
    fn stages(&self) -> Vec<Bounds> {
        let whole = self.bounds;
        let small = |consumers: u8, rest: u8| Bounds {
            consumers: whole.consumers.min(consumers),
            crashes: whole.crashes.min(rest),
            faults: whole.faults.min(rest),
        };
        let mut stages = vec![small(2, 0), small(2, 1), whole];
        stages.dedup();
        stages
    }

    fn verdicts(&self, flow: &Flow, bounds: Bounds, most: usize) -> (Option<Verdicts>, usize) {
        if !Model::fits(flow, bounds) {
            return (None, 0);
        }
        let model = Model::new(flow.clone(), bounds);
        let limits = Limits { max_states: most, ..Limits::default() };
        let mut watch =
            |_| if (self.is_stopped)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let report = verify(&model, &Expectations::default(), limits, &mut watch);
        let (mut violated, mut kept) = (0, 0);
        for judgement in &report.judgements {
            let bit = judgement.property.bit();
            match judgement.verdict {
                Verdict::Violated(_) => violated |= bit,
                Verdict::Holds if judgement.exercised => kept |= bit,
                // S15 requires a method other than GET.
                Verdict::DoesNotApply if judgement.property == Property::S15 => kept |= bit,
                Verdict::Holds | Verdict::DoesNotApply | Verdict::Unknown => {}
            }
        }
        (report.cut_off.is_none().then_some(Verdicts { violated, kept }), report.states)
    }
}

fn set_of(properties: &[Property]) -> Set {
    properties.iter().fold(0, |set, one| set | one.bit())
}

fn properties(set: Set) -> Vec<Property> {
    Property::MODELLED.iter().copied().filter(|one| set & one.bit() != 0).collect()
}
