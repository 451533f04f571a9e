//! The small edits that are tried, smallest first, with their wording.

use countersign::protocol::{
    Act, Atomicity, Consume, Flow, Lease, Member, Method, Object, OnConflict, OnError, Retry, Step,
    StepAction, Storage, Via,
};
use toml_edit::Value;

use super::document::{Change, Place};

/// One edit.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    /// The edit, as an imperative.
    pub(super) words: String,
    /// Its size, among edits: a key, several keys, a move, a transaction, a new step.
    pub(super) rank: usize,
    /// The changes of the file.
    pub(super) changes: Vec<Change>,
}

/// Every edit of `flow`: keys, then moves, then transactions, then new steps.
pub(super) fn edits_of(flow: &Flow) -> Vec<Edit> {
    let mut edits = Edits { flow, rank: KEY, list: Vec::new() };
    edits.people();
    for (index, step) in flow.steps().iter().enumerate() {
        edits.keys(index, step);
    }
    edits.own_uses();
    edits.rank = MOVE;
    edits.moves();
    edits.rank = TRANSACTION;
    edits.transactions();
    edits.rank = NEW_STEP;
    edits.new_steps();
    edits.list
}

const KEY: usize = 0;
const MOVE: usize = 2;
const TRANSACTION: usize = 3;
const NEW_STEP: usize = 5;

struct Edits<'f> {
    flow: &'f Flow,
    rank: usize,
    list: Vec<Edit>,
}

