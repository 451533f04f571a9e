//! Depth-first search over the schedules, with sleep sets.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Exploration, ExploreError, NotFollowed, Requests, Schedule, SearchEnd, SearchSettings,
    catalog::Catalog,
    count::linear_extensions,
    independence::Footprint,
    policy::Policy,
    run::{Broken, Choice, Chooser, Enabled, Followed, Knowledge, Outcome, Run},
};
use crate::{proxy::Proxy, sql};

/// Before the search the requests run this often, so that the service's pool has its connections.
const WARM_UPS: usize = 2;
/// A schedule that cannot be followed is tried this often.
const ATTEMPTS: usize = 3;
/// After as many the search is given up.
const MOST_NOT_FOLLOWED: usize = 5;

/// A decision: the requests that could continue, and the alternatives left.
struct Node {
    enabled: Vec<Enabled>,
    /// Requests whose next statement is explored elsewhere already, from a schedule that differs only in the order of
    /// statements that commute.
    sleep: Vec<Elsewhere>,
    tried: Vec<Elsewhere>,
    untried: Vec<usize>,
    chosen: usize,
    executed: Footprint,
    /// The previous request, and the number of preemptions.
    last: Option<usize>,
    preemptions: usize,
}

/// A request whose next statement is explored elsewhere. Its footprint is that of the statement that it holds in the
/// current run, since each run has another object; and what its execution touched in addition, without the keys.
#[derive(Clone)]
struct Elsewhere {
    request: usize,
    in_addition: Footprint,
}

impl Node {
    fn held(&self, request: usize) -> Footprint {
        let held = self.enabled.iter().find(|enabled| enabled.request == request);
        held.map_or_else(Footprint::opaque, |enabled| enabled.footprint.clone())
    }

    /// The requests that stay asleep after the chosen statement.
    fn asleep_after(&self) -> Vec<Elsewhere> {
        let elsewhere = self.sleep.iter().chain(&self.tried);
        let commutes = |one: &&Elsewhere| {
            let mut footprint = self.held(one.request);
            footprint.join(one.in_addition.clone());
            one.request != self.chosen && !footprint.depends_on(&self.executed)
        };
        elsewhere.filter(commutes).cloned().collect()
    }

    fn is_preemption(&self, choice: usize) -> bool {
        self.last
            .is_some_and(|last| last != choice && self.enabled.iter().any(|enabled| enabled.request == last))
    }
}

struct Search {
    stack: Vec<Node>,
    depth: usize,
    reduce: bool,
    max_preemptions: Option<usize>,
}

impl Chooser for Search {
    fn choose(&mut self, enabled: &[Enabled]) -> Result<Choice, String> {
        let depth = self.depth;
        self.depth += 1;
        if let Some(node) = self.stack.get_mut(depth) {
            let same = node.enabled.len() == enabled.len()
                && node
                    .enabled
                    .iter()
                    .zip(enabled)
                    .all(|(one, two)| one.request == two.request && one.key == two.key);
            if same {
                node.enabled = enabled.to_vec();
                return Ok(Choice::Release(node.chosen));
            }
            return Err(format!(
                "the service behaves differently from run to run: after the same {depth} decisions it once offers {}, once {}",
                list(&node.enabled),
                list(enabled)
            ));
        }
        let (sleep, last, preemptions) = match self.stack.last() {
            None => (Vec::new(), None, 0),
            Some(before) => {
                let preemptions = before.preemptions + usize::from(before.is_preemption(before.chosen));
                let sleep = if self.reduce { before.asleep_after() } else { Vec::new() };
                (sleep, Some(before.chosen), preemptions)
            }
        };
        let mut node = Node {
            enabled: enabled.to_vec(),
            sleep,
            tried: Vec::new(),
            untried: Vec::new(),
            chosen: 0,
            executed: Footprint::default(),
            last,
            preemptions,
        };
        node.untried = self.candidates(&node);
        let preferred = node.untried.iter().position(|request| Some(*request) == last).unwrap_or(0);
        if node.untried.is_empty() {
            return Ok(Choice::Abandon);
        }
        node.chosen = node.untried.remove(preferred);
        let chosen = node.chosen;
        self.stack.push(node);
        Ok(Choice::Release(chosen))
    }

