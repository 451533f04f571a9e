//! Random valid flow files, from a seed: nearly sensible orders, mutated.

struct Rng(u64);

impl Rng {
    /// splitmix64
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn percent(&mut self, p: usize) -> bool {
        self.below(100) < p
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// One step: its keys and values, as TOML; or a group of such.
#[derive(Clone)]
enum Step {
    One(Vec<(&'static str, String)>),
    Group(Vec<Vec<(&'static str, String)>>),
}

type Keys = Vec<(&'static str, String)>;

fn quoted(s: &str) -> String {
    format!("\"{s}\"")
}

fn list(words: &[&str]) -> String {
    let inner: Vec<String> = words.iter().map(|w| quoted(w)).collect();
    format!("[{}]", inner.join(", "))
}

fn subset<'a>(rng: &mut Rng, of: &[&'a str], percent: usize) -> Vec<&'a str> {
    let mut left: Vec<&str> = of.iter().copied().filter(|_| rng.percent(percent)).collect();
    if rng.percent(20) {
        left.reverse(); // the order of the words must not matter
    }
    left
}

fn validate(rng: &mut Rng) -> Keys {
    let all = ["owner", "status", "binding", "expiry", "digest"];
    let percent = [100, 80, 80, 50][rng.below(4)];
    let mut checks = subset(rng, &all, percent);
    if checks.is_empty() {
        checks.push(all[rng.below(all.len())]);
    }
    vec![("do", quoted("validate")), ("checks", list(&checks))]
}

fn refusals(rng: &mut Rng, keys: &mut Keys, percent: usize, of: &[&str]) {
    if rng.percent(percent) {
        let mut words = subset(rng, of, 60);
        if words.is_empty() {
            words.push(of[rng.below(of.len())]);
        }
        keys.push(("refusals", list(&words)));
    }
}

fn check(rng: &mut Rng) -> Keys {
    let name = rng.pick(&["source services", "environment", "plan", "family"]);
    let mut keys = vec![("do", quoted("check")), ("name", quoted(name))];
    let of = [
        "503 fetch_failed",
        "412 no_services",
        "409 twin_exists",
        "400 vault_ref_failed",
        "404 not_found",
        "410 gone",
    ];
    refusals(rng, &mut keys, 65, &of);
    keys
}

fn write(rng: &mut Rng, what: &str, member: bool) -> Keys {
    let mut keys = vec![("do", quoted("write")), ("what", quoted(what))];
    if !member {
        if what == "target" && rng.percent(40) {
            keys.push(("how", quoted("read-then-write")));
        }
        if rng.percent(if what == "vault" { 50 } else { 15 }) {
            keys.push(("best_effort", "true".into()));
        } else if rng.percent(10) {
            keys.push(("best_effort", "false".into()));
        }
    }
    refusals(rng, &mut keys, if member { 20 } else { 50 }, &["503 update_failed", "402 limit_reached"]);
    keys
}

fn consume(rng: &mut Rng, member: bool) -> Keys {
    let percent = [100, 75, 75, 30][rng.below(4)];
    let guards = subset(rng, &["status", "expiry", "digest"], percent);
    let mut keys = vec![("do", quoted("consume")), ("guards", list(&guards))];
    if !member && rng.percent(25) {
        keys.push(("how", quoted("read-then-write")));
    }
    keys
}

fn plain(word: &str) -> Keys {
    vec![("do", quoted(word))]
}

fn group(rng: &mut Rng, with_consume: bool) -> Step {
    let mut members = Vec::new();
    for (what, percent) in [("target", 70), ("vault", 40)] {
        if rng.percent(percent) {
            members.push(write(rng, what, true));
        }
    }
    for (word, percent) in [("audit", 70), ("enqueue", 60)] {
        if rng.percent(percent) {
            members.push(plain(word));
        }
    }
    if members.is_empty() {
        members.push(plain("audit"));
    }
    if rng.percent(7) {
        let i = rng.below(members.len());
        members.push(members[i].clone());
    }
    if with_consume {
        let at = if rng.percent(60) { 0 } else { rng.below(members.len() + 1) };
        members.insert(at, consume(rng, true));
    } else if members.len() == 1 {
        members.push(write(rng, "vault", true));
    }
    if rng.percent(15) {
        members.reverse();
    }
    Step::Group(members)
}

fn by_word(rng: &mut Rng, word: &str) -> Step {
    Step::One(match word {
        "validate" => validate(rng),
        "check" => check(rng),
        "target" | "vault" => write(rng, word, false),
        "consume" => consume(rng, false),
        "group" => return group(rng, false),
        "commit" => return group(rng, true),
        _ => plain(word),
    })
}

fn consumes(step: &Step) -> bool {
    let is = |keys: &Keys| keys[0].1 == "\"consume\"";
    match step {
        Step::One(keys) => is(keys),
        Step::Group(members) => members.iter().any(is),
    }
}

/// The flow file of this seed.
pub(crate) fn random_flow(seed: u64) -> String {
    written(seed, &steps(&mut Rng(seed)))
}

/// As [`random_flow`], with leases in it, and a guard that may go by them.
pub(crate) fn random_flow_with_lease(seed: u64) -> String {
    let mut rng = Rng(seed ^ 0x1EA5E);
    let mut steps = steps(&mut rng);
    for _ in 0..=usize::from(rng.percent(25)) {
        // Most often where it makes a difference.
        let consume = steps.iter().position(consumes).expect("every flow has one");
        let at = if rng.percent(80) { rng.below(consume + 1) } else { rng.below(steps.len() + 1) };
        steps.insert(at, Step::One(plain("lease")));
    }
    let lease = steps.iter().position(|step| matches!(step, Step::One(keys) if keys[0].1 == "\"lease\""));
    let consume = steps.iter().position(consumes).expect("every flow has one");
    if lease < Some(consume) && rng.percent(60) {
        let keys = match &mut steps[consume] {
            Step::One(keys) => keys,
            Step::Group(members) => {
                members.iter_mut().find(|keys| keys[0].1 == "\"consume\"").expect("it consumes")
            }
        };
        let guards = keys.iter_mut().find(|(key, _)| *key == "guards").expect("it is required");
        guards.1 = guards.1.replace(']', if guards.1 == "[]" { "\"lease\"]" } else { ", \"lease\"]" });
    }
    written(seed, &steps)
}

fn steps(rng: &mut Rng) -> Vec<Step> {
    let orders: [&[&str]; 9] = [
        &["validate", "check", "target", "check", "consume", "audit", "launch"],
        &["validate", "consume", "audit", "check", "target", "check", "launch"],
        &["validate", "consume", "audit", "check", "target", "launch"],
        &["validate", "check", "commit"],
        &["validate", "check", "commit", "launch"],
        &["validate", "check", "consume", "audit", "target", "vault", "enqueue"],
        &["validate", "group", "consume", "audit", "enqueue"],
        &["check", "commit", "vault"],
        &["consume", "target", "audit", "launch"],
    ];
    let loose = ["validate", "check", "target", "vault", "audit", "enqueue", "launch", "group"];
    let mut steps: Vec<Step> = if rng.percent(8) {
        let n = rng.below(7);
        let mut s: Vec<Step> = (0..n)
            .map(|_| {
                let word = rng.pick(&loose);
                by_word(rng, word)
            })
            .collect();
        let word = rng.pick(&["consume", "commit"]);
        let at = rng.below(s.len() + 1);
        s.insert(at, by_word(rng, word));
        s
    } else {
        let order = orders[rng.below(orders.len())];
        order.iter().map(|word| by_word(rng, word)).collect()
    };
    for _ in 0..rng.below(4) {
        let (i, j) = (rng.below(steps.len()), rng.below(steps.len()));
        match rng.below(5) {
            0 => steps.swap(i, j),
            1 if !consumes(&steps[i]) => drop(steps.remove(i)),
            2 if !consumes(&steps[i]) => {
                let again = steps[i].clone();
                steps.insert(j, again);
            }
            3 => {
                let moved = steps.remove(i);
                steps.insert(j.min(steps.len()), moved);
            }
            _ => {
                let word = rng.pick(&loose);
                steps.insert(j, by_word(rng, word));
            }
        }
    }
    while steps.len() > 8 {
        let i = rng.below(steps.len());
        if !consumes(&steps[i]) {
            steps.remove(i);
        }
    }
    steps
}

fn written(seed: u64, steps: &[Step]) -> String {
    let mut text = format!("about = \"random flow {seed}\"\n");
    for step in steps {
        text.push_str("\n[[step]]\n");
        match step {
            Step::One(keys) => {
                for (key, value) in keys {
                    text.push_str(&format!("{key} = {value}\n"));
                }
            }
            Step::Group(members) => {
                text.push_str("atomic = [\n");
                for keys in members {
                    let inner: Vec<String> = keys.iter().map(|(k, v)| format!("{k} = {v}")).collect();
                    text.push_str(&format!("  {{ {} }},\n", inner.join(", ")));
                }
                text.push_str("]\n");
            }
        }
    }
    text
}