impl Edits<'_> {
    fn push(&mut self, words: String, changes: Vec<Change>) {
        let more = match changes.as_slice() {
            [Change::Add(_, _, words)] => words.len() > 1,
            [Change::Group { steps, .. }] => steps.len() > 2,
            _ => false,
        };
        self.list.push(Edit { words, rank: self.rank + usize::from(more), changes });
    }

    fn set(&mut self, place: Place, key: &'static str, value: impl Into<Value>, words: String) {
        self.push(words, vec![Change::Set(place, key, value.into())]);
    }

    /// Edits of the decision and the endpoint.
    fn people(&mut self) {
        let (decision, object) = (self.flow.decision(), self.flow.object());
        if self.flow.endpoint().method == Method::Get {
            let words = "use POST instead of GET for the endpoint".to_owned();
            self.set(Place::Table("endpoint"), "method", "POST", words);
        }
        if object.approvers == 0 {
            return;
        }
        if decision.method == Method::Get {
            let words = "use POST instead of GET for the decision".to_owned();
            self.set(Place::Table("decision"), "method", "POST", words);
        }
        let guards = decision.guards;
        let missing = absent(&[
            ("status", guards.status),
            ("expiry", guards.expiry || !object.expires),
            ("distinct", guards.distinct || object.approvers < 2),
            ("not_requester", guards.not_requester || !object.separate),
        ]);
        // The defaults are written out where another one is added.
        let written = absent(&[("status", !guards.status), ("expiry", !guards.expiry)]);
        for guard in missing {
            let words = format!("make the approval conditional on `{guard}`");
            let list: toml_edit::Array = written.iter().copied().chain([guard]).collect();
            self.set(Place::Table("decision"), "guards", list, words);
        }
    }

    /// The keys of one step, and of its members.
    fn keys(&mut self, index: usize, step: &Step) {
        let place = Place::Step(index);
        match step.on_error {
            OnError::Refuse => {}
            OnError::Continue => {
                let words = format!("answer the 503 when `{step}` fails, instead of going on");
                self.set(place, "on_error", "refuse", words);
            }
            OnError::Retry => {
                let words = format!("answer the 503 when `{step}` fails, instead of running it again");
                self.set(place, "on_error", "refuse", words);
            }
        }
        match &step.action {
            StepAction::Validate { checks, .. } => {
                let object = self.flow.object();
                let missing = absent(&[
                    ("owner", checks.owner || !object.owner),
                    ("status", checks.status),
                    ("binding", checks.binding || !object.bound),
                    ("expiry", checks.expiry || !object.expires),
                    ("digest", checks.digest || !object.bound),
                    ("target", checks.target || !object.target_bound),
                ]);
                for words in one_or_all(&missing) {
                    let said = format!("compare {} in `{step}`", quoted(&words));
                    self.push(said, vec![Change::Add(place, "checks", words)]);
                }
            }
            StepAction::Consume(consume) => self.consume(index, place, &format!("`{step}`"), consume),
            StepAction::Act(act) => self.act(place, &format!("`{step}`"), act),
            StepAction::Write(write) => {
                if write.atomicity == Atomicity::ReadThenWrite {
                    self.push(
                        format!("make `{step}` one atomic statement"),
                        vec![Change::Remove(place, "how")],
                    );
                }
                self.undo(place, &format!("`{step}`"), write.undo);
            }
            StepAction::Lease(lease) => self.lease(place, step, lease),
            StepAction::Recall { claim, claim_expires } => {
                if !claim {
                    let words = format!("insert an in-flight marker in `{step}`");
                    self.set(place, "claim", true, words);
                }
                if !claim_expires {
                    self.set(place, "claim_expires", true, format!("let the marker of `{step}` expire"));
                }
            }
            StepAction::Atomic(members) => {
                for (at, member) in members.iter().enumerate() {
                    let place = Place::Member(index, at);
                    match member {
                        Member::Consume(consume) => {
                            let name = if step.name.is_some() {
                                format!("the consume in `{step}`")
                            } else {
                                "`consume`".to_owned()
                            };
                            self.consume(index, place, &name, consume);
                        }
                        Member::Act(act) => {
                            let name = act.name.as_deref().unwrap_or("act");
                            self.act(place, &format!("`{name}`"), act);
                        }
                        Member::Write(_) | Member::Audit | Member::Remember => {}
                    }
                }
            }
            StepAction::Check { .. } | StepAction::Audit | StepAction::Remember => {}
        }
    }

    fn consume(&mut self, index: usize, place: Place, name: &str, consume: &Consume) {
        let (object, guards) = (self.flow.object(), consume.guards);
        let leased =
            self.flow.steps()[..index].iter().any(|step| matches!(step.action, StepAction::Lease(_)));
        let missing = absent(&[
            ("status", guards.status),
            ("expiry", guards.expiry || !object.expires),
            ("digest", guards.digest || !object.bound),
            ("target", guards.target || !object.target_bound),
            ("lease", guards.lease || !leased),
        ]);
        for words in one_or_all(&missing) {
            let said = format!("make {name} conditional on {}", quoted(&words));
            self.push(said, vec![Change::Add(place, "guards", words)]);
        }
        if consume.atomicity == Atomicity::ReadThenWrite {
            self.push(format!("make {name} one atomic statement"), vec![Change::Remove(place, "how")]);
        }
        if consume.on_conflict == OnConflict::Continue {
            let words = format!("answer a 409 when {name} changes no row");
            self.set(place, "on_conflict", "refuse", words);
        }
        if consume.storage == Storage::Memory {
            let words = format!("keep the use of {name} in a row instead of memory");
            self.push(words, vec![Change::Remove(place, "store")]);
        }
        if matches!(place, Place::Step(_)) {
            self.undo(place, name, consume.undo);
        }
    }

    fn undo(&mut self, place: Place, name: &str, undone: bool) {
        let words = if undone {
            format!("do not undo {name}")
        } else {
            format!("undo {name} when a later step refuses")
        };
        self.set(place, "undo", !undone, words);
    }

    fn act(&mut self, place: Place, name: &str, act: &Act) {
        match act.via {
            Via::Row { unique: false } => {
                self.set(place, "unique", true, format!("make the row of {name} unique"));
            }
            Via::Call { key } => {
                if !key {
                    let words = format!("send {name} a key that the other system deduplicates by");
                    self.set(place, "key", true, words);
                }
                if !act.undo {
                    self.undo(place, name, false);
                }
            }
            Via::Row { unique: true } | Via::Memory | Via::Outbox | Via::Answer => {}
        }
    }

    fn lease(&mut self, place: Place, step: &Step, lease: &Lease) {
        if lease.until.is_some() {
            let words = format!("hold the lease of `{step}` until the end");
            self.push(words, vec![Change::Remove(place, "until")]);
        }
        if lease.expires && !lease.renewed {
            let words = format!("renew the lease of `{step}` while its holder lives");
            self.set(place, "renewed", true, words);
        }
        if !lease.expires {
            self.set(place, "expires", true, format!("let the lease of `{step}` run out"));
        }
    }

    /// A retry that recognises its own use, in every step that compares the status.
    fn own_uses(&mut self) {
        if self.flow.endpoint().retry == Retry::None || self.flow.consume().is_none() {
            return;
        }
        let mut changes = Vec::new();
        let mut names = Vec::new();
        for (index, step) in self.flow.steps().iter().enumerate() {
            let place = match &step.action {
                StepAction::Validate { checks, accept_own: false } if checks.status => Place::Step(index),
                StepAction::Consume(consume) if !consume.accept_own => Place::Step(index),
                StepAction::Atomic(members) => {
                    let is_consume =
                        |member: &Member| matches!(member, Member::Consume(one) if !one.accept_own);
                    match members.iter().position(is_consume) {
                        Some(member) => Place::Member(index, member),
                        None => continue,
                    }
                }
                _ => continue,
            };
            changes.push(Change::Set(place, "accept_own", true.into()));
            names.push(format!("`{step}`"));
        }
        if !changes.is_empty() {
            self.push(format!("let {} accept the caller's own earlier use", names.join(" and ")), changes);
        }
    }

    fn moves(&mut self) {
        let steps = self.flow.steps();
        for from in 0..steps.len() {
            for to in 0..steps.len() {
                let mut order: Vec<&Step> = steps.iter().collect();
                let moved = order.remove(from);
                order.insert(to, moved);
                if !recalls_what_happened(&order) {
                    continue;
                }
                let words = match to {
                    _ if to < from => format!("move `{}` before `{}`", steps[from], steps[to]),
                    // Neighbours change places: said once, by the step that moves up.
                    _ if to > from + 1 => format!("move `{}` after `{}`", steps[from], steps[to]),
                    _ => continue,
                };
                self.push(words, vec![Change::Move { from, to }]);
            }
        }
    }

    /// Transactions of the consume and other steps.
    fn transactions(&mut self) {
        let steps = self.flow.steps();
        let Some(consume) = steps.iter().position(|step| step.consume().is_some()) else { return };
        if !can_join(&steps[consume]) {
            return;
        }
        let joins =
            |index: &usize| *index != consume && can_join(&steps[*index]) && !may_say_no(&steps[*index]);
        let others: Vec<usize> = (0..steps.len()).filter(joins).collect();
        for other in &others {
            let pair = [consume.min(*other), consume.max(*other)];
            self.group(&pair, pair[1]);
            self.group(&pair, pair[0]);
        }
        if others.len() > 1 {
            let mut all = others;
            all.push(consume);
            all.sort_unstable();
            self.group(&all, all[all.len() - 1]);
            self.group(&all, consume);
        }
    }

    fn group(&mut self, members: &[usize], at: usize) {
        let steps = self.flow.steps();
        let names: Vec<String> = members.iter().map(|index| part(&steps[*index])).collect();
        let last = members[members.len() - 1];
        let place = if at == last { String::new() } else { format!(", where `{}` is", steps[at]) };
        let words = format!("put {} into one transaction{place}", list(&names));
        self.push(words, vec![Change::Group { steps: members.to_vec(), at }]);
    }

    /// Steps that are missing.
    fn new_steps(&mut self) {
        let flow = self.flow;
        let (steps, object) = (flow.steps(), flow.object());
        let consume = steps.iter().position(|step| step.consume().is_some());
        let audits = |step: &Step| {
            matches!(step.action, StepAction::Audit)
                || step.members().iter().any(|member| matches!(member, Member::Audit))
        };
        if let (Some(at), true, false) = (consume, object.audited, steps.iter().any(audits)) {
            let words = format!("write the event in the transaction of `{}`", steps[at]);
            let insert = Change::Insert(at + 1, "do = \"audit\"\n");
            self.push(words, vec![insert, Change::Group { steps: vec![at, at + 1], at }]);
        }
        let keyed = flow.endpoint().retry == Retry::Key;
        if let (Some(at), true) = (consume, keyed) {
            let recalls = steps.iter().any(|step| matches!(step.action, StepAction::Recall { .. }));
            if !recalls && can_join(&steps[at]) {
                let words = format!(
                    "store the outcome in the transaction of `{}`, and begin with a `recall` of it",
                    steps[at]
                );
                let changes = vec![
                    Change::Insert(at + 1, "do = \"remember\"\n"),
                    Change::Group { steps: vec![at, at + 1], at },
                    Change::Insert(0, "do = \"recall\"\n"),
                ];
                self.push(words, changes);
            }
        }
        if !steps.iter().any(|step| matches!(step.action, StepAction::Validate { .. })) {
            let words = "begin with a `validate` that compares all that is promised".to_owned();
            let mut changes = vec![Change::Insert(0, "do = \"validate\"\nchecks = []\n")];
            changes.push(Change::Add(Place::Step(0), "checks", promised(object, &["owner", "binding"])));
            self.push(words, changes);
        }
        if consume.is_none() {
            self.new_consume();
        }
    }

    fn new_consume(&mut self) {
        const CONSUME: &str = "do = \"consume\"\nguards = []\n";
        let guards = promised(self.flow.object(), &[]);
        let noun = &self.flow.object().noun;
        let act =
            self.flow.steps().iter().enumerate().find_map(|(at, step)| Some((at, step.acts().next()?.0)));
        let at = act.map_or(self.flow.steps().len(), |(at, _)| at);
        let add = [Change::Insert(at, CONSUME), Change::Add(Place::Step(at), "guards", guards.clone())];
        let conditional = quoted(&guards);
        match act {
            Some((_, name)) => {
                let words = format!("use the {noun} up before `{name}`, conditional on {conditional}");
                self.push(words, add.to_vec());
                let words =
                    format!("use the {noun} up in the transaction of `{name}`, conditional on {conditional}");
                let group = Change::Group { steps: vec![at, at + 1], at };
                self.push(words, add.into_iter().chain([group]).collect());
            }
            None => {
                self.push(
                    format!("use the {noun} up at the end, conditional on {conditional}"),
                    add.to_vec(),
                );
            }
        }
    }
}