    fn executed(&mut self, footprint: &Footprint) {
        if let Some(node) = self.depth.checked_sub(1).and_then(|depth| self.stack.get_mut(depth)) {
            node.executed = footprint.clone();
        }
    }
}

impl Search {
    fn new(reduce: bool, max_preemptions: Option<usize>) -> Self {
        Self { stack: Vec::new(), depth: 0, reduce, max_preemptions }
    }

    fn candidates(&self, node: &Node) -> Vec<usize> {
        if self.reduce {
            // A statement that commutes with every other needs no alternatives.
            let local = |enabled: &&Enabled| enabled.footprint.is_local();
            let same = node.enabled.iter().filter(local).find(|enabled| Some(enabled.request) == node.last);
            if let Some(enabled) = same.or_else(|| node.enabled.iter().find(local)) {
                return vec![enabled.request];
            }
        }
        let is_asleep = |request: usize| node.sleep.iter().any(|asleep| asleep.request == request);
        let may_preempt = self.max_preemptions.is_none_or(|most| node.preemptions < most);
        let awake = node.enabled.iter().map(|enabled| enabled.request).filter(|request| !is_asleep(*request));
        awake.filter(|request| may_preempt || !node.is_preemption(*request)).collect()
    }

    /// Goes to the next alternative of the deepest decision that has one.
    fn backtrack(&mut self, policy: &impl Policy) -> bool {
        self.depth = 0;
        while let Some(node) = self.stack.last_mut() {
            let in_addition = std::mem::take(&mut node.executed).in_addition_to(&node.held(node.chosen));
            node.tried.push(Elsewhere { request: node.chosen, in_addition });
            if let Some(next) = policy.next_alternative(&node.untried) {
                node.untried.retain(|request| *request != next);
                node.chosen = next;
                return true;
            }
            self.stack.pop();
        }
        false
    }

    /// Goes back to the decisions that a failed run began with. The part of the search below the last of them is not covered.
    fn forget_from(&mut self, depth: usize) {
        self.stack.truncate(depth);
        if let Some(node) = self.stack.last_mut() {
            node.executed = Footprint::opaque();
        }
    }
}

fn list(enabled: &[Enabled]) -> String {
    let items: Vec<_> = enabled.iter().map(|enabled| format!("[{enabled}]")).collect();
    items.join(" ")
}

/// Releases the requests in turn, so that each gets a separate connection.
#[derive(Default)]
struct InTurn {
    last: Option<usize>,
    statements: usize,
}

impl Chooser for InTurn {
    fn choose(&mut self, enabled: &[Enabled]) -> Result<Choice, String> {
        let next = enabled.iter().find(|enabled| Some(enabled.request) > self.last).or(enabled.first());
        self.last = next.map(|enabled| enabled.request);
        self.statements += 1;
        Ok(self.last.map_or(Choice::Abandon, Choice::Release))
    }

    fn executed(&mut self, _footprint: &Footprint) {}
}

pub(super) async fn explore<R: Requests, P: Policy>(
    proxy: &mut Proxy,
    requests: &mut R,
    settings: &SearchSettings,
    policy: &P,
) -> Result<Exploration, ExploreError<R::Error>> {
    if !(2..=3).contains(&requests.count()) {
        return Err(ExploreError::Count(requests.count()));
    }
    let monitor = proxy.monitor().await.map_err(ExploreError::Database)?;
    let catalog = Catalog::read(monitor).await.map_err(ExploreError::Database)?;
    let mut knowledge = Knowledge { catalog, ..Knowledge::default() };
    requests.reset().await.map_err(ExploreError::Requests)?;
    knowledge.background = background(proxy, settings.quiet_phase).await;
    let began = Instant::now();
    warm_up(proxy, requests, settings, policy, &mut knowledge).await?;

    let mut number = 0;
    let mut exploration = loop {
        let not_reduced = reason_not_to_reduce(settings, &knowledge);
        let mut exploration = Exploration {
            not_reduced: not_reduced.filter(|_| settings.reduce),
            ..Exploration::new(settings, &knowledge)
        };
        let mut search = Search::new(settings.reduce && not_reduced.is_none(), settings.max_preemptions);
        let end = search
            .run(proxy, requests, settings, policy, &mut knowledge, &mut exploration, &mut number, began)
            .await?;
        if end.is_some() && !exploration.not_followed.is_empty() && !knowledge.knows_afterwards {
            // Statements after the end of a request may have been attributed to the other one.
            knowledge.knows_afterwards = true;
            let afterwards = afterwards(proxy, requests, settings).await?;
            if !afterwards.is_subset(&knowledge.background) {
                knowledge.background.extend(afterwards);
                continue;
            }
        }
        // Without an end, knowledge gained on the way invalidates the reduction so far.
        if let Some(end) = end {
            exploration.end = end;
            break exploration;
        }
    };
    if exploration.end != SearchEnd::Finished || !exploration.not_followed.is_empty() {
        exploration.interleavings = None;
    }
    exploration.elapsed = Instant::now() - began;
    Ok(exploration)
}

