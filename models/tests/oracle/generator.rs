//! Random valid flow files, from a seed: nearly sensible orders with keys of all kinds, mutated.

mod coverage;
mod rare;
mod rng;

pub(crate) use coverage::Coverage;
pub(crate) use rare::rare_flows;
use rng::Rng;

#[derive(Clone)]
enum Value {
    Word(String),
    Words(Vec<&'static str>),
    Bare(String),
}

impl Value {
    fn toml(&self) -> String {
        match self {
            Self::Word(word) => format!("\"{word}\""),
            Self::Bare(text) => text.clone(),
            Self::Words(words) => {
                format!("[{}]", words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A table of the file: `[object]`, one step, a member of a group.
#[derive(Clone, Default)]
struct Table(Vec<(&'static str, Value)>);

impl Table {
    fn step(word: &str) -> Self {
        Self(vec![("do", Value::Word(word.into()))])
    }

    fn word(&mut self, key: &'static str, word: impl Into<String>) {
        self.0.push((key, Value::Word(word.into())));
    }

    fn flag(&mut self, key: &'static str, value: bool) {
        self.0.push((key, Value::Bare(value.to_string())));
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.0
            .iter()
            .any(|(k, v)| *k == key && matches!(v, Value::Word(word) | Value::Bare(word) if word == value))
    }
}

#[derive(Clone)]
enum Step {
    One(Table),
    Group { keys: Table, members: Vec<Table> },
}

impl Step {
    fn tables(&self) -> &[Table] {
        match self {
            Self::One(table) => std::slice::from_ref(table),
            Self::Group { members, .. } => members,
        }
    }

    fn tables_mut(&mut self) -> &mut [Table] {
        match self {
            Self::One(table) => std::slice::from_mut(table),
            Self::Group { members, .. } => members,
        }
    }

    fn does(&self, word: &str) -> bool {
        self.tables().iter().any(|table| table.has("do", word))
    }
}

/// A flow file before it is written.
pub(crate) struct Draft {
    seed: u64,
    object: Table,
    decision: Option<Table>,
    endpoint: Table,
    steps: Vec<Step>,
}

/// The flow of this seed.
pub(crate) fn random_flow(seed: u64) -> Draft {
    let mut rng = Rng(seed);
    let mut object = Table::default();
    let approvers = *rng.weighted(&[("0", 60), ("1", 22), ("2", 12), ("3", 6)]);
    promises(&mut rng, &mut object, approvers);
    let decision = (approvers != "0").then(|| decision(&mut rng)).filter(|table| !table.0.is_empty());
    let mut endpoint = Table::default();
    let retry = *rng.weighted(&[("none", 40), ("key", 35), ("keyless", 25)]);
    if retry != "none" {
        endpoint.word("retry", retry);
    }
    if rng.percent(12) {
        endpoint.word("method", "GET");
    }
    let mut steps = steps(&mut rng, retry);
    only_what_is_bound(&object, &mut steps);
    Draft { seed, object, decision, endpoint, steps }
}

fn promises(rng: &mut Rng, object: &mut Table, approvers: &str) {
    if approvers != "1" {
        object.0.push(("approvers", Value::Bare(approvers.into())));
    }
    let uses = *rng.weighted(&[("1", 65), ("2", 25), ("3", 10)]);
    if uses != "1" {
        object.0.push(("uses", Value::Bare(uses.into())));
    }
    if approvers != "0" && rng.percent(35) {
        object.flag("separate", true);
    }
    for (key, value, percent) in [
        ("expires", false, 65),
        ("revocable", true, 15),
        ("bound", false, 70),
        ("target_bound", true, 15),
        ("owner", false, 70),
        ("audited", false, 45),
    ] {
        if rng.percent(percent) {
            object.flag(key, value);
        }
    }
    if rng.percent(15) {
        object.word("failed_attempt", "burn");
    }
}

fn decision(rng: &mut Rng) -> Table {
    let mut table = Table::default();
    if rng.percent(60) {
        let mut guards = Vec::new();
        for (guard, percent) in [("status", 75), ("expiry", 65), ("distinct", 60), ("not_requester", 50)] {
            if rng.percent(percent) {
                guards.push(guard);
            }
        }
        table.0.push(("guards", Value::Words(guards)));
    }
    if rng.percent(25) {
        table.word("method", "GET");
    }
    table
}

const CONDITIONS: [&str; 6] = ["owner", "status", "binding", "expiry", "digest", "target"];

fn subset(rng: &mut Rng, of: &[&'static str], percent: usize) -> Vec<&'static str> {
    let mut left: Vec<_> = of.iter().copied().filter(|_| rng.percent(percent)).collect();
    if rng.percent(20) {
        left.reverse(); // the order of the words must not matter
    }
    left
}

fn on_error(rng: &mut Rng, table: &mut Table, percent: usize) {
    if rng.percent(percent) {
        let word = *rng.weighted(&[("continue", 50), ("retry", 45), ("refuse", 5)]);
        table.word("on_error", word);
    }
}

fn refusals(rng: &mut Rng, table: &mut Table, percent: usize) {
    if rng.percent(percent) {
        let refusal = *rng.weighted(&[
            ("412 not_now", 50),
            ("409 twin_exists", 20),
            ("404 not_found", 15),
            ("503 fetch_failed", 15),
        ]);
        table.0.push(("refusals", Value::Words(vec![refusal])));
    }
}

fn by_word(rng: &mut Rng, word: &str, member: bool) -> Table {
    let mut table = Table::step(word);
    match word {
        "validate" => {
            let percent = *rng.weighted(&[(100, 40), (70, 40), (40, 20)]);
            let mut checks = subset(rng, &CONDITIONS, percent);
            if checks.is_empty() {
                checks.push(CONDITIONS[rng.below(6)]);
            }
            table.0.push(("checks", Value::Words(checks)));
            if rng.percent(25) {
                table.flag("accept_own", true);
            }
        }
        "check" => refusals(rng, &mut table, 70),
        "recall" => {
            if rng.percent(50) {
                table.flag("claim", true);
                if rng.percent(40) {
                    table.flag("claim_expires", false);
                }
            }
        }
        "lease" => {
            if rng.percent(35) {
                table.word("on_held", "refuse");
            }
            if rng.percent(30) {
                table.flag("expires", false);
            } else if rng.percent(35) {
                table.flag("renewed", true);
            }
            for (key, percent) in [("reentrant", 30), ("undo", 20)] {
                if rng.percent(percent) {
                    table.flag(key, true);
                }
            }
        }
        "target" | "vault" => {
            table = Table::step("write");
            table.word("what", word);
            if !member && word == "target" && rng.percent(35) {
                table.word("how", "read-then-write");
            }
            refusals(rng, &mut table, if member { 25 } else { 35 });
            if !member && rng.percent(30) {
                table.flag("undo", true);
            }
        }
        "consume" => {
            let percent = *rng.weighted(&[(100, 35), (70, 40), (30, 25)]);
            let guards = subset(rng, &["status", "expiry", "digest", "target"], percent);
            table.0.push(("guards", Value::Words(guards)));
            if !member {
                if rng.percent(25) {
                    table.word("how", "read-then-write");
                }
                if rng.percent(30) {
                    table.flag("undo", true);
                }
            }
            if rng.percent(15) {
                table.word("on_conflict", "continue");
            }
            if rng.percent(30) {
                table.flag("accept_own", true);
            }
            if rng.percent(12) {
                table.word("store", "memory");
            }
        }
        "act" => {
            let via = if member {
                *rng.weighted(&[("row", 50), ("outbox", 50)])
            } else {
                *rng.weighted(&[("memory", 20), ("outbox", 20), ("row", 20), ("call", 25), ("answer", 15)])
            };
            table.word("via", via);
            let flag = match via {
                "row" => Some("unique"),
                "call" => Some("key"),
                _ => None,
            };
            if let Some(flag) = flag.filter(|_| rng.percent(50)) {
                table.flag(flag, true);
            }
            if via == "call" && rng.percent(40) {
                table.flag("undo", true);
            }
            refusals(rng, &mut table, 25);
        }
        "audit" | "remember" => {}
        other => unreachable!("{other}"),
    }
    if !member && word != "audit" {
        on_error(rng, &mut table, 22);
    }
    table
}

fn group(rng: &mut Rng, consumes: bool, remembers: bool) -> Step {
    let mut members = Vec::new();
    for (word, percent) in [("target", 35), ("vault", 25), ("act", 60), ("audit", 60)] {
        if rng.percent(percent) {
            members.push(by_word(rng, word, true));
        }
    }
    if remembers && rng.percent(60) {
        members.push(by_word(rng, "remember", true));
    }
    if consumes {
        let at = if rng.percent(60) { 0 } else { rng.below(members.len() + 1) };
        members.insert(at, by_word(rng, "consume", true));
    }
    if members.is_empty() {
        members.push(by_word(rng, "audit", true));
    }
    let mut keys = Table::default();
    on_error(rng, &mut keys, 25);
    Step::Group { keys, members }
}

fn steps(rng: &mut Rng, retry: &str) -> Vec<Step> {
    let orders: [&[&str]; 12] = [
        &["validate", "check", "target", "consume", "audit", "act"],
        &["validate", "consume", "audit", "check", "act"],
        &["validate", "check", "commit"],
        &["lease", "validate", "consume", "act"],
        &["lease", "validate", "commit"],
        &["consume", "check", "act", "audit"],
        &["validate", "act", "consume"],
        &["check", "commit", "act"],
        &["consume", "target", "act"],
        &["act", "check"],
        &["check", "act", "commit"],
        &["lease", "check", "consume", "vault"],
    ];
    let loose = ["validate", "check", "target", "vault", "audit", "act", "lease", "group"];
    let keyed = retry == "key";
    let make = |rng: &mut Rng, word: &str| match word {
        "commit" => group(rng, true, keyed),
        "group" => group(rng, false, keyed),
        word => Step::One(by_word(rng, word, false)),
    };
    let order = orders[rng.below(orders.len())];
    let mut steps: Vec<Step> = order.iter().map(|word| make(rng, word)).collect();
    for _ in 0..rng.below(3) {
        let (i, j) = (rng.below(steps.len()), rng.below(steps.len()));
        match rng.below(3) {
            0 => steps.swap(i, j),
            1 if steps.len() > 2 => drop(steps.remove(i)),
            _ => {
                let word = loose[rng.below(loose.len())];
                steps.insert(j, make(rng, word));
            }
        }
    }
    if keyed {
        if rng.percent(85) {
            let at = if rng.percent(75) { 0 } else { rng.below(steps.len()) };
            steps.insert(at, make(rng, "recall"));
        }
        if rng.percent(60) {
            let at = if rng.percent(60) { steps.len() } else { rng.below(steps.len() + 1) };
            steps.insert(at, make(rng, "remember"));
        }
    }
    steps.truncate(7);
    make_valid(rng, &mut steps);
    steps
}

/// Takes the conditions away that compare something to which the object is not bound.
fn only_what_is_bound(object: &Table, steps: &mut [Step]) {
    let bound = !object.has("bound", "false");
    let target_bound = object.has("target_bound", "true");
    for (key, value) in steps.iter_mut().flat_map(Step::tables_mut).flat_map(|table| &mut table.0) {
        let Value::Words(words) = value else { continue };
        words.retain(|word| (*word != "digest" || bound) && (*word != "target" || target_bound));
        if *key == "checks" && words.is_empty() {
            words.push("status");
        }
    }
}

/// Names, `until`, the guard of the lease, and the limits of a file.
fn make_valid(rng: &mut Rng, steps: &mut Vec<Step>) {
    let (mut acts, mut undone_writes) = (0, 0);
    for step in steps.iter_mut() {
        for table in step.tables_mut() {
            if table.has("do", "act") {
                acts += 1;
                table.word("name", format!("act {acts}"));
            }
            if table.has("do", "write") && table.has("undo", "true") {
                undone_writes += 1;
                if undone_writes > 2 {
                    table.0.retain(|(key, _)| *key != "undo");
                }
            }
        }
    }
    if acts > 3 {
        let mut left = 0;
        steps.retain(|step| {
            left += step.tables().iter().filter(|table| table.has("do", "act")).count();
            left <= 3 || !step.does("act")
        });
    }
    let Some(lease) = steps.iter().position(|step| step.does("lease")) else { return };
    if lease + 1 < steps.len() && rng.percent(35) {
        let until = lease + 1 + rng.below(steps.len() - lease - 1);
        let named = match &mut steps[until] {
            Step::One(table) | Step::Group { keys: table, .. } => table,
        };
        let name = named.0.iter().find_map(|(key, value)| match value {
            Value::Word(name) if *key == "name" => Some(name.clone()),
            _ => None,
        });
        let name = name.unwrap_or_else(|| {
            named.word("name", "last under the lease");
            "last under the lease".into()
        });
        steps[lease].tables_mut()[0].word("until", name);
    }
    if rng.percent(60) {
        for table in steps[lease..].iter_mut().flat_map(|step| step.tables_mut()) {
            if let Some((_, Value::Words(guards))) = table.0.iter_mut().find(|(key, _)| *key == "guards") {
                guards.push("lease");
            }
        }
    }
}

impl Draft {
    /// Callers, crashes and faults with which its worlds are not too many.
    pub(crate) fn bounds(&self) -> [u8; 3] {
        let has = |table: &Table, key: &str, value: &str| table.has(key, value);
        let retries = self.endpoint.0.iter().any(|(key, _)| *key == "retry");
        let per_caller = if retries { 2 } else { 1 };
        let outsiders =
            u8::from(!has(&self.object, "owner", "false")) + u8::from(has(&self.endpoint, "method", "GET"));
        let callers = if 2 * per_caller + outsiders <= 3 || self.seed.is_multiple_of(40) { 2 } else { 1 };
        match self.seed % 8 {
            _ if callers * per_caller + outsiders < 3 => [callers, 1, 1],
            _ if self.steps.len() < 5 => [callers, 1, 1],
            0..3 => [callers, 1, 0],
            3..6 => [callers, 0, 1],
            _ => [callers, 1, 1],
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("random flow {}", self.seed)
    }

    /// The flow file.
    pub(crate) fn file(&self) -> String {
        let mut text = format!("about = \"{}\"\n", self.name());
        let mut table = |name: &str, table: &Table| {
            text.push_str(&format!("\n{name}\n"));
            table.0.iter().for_each(|(key, value)| text.push_str(&format!("{key} = {}\n", value.toml())));
        };
        table("[object]", &self.object);
        if let Some(decision) = &self.decision {
            table("[decision]", decision);
        }
        table("[endpoint]", &self.endpoint);
        for step in &self.steps {
            match step {
                Step::One(keys) => table("[[step]]", keys),
                Step::Group { keys, members } => {
                    let inner = |member: &Table| {
                        let keys: Vec<_> =
                            member.0.iter().map(|(k, v)| format!("{k} = {}", v.toml())).collect();
                        format!("  {{ {} }},\n", keys.join(", "))
                    };
                    let members: String = members.iter().map(inner).collect();
                    let mut keys = keys.clone();
                    keys.0.push(("atomic", Value::Bare(format!("[\n{members}]"))));
                    table("[[step]]", &keys);
                }
            }
        }
        text
    }
}