/// True if an outcome is looked for before the use, and stored after it. In another order a caller may get the success of
/// an attempt that has not happened. Where nothing uses the object, the first act stands for the use.
fn recalls_what_happened(order: &[&Step]) -> bool {
    let consume = order.iter().position(|step| step.consume().is_some());
    let first_act = || order.iter().position(|step| step.acts().next().is_some());
    let Some(happens) = consume.or_else(first_act) else { return true };
    order.iter().enumerate().all(|(at, step)| match step.action {
        StepAction::Recall { .. } => at < happens,
        StepAction::Remember => at > happens,
        _ => true,
    })
}

/// True if a step can be a member of a transaction, or have members added.
fn can_join(step: &Step) -> bool {
    matches!(
        step.action,
        StepAction::Consume(_)
            | StepAction::Write(_)
            | StepAction::Act(_)
            | StepAction::Audit
            | StepAction::Remember
            | StepAction::Atomic(_)
    )
}

/// The part of a step that moves into a transaction: an act without a row becomes a job.
fn part(step: &Step) -> String {
    if becomes_a_job(step) { format!("a job for `{step}`") } else { format!("`{step}`") }
}

fn becomes_a_job(step: &Step) -> bool {
    matches!(&step.action, StepAction::Act(act) if !matches!(act.via, Via::Row { .. } | Via::Outbox))
}