fn reason_not_to_reduce(settings: &SearchSettings, knowledge: &Knowledge) -> Option<&'static str> {
    if settings.max_preemptions.is_some() {
        Some("the number of preemptions is bounded")
    } else if knowledge.service_waits {
        Some("requests wait for each other inside the service")
    } else if knowledge.snapshots || knowledge.catalog.may_default_to_snapshots {
        Some("the session or the database asks for snapshots that last (REPEATABLE READ or SERIALIZABLE)")
    } else {
        None
    }
}

/// The statements that the service sends without a request.
pub(super) async fn background(proxy: &mut Proxy, quiet_phase: Duration) -> BTreeSet<String> {
    proxy.record();
    sleep(quiet_phase).await;
    let recorded = proxy.take_recording();
    recorded
        .iter()
        .flat_map(|unit| &unit.statements)
        .map(|statement| sql::fingerprint(&statement.sql))
        .collect()
}

/// The statements that the service sends when an object has been made, and when a request is over.
async fn afterwards<R: Requests>(
    proxy: &mut Proxy,
    requests: &mut R,
    settings: &SearchSettings,
) -> Result<BTreeSet<String>, ExploreError<R::Error>> {
    const SAMPLES: usize = 3;
    let mut seen = BTreeSet::new();
    for _ in 0..SAMPLES {
        requests.reset().await.map_err(ExploreError::Requests)?;
        seen.extend(background(proxy, settings.quiet_phase).await);
        // Its response is not judged.
        drop(requests.start(0).await);
        seen.extend(background(proxy, settings.quiet_phase).await);
    }
    Ok(seen)
}

/// Waits until the service sends nothing but background statements.
async fn quiet(proxy: &mut Proxy, background: &BTreeSet<String>) {
    const QUIET: Duration = Duration::from_millis(60);
    const MOST: u32 = 20;
    for _ in 0..MOST {
        proxy.record();
        sleep(QUIET).await;
        let recorded = proxy.take_recording();
        let mut texts = recorded.iter().flat_map(|unit| &unit.statements);
        if texts.all(|statement| background.contains(&sql::fingerprint(&statement.sql))) {
            return;
        }
    }
}

pub(super) async fn warm_up<R: Requests, P: Policy>(
    proxy: &mut Proxy,
    requests: &mut R,
    settings: &SearchSettings,
    policy: &P,
    knowledge: &mut Knowledge,
) -> Result<(), ExploreError<R::Error>> {
    let mut statements = 0;
    knowledge.lingers = true;
    for _ in 0..WARM_UPS {
        requests.reset().await.map_err(ExploreError::Requests)?;
        let mut in_turn = InTurn::default();
        let run = Run::new(proxy, requests, settings, policy, knowledge);
        // An impossible schedule here will be reported by the search.
        if let Err(Broken::Database(error)) = run.follow(&mut in_turn).await {
            return Err(ExploreError::Database(error));
        }
        statements += in_turn.statements;
    }
    knowledge.lingers = knowledge.saw_late;
    if statements == 0 { Err(ExploreError::NoStatements) } else { Ok(()) }
}

