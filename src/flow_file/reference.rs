//! The reference of the vocabulary as Markdown, from the declarations that the parser reads by.

use std::fmt::Write as _;

use super::{
    declaration::{Declaration, Kind, Presence},
    vocabulary::{ATOMIC, EFFECTS, EVERY_STEP, FILE, STEPS, StepWord, TABLES},
};

/// The reference of the vocabulary: a Markdown section for the file, each table and each step.
pub fn reference() -> String {
    let mut text = String::from("### The file\n\n");
    keys(&mut text, FILE);
    for table in TABLES {
        section(&mut text, table.within, table.doc);
        keys(&mut text, table.keys);
    }
    section(&mut text, "Every step", "`[[step]]` is one atomic action, or two with `how`.");
    keys(&mut text, EVERY_STEP);
    for step in STEPS {
        section(&mut text, &format!("`do = \"{}\"`", step.word), step.doc);
        let _ = writeln!(text, "May end in: {}. {}\n", step.ends, membership(step));
        keys(&mut text, step.keys);
        if step.word == "act" {
            effects(&mut text);
        }
    }
    section(
        &mut text,
        "A group",
        "All of its members happen, in this order, or none does. The members carry no `how`, `on_error` or `undo`, and \
         only an act has a `name`.",
    );
    keys(&mut text, &[ATOMIC]);
    text
}

fn section(text: &mut String, title: &str, doc: &str) {
    let _ = writeln!(text, "### {title}\n\n{doc}\n");
}

fn keys(text: &mut String, keys: &[Declaration]) {
    if keys.is_empty() {
        return;
    }
    text.push_str("| key | values | default | meaning |\n|---|---|---|---|\n");
    for key in keys {
        let default = match key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional => String::new(),
            Presence::Default(default) => format!("`{default}`"),
        };
        let only = key.only.map_or(String::new(), |only| {
            let value =
                if key.kind == Kind::Flag { format!("`{}` only", only.value) } else { "Only".to_owned() };
            format!(" {value} with `{} = {}`.", only.other, only.needs)
        });
        let _ =
            writeln!(text, "| `{}` | {} | {default} | {}{only} |", key.name, key.kind.described(), key.doc);
    }
    text.push('\n');
}

/// The membership of the step in a group, and the keys that it lacks there. `how` and `undo` are left out: no member
/// has them.
fn membership(step: &StepWord) -> String {
    let Some(member) = step.member else { return "Cannot be a member of a group.".to_owned() };
    let outside: Vec<String> = step
        .keys
        .iter()
        .filter(|key| {
            !["how", "undo"].contains(&key.name) && member.iter().all(|other| other.name != key.name)
        })
        .map(|key| format!("`{}`", key.name))
        .collect();
    match outside.as_slice() {
        [] => "Can be a member of a group.".to_owned(),
        keys => format!("Can be a member of a group, where {} is refused.", keys.join(" and ")),
    }
}

fn effects(text: &mut String) {
    text.push_str("| `via` | takes effect when | lost when | twice when |\n|---|---|---|---|\n");
    for (via, [when, lost, twice]) in EFFECTS {
        let _ = writeln!(text, "| `\"{via}\"` | {when} | {lost} | {twice} |");
    }
    text.push('\n');
}
