//! Writes the flow file, with the statements as comments.

use std::collections::BTreeSet;

use super::{
    Learnt, Lock, UseTrace,
    classify::{Atomic, Classified, Consume, Guards, Item, Role, capture, is_expiry, other_conditions},
};
use crate::sql::Operand;

struct Writer<'a> {
    trace: UseTrace<'a>,
    classified: &'a Classified,
    out: String,
    questions: Vec<String>,
    names: Vec<String>,
}

pub(super) fn flow_file(trace: UseTrace<'_>, classified: &Classified) -> Learnt {
    let mut writer =
        Writer { trace, classified, out: String::new(), questions: Vec::new(), names: Vec::new() };
    writer.head();
    writer.steps();
    writer
        .questions
        .push("which other systems does the use call, and when? They are not in the SQL".to_owned());
    writer.line("# ? Calls to other systems are not in the SQL: add them as `act` with `via = \"call\"` where they happen.");
    Learnt { toml: writer.out, questions: writer.questions }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.push(' '),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

fn singular(table: &str) -> String {
    let word = table.rsplit('_').next().unwrap_or(table);
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    word.strip_suffix('s').filter(|stem| !stem.ends_with('s')).unwrap_or(word).to_owned()
}

impl Writer<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// Several questions on one line.
    fn ask_all(&mut self, questions: &[String]) -> String {
        self.questions.extend_from_slice(questions);
        if questions.is_empty() { String::new() } else { format!("  # ? {}", questions.join("; ")) }
    }

    fn ask(&mut self, question: &str) -> String {
        self.questions.push(question.to_owned());
        format!("  # ? {question}")
    }

    fn head(&mut self) {
        let items = || self.classified.steps.iter().map(|(item, _)| item);
        let mut columns =
            items().flat_map(|item| &item.shape.conditions).flat_map(|condition| &condition.columns);
        let expires = columns.any(|column| is_expiry(column))
            || items().any(|item| {
                item.statement.sql.split(|c: char| !c.is_alphanumeric() && c != '_').any(is_expiry)
            });
        let audited = self.classified.any(|role| *role == Role::Audit);
        let has_key = self.classified.any(|role| matches!(role, Role::Recall | Role::Remember));
        let promised = self.trace.promised;
        let noun = promised.noun.clone().unwrap_or_else(|| singular(&self.classified.object));
        self.line(&format!("about = {}", quoted(self.trace.about)));
        self.line("\n[object]");
        self.line(&format!("# Table `{}`.", self.classified.object));
        self.line(&format!("noun = {}", quoted(&noun)));
        if promised.uses > 1 {
            self.line(&format!("uses = {}", promised.uses));
        }
        self.line(&format!("approvers = {}", promised.approvers));
        if promised.separate {
            self.line("separate = true");
        }
        if promised.revocable {
            self.line("revocable = true");
        }
        let question = if promised.bound {
            self.ask("which statement compares the payload that was approved? then \"digest\" is among its checks or guards")
        } else {
            String::new()
        };
        self.line(&format!("bound = {}{question}", promised.bound));
        let question = if promised.owner {
            self.ask("where is the owner compared? then \"owner\" is among the checks")
        } else {
            self.ask("is a use accepted from its owner only? then true, with the check `owner`")
        };
        self.line(&format!("owner = {}{question}", promised.owner));
        let doubt = if expires {
            String::new()
        } else if promised.expires {
            self.ask("the SQL compares no such column: where is the expiry checked?")
        } else {
            self.ask("does it expire? the SQL shows no such column")
        };
        self.line(&format!("expires = {}{doubt}", expires || promised.expires));
        let doubt = if promised.audited && !audited {
            self.ask("which statement writes the event of the use? the SQL shows none")
        } else {
            String::new()
        };
        self.line(&format!("audited = {}{doubt}", audited || promised.audited));
        if promised.burn {
            self.line("failed_attempt = \"burn\"");
        }
        if promised.approvers > 0 {
            self.line("\n[decision]");
            let guards = if self.expires() { "\"status\", \"expiry\"" } else { "\"status\"" };
            let question = self
                .ask("what does the statement of an approval compare? also \"distinct\", \"not_requester\"");
            self.line(&format!("guards = [{guards}]{question}"));
        }
        self.line("\n[endpoint]");
        let method = if self.trace.method.eq_ignore_ascii_case("GET") { "GET" } else { "POST" };
        self.line(&format!("method = {}", quoted(method)));
        let retry = if has_key || promised.key { "key" } else { "none" };
        let question = if promised.key && !has_key {
            self.ask("the SQL stores no outcome under the key of the request: where is a retry recognised?")
        } else {
            self.ask("may a client that lost the answer send the request again? with a key: \"key\", without: \"keyless\"")
        };
        self.line(&format!("retry = {}{question}", quoted(retry)));
    }

    fn steps(&mut self) {
        let steps = &self.classified.steps;
        let mut index = 0;
        let mut begun = BTreeSet::new();
        while let Some((item, _)) = steps.get(index) {
            if !begun.insert(item.transaction) {
                let mark =
                    self.ask("the next statements belong to the transaction of earlier ones, from which another connection divides them");
                self.line(&format!("\n{}", mark.trim_start()));
            }
            let in_transaction = steps
                .iter()
                .skip(index)
                .take_while(|(other, _)| other.transaction == item.transaction)
                .count();
            let group = &steps[index..index + in_transaction];
            index += in_transaction;
            let (reads, writes): (Vec<_>, Vec<_>) = group.iter().partition(|(_, role)| is_read(role));
            for (item, role) in reads {
                self.comment(item);
                self.step(item, role);
            }
            // A read-then-write is two actions, which no group can hold.
            let (alone, together): (Vec<_>, Vec<_>) =
                writes.into_iter().partition(|(_, role)| is_two_actions(role));
            for (item, role) in alone {
                self.comment(item);
                self.step(item, role);
            }
            match together.as_slice() {
                [] => {}
                [(item, role)] => {
                    self.comment(item);
                    self.step(item, role);
                }
                several => self.group(several),
            }
        }
    }

    /// The statement, with the names of the captures in place of their values.
    fn comment(&mut self, item: &Item) {
        let mut text = item.statement.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        // A shorter value is found in many texts.
        const SHORTEST: usize = 4;
        for (name, value) in self.trace.captures.iter().filter(|(_, value)| value.len() >= SHORTEST) {
            text = text.replace(value, &format!("{{{name}}}"));
        }
        let mut names = Vec::new();
        for number in 1..=item.statement.parameters.len() {
            let operand = Operand::Parameter(number);
            if let Some(name) = capture(self.trace, &operand, &item.statement.parameters) {
                names.push(format!("${number} = {{{name}}}"));
            }
        }
        let names = if names.is_empty() { String::new() } else { format!("  -- {}", names.join(", ")) };
        let rows = item.rows.map(|rows| format!("  -- {rows} rows")).unwrap_or_default();
        self.line(&format!("\n# {text}{names}{rows}"));
    }

    fn step(&mut self, item: &Item, role: &Role) {
        self.line("[[step]]");
        for line in self.keys(item, role) {
            self.line(&line);
        }
    }

    fn group(&mut self, members: &[&(Item, Role)]) {
        for (item, _) in members {
            self.comment(item);
        }
        self.line("[[step]]");
        let name = self.name("commit");
        self.line(&format!("name = {}", quoted(&name)));
        self.line("atomic = [");
        for (item, role) in members {
            let keys = self.keys(item, role);
            let doubts: Vec<_> =
                keys.iter().filter_map(|key| key.split_once("  # ? ")).map(|(_, doubt)| doubt).collect();
            let keys: Vec<_> =
                keys.iter().map(|key| key.split("  # ? ").next().unwrap_or_default()).collect();
            let doubt =
                if doubts.is_empty() { String::new() } else { format!("  # ? {}", doubts.join("; ")) };
            self.line(&format!("  {{ {} }},{doubt}", keys.join(", ")));
        }
        self.line("]");
    }

    /// A name that no step has yet.
    fn name(&mut self, wanted: &str) -> String {
        let wanted = if wanted.is_empty() { "read" } else { wanted };
        let mut name = wanted.to_owned();
        let mut number = 2;
        while self.names.contains(&name) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        self.names.push(name.clone());
        name
    }

    /// `key = value` of a step or a member.
    fn keys(&mut self, item: &Item, role: &Role) -> Vec<String> {
        let table = item.shape.table.clone().unwrap_or_default();
        match role {
            Role::Validate { checks } => {
                let shown = *checks == Guards { status: true, expiry: true };
                let question = if shown {
                    String::new()
                } else {
                    self.ask("which of status and expiry does the code check after this read?")
                };
                let checks = if self.expires() { "[\"status\", \"expiry\"]" } else { "[\"status\"]" };
                vec!["do = \"validate\"".to_owned(), format!("checks = {checks}{question}")]
            }
            Role::Check => {
                let name = self.name(&table);
                let question = self
                    .ask("with what is the use refused after this read? a read that refuses nothing can go");
                vec![
                    "do = \"check\"".to_owned(),
                    format!("name = {}", quoted(&name)),
                    format!("refusals = [\"412 {name}\"]{question}"),
                ]
            }
            Role::Recall => vec![format!(
                "do = \"recall\"{}",
                self.ask("is this the outcome stored under the request's key?")
            )],
            Role::Remember => vec!["do = \"remember\"".to_owned()],
            Role::Audit => vec![format!(
                "do = \"audit\"{}",
                self.ask("is this the event of the use, rather than its effect?")
            )],
            Role::Lease(lock) => self.lease(item, *lock),
            Role::Consume(consume) => self.consume(item, consume),
            Role::Act { unique } | Role::Enqueue { unique } => {
                let via = if matches!(role, Role::Act { .. }) { "row" } else { "outbox" };
                let name = self.name(&table);
                let mut keys = vec![
                    "do = \"act\"".to_owned(),
                    format!("name = {}", quoted(&name)),
                    format!("via = {}", quoted(via)),
                ];
                if *unique && via == "row" {
                    keys.push("unique = true".to_owned());
                }
                if table == self.classified.object {
                    let question =
                        self.ask("another change of the object: is it the effect? otherwise it can go");
                    keys[2].push_str(&question);
                }
                if via == "outbox" {
                    let question = self.ask("does a worker do this job once, under the object's key?");
                    keys[2].push_str(&question);
                }
                keys
            }
        }
    }

    fn expires(&self) -> bool {
        self.out.contains("\nexpires = true")
    }

    fn lease(&mut self, item: &Item, lock: Lock) -> Vec<String> {
        let is_last =
            self.classified.steps.last().is_some_and(|(last, _)| last.transaction == item.transaction);
        let mut questions =
            vec!["an advisory lock: is its key the object's, and does every use take it?".to_owned()];
        if !lock.until_commit {
            questions.push("after which step is it released? until = \"…\"".to_owned());
        } else if !is_last {
            questions.push("it ends with its transaction: until = \"…\", the last step of that".to_owned());
        }
        let question = self.ask_all(&questions);
        let name = self.name("lock");
        vec![
            format!("do = \"lease\"{question}"),
            format!("name = {}", quoted(&name)),
            format!("on_held = {}", quoted(if lock.waits { "wait" } else { "refuse" })),
            "renewed = true".to_owned(),
        ]
    }

    fn consume(&mut self, item: &Item, consume: &Consume) -> Vec<String> {
        let Consume { guards, why, unclear, clock } = consume;
        let names: Vec<_> = [(guards.status, "\"status\""), (guards.expiry && self.expires(), "\"expiry\"")]
            .into_iter()
            .filter_map(|(is_guard, name)| is_guard.then_some(name))
            .collect();
        let column = self.classified.status.clone().unwrap_or_else(|| "its row".to_owned());
        let others: Vec<_> = other_conditions(self.trace, item).iter().map(|one| one.text.clone()).collect();
        let others = others.join(" and ");
        let why_comment = match why {
            Atomic::Conditional => format!("# The update compares {others}."),
            Atomic::Locked => "# The row was locked when it was read.".to_owned(),
            Atomic::Snapshot => "# The transaction fails if what it read was changed.".to_owned(),
            Atomic::UniqueRow => "# A unique row for each object.".to_owned(),
            Atomic::Deleted => "# A row is deleted once.".to_owned(),
            Atomic::AdmitsOwn => format!("# The update compares {others}, which a used object meets, too."),
            Atomic::No => format!("# The update does not compare `{column}`: it trusts the earlier read."),
        };
        self.line(&why_comment);
        let mut questions = Vec::new();
        if matches!(why, Atomic::Conditional | Atomic::Deleted) {
            let what = if *why == Atomic::Deleted { "delete" } else { "update" };
            questions.push(format!(
                "is the use refused when the {what} changes 0 rows? if not: on_conflict = \"continue\""
            ));
        }
        if *why == Atomic::AdmitsOwn {
            questions.push(
                "may only the caller that used the object use it again? then \"status\", and accept_own = true"
                    .to_owned(),
            );
        }
        if let Some(condition) = unclear {
            questions.push(format!(
                "does `{condition}` refuse an object that this update has changed? if not: without \"status\""
            ));
        }
        if let Some(clock) = clock {
            let age = if clock.is_old { ", which an earlier statement has, too" } else { "" };
            questions.push(format!(
                "`{}` compares a time of the application{age}: \"expiry\" if it is read for this statement",
                clock.condition
            ));
        }
        let question = self.ask_all(&questions);
        let mut keys =
            vec!["do = \"consume\"".to_owned(), format!("guards = [{}]{question}", names.join(", "))];
        if *why == Atomic::No {
            keys.push("how = \"read-then-write\"".to_owned());
        }
        keys
    }
}

fn is_read(role: &Role) -> bool {
    matches!(role, Role::Validate { .. } | Role::Check | Role::Recall | Role::Lease(_))
}

fn is_two_actions(role: &Role) -> bool {
    matches!(role, Role::Consume(Consume { why: Atomic::No, .. }))
}