impl Exploration {
    fn new(settings: &SearchSettings, knowledge: &Knowledge) -> Self {
        Self {
            explored: 0,
            redundant: 0,
            interleavings: Some(0),
            with_blocking: 0,
            not_followed: Vec::new(),
            repeated: 0,
            end: SearchEnd::Finished,
            max_preemptions: settings.max_preemptions,
            not_reduced: None,
            background: knowledge.background.iter().cloned().collect(),
            elapsed: Duration::ZERO,
        }
    }
}

impl Search {
    /// `None` if the search has to begin again: without a reduction, or with starts as decisions.
    #[expect(clippy::too_many_arguments, reason = "the parts of one exploration, which its caller owns")]
    async fn run<R: Requests, P: Policy>(
        &mut self,
        proxy: &mut Proxy,
        requests: &mut R,
        settings: &SearchSettings,
        policy: &P,
        knowledge: &mut Knowledge,
        exploration: &mut Exploration,
        number: &mut u64,
        began: Instant,
    ) -> Result<Option<SearchEnd>, ExploreError<R::Error>> {
        let mut attempts = 0;
        loop {
            if exploration.explored >= settings.max_schedules {
                return Ok(Some(SearchEnd::MaxSchedules));
            }
            if Instant::now() - began >= settings.max_time {
                return Ok(Some(SearchEnd::MaxTime));
            }
            let decided = self.stack.len();
            self.depth = 0;
            requests.reset().await.map_err(ExploreError::Requests)?;
            if knowledge.knows_afterwards {
                quiet(proxy, &knowledge.background).await;
            }
            let service_waits = knowledge.service_waits;
            let outcome = Run::new(proxy, requests, settings, policy, knowledge).follow(self).await;
            // Starts are decisions from now on.
            if knowledge.service_waits != service_waits && !matches!(outcome, Err(Broken::Database(_))) {
                return Ok(None);
            }
            match outcome {
                Ok(Outcome::Followed(followed)) => {
                    if self.reduce && reason_not_to_reduce(settings, knowledge).is_some() {
                        return Ok(None);
                    }
                    exploration.repeated += u64::from(attempts > 0);
                    attempts = 0;
                    *number += 1;
                    let schedule = self.schedule(followed, *number);
                    exploration.add(&schedule);
                    let verdict = requests.judge(&schedule).await.map_err(ExploreError::Requests)?;
                    if verdict == ControlFlow::Break(()) {
                        return Ok(Some(SearchEnd::Stopped));
                    }
                }
                Ok(Outcome::Abandoned) => exploration.redundant += 1,
                Err(Broken::Database(error)) => return Err(ExploreError::Database(error)),
                Err(Broken::NotFollowed { steps, reason }) => {
                    self.forget_from(decided);
                    attempts += 1;
                    if attempts < ATTEMPTS {
                        continue;
                    }
                    attempts = 0;
                    exploration.not_followed.push(NotFollowed { steps, reason });
                    if exploration.not_followed.len() >= MOST_NOT_FOLLOWED {
                        return Ok(Some(SearchEnd::NotFollowed));
                    }
                }
            }
            if !self.backtrack(policy) {
                return Ok(Some(SearchEnd::Finished));
            }
        }
    }

    fn schedule<R>(&self, followed: Followed<R>, number: u64) -> Schedule<R> {
        let Followed { steps, responses, footprints, enabling } = followed;
        let interleavings = if self.reduce {
            let order: Vec<_> = steps.iter().map(|step| step.request).collect();
            let mut dependent = enabling;
            for later in 0..steps.len() {
                let earlier =
                    (0..later).filter(|earlier| footprints[*earlier].depends_on(&footprints[later]));
                dependent.extend(earlier.map(|earlier| (earlier, later)));
            }
            linear_extensions(&order, &dependent)
        } else {
            Some(1)
        };
        Schedule { number, steps, responses, interleavings }
    }
}

impl Exploration {
    fn add<R>(&mut self, schedule: &Schedule<R>) {
        self.explored += 1;
        let sum = self.interleavings.zip(schedule.interleavings);
        self.interleavings = sum.and_then(|(sum, more)| sum.checked_add(more));
        let is_blocked = schedule.steps.iter().enumerate().any(|(index, step)| step.was_blocked(index));
        self.with_blocking += u64::from(is_blocked);
    }
}