/// True if the caller waits for the answer of a call that may be a refusal: a job would run after the caller has its own.
fn may_say_no(step: &Step) -> bool {
    becomes_a_job(step) && matches!(&step.action, StepAction::Act(act) if !act.refusals.is_empty())
}

/// The words that are not there.
fn absent(words: &[(&'static str, bool)]) -> Vec<&'static str> {
    words.iter().filter(|(_, is_there)| !is_there).map(|(word, _)| *word).collect()
}

/// Each word alone, then all of them.
fn one_or_all(words: &[&'static str]) -> Vec<Vec<&'static str>> {
    let mut choices: Vec<Vec<&str>> = words.iter().map(|word| vec![*word]).collect();
    if words.len() > 1 {
        choices.push(words.to_vec());
    }
    choices
}

/// The status, and the promised conditions of a use; with `also`, those that only a validate compares.
fn promised(object: &Object, also: &[&'static str]) -> Vec<&'static str> {
    let all = [
        ("owner", object.owner && also.contains(&"owner")),
        ("status", true),
        ("binding", object.bound && also.contains(&"binding")),
        ("expiry", object.expires),
        ("digest", object.bound),
        ("target", object.target_bound),
    ];
    all.into_iter().filter(|(_, is_promised)| *is_promised).map(|(word, _)| word).collect()
}

fn quoted(words: &[&str]) -> String {
    list(&words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>())
}

fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}
