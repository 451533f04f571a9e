//! The Promela file, for spin.

use std::{fmt::Write as _, marker::PhantomData};

use super::{
    system::{Rule, System},
    text::{Language, Text, value, who},
    vars::Kind,
    walk::Broadcast,
};

struct Promela;

impl Language for Promela {
    const AND: &'static str = "&&";
    const OR: &'static str = "||";
    const NOT: &'static str = "!";
    const EQUAL: &'static str = "==";
    const DIFFERENT: &'static str = "!=";
    const TRUE: &'static str = "true";
    const FALSE: &'static str = "false";

    fn of(var: &str, participant: &str) -> String {
        // A macro: it never changes.
        if var == "class" { format!("{var}({participant})") } else { format!("{var}[{participant}]") }
    }

    fn as_number(condition: &str) -> String {
        format!("(({condition}) -> 1 : 0)")
    }
}

/// The whole file.
pub(super) fn file(system: &System, about: &str) -> String {
    let text = Text::<Promela> { system, language: PhantomData };
    let mut file = String::from("/*\n");
    for line in about.lines() {
        let _ = writeln!(file, "{}", format!(" * {line}").trim_end());
    }
    file.push_str(" *\n * Count the states and judge the properties:\n");
    file.push_str(" *   spin -o2 -a FILE && cc -O2 -DSAFETY -DNOREDUCE -DNOCLAIM -o pan pan.c && ./pan -c0 -E -m1000000\n");
    file.push_str(" * -o2: spin would otherwise not tell states apart by variables that no rule reads.\n");
    file.push_str(" * \"states, stored\" is the number of distinct states. Property S5, say, is violated if and only if an error\n");
    file.push_str(" * says \"assertion violated (S!=5)\".\n */\n\n");
    define_values(system, &mut file);
    let count = system.seats.len();
    let _ = writeln!(file, "#define me _pid");
    if system.vars.iter().any(|var| var.kind == Kind::Pointer) {
        file.push_str("/* Attempts by number, for variables that refer to one. */\n#define no_attempt 0\n");
        file.push_str("#define first(participant) (2 * (participant) + 1)\n#define retry(participant) (2 * (participant) + 2)\n");
    }
    file.push_str("\n/* The world. */\n");
    for (var, initial) in system.vars.iter().zip(&system.world) {
        let kind = if var.kind == Kind::Flag { "bit" } else { "byte" };
        let _ = writeln!(file, "{kind} {} = {};", var.name, value(var, *initial));
    }
    let _ = writeln!(file, "\n/* The participants: {}. */", who(system));
    let world_vars = system.world_vars();
    for (index, var) in system.vars[world_vars..].iter().enumerate() {
        if var.name == "class" {
            // A constant.
            let of = |seat: usize| value(var, system.participants[seat][index]);
            let classes =
                (1..count).rev().fold(of(0), |rest, seat| format!("(p == {seat} -> {} : {rest})", of(seat)));
            let _ = writeln!(file, "#define class(p) {classes}");
        } else {
            let _ = writeln!(file, "byte {}[{count}];", var.name);
        }
    }
    file.push('\n');
    if let Some(condition) = &system.under_way {
        let _ = writeln!(file, "#define under_way ({})", text.condition(condition));
    }
    if let Some(condition) = &system.may_crash {
        let _ = writeln!(file, "#define may_crash ({})", text.condition(condition));
    }
    for (name, rules) in [("kill", &system.killed), ("forget_refusal", &system.unclean)] {
        if rules.is_empty() {
            continue;
        }
        let _ = write!(file, "\ninline {name}(p) {{\n    if\n");
        for rule in rules {
            for cube in &rule.guard {
                let guard = text.cubes(std::slice::from_ref(cube), "p");
                let _ = writeln!(file, "    :: {guard} -> {}", updates(&text, rule, "p"));
            }
        }
        file.push_str("    :: else\n    fi\n}\n");
    }
    let others = |name: &str, me: bool| {
        let one = |p: usize| {
            if me { format!("if :: me != {p} -> {name}({p}) :: else fi") } else { format!("{name}({p})") }
        };
        (0..count).map(one).collect::<Vec<_>>().join("; ")
    };
    if !system.killed.is_empty() {
        let _ = write!(file, "\ninline kill_all() {{\n    {}\n}}\n", others("kill", false));
    }
    let forgets = !system.unclean.is_empty();
    if forgets {
        let _ = write!(file, "\ninline forget_refusals() {{\n    {}\n}}\n", others("forget_refusal", false));
        let _ = write!(
            file,
            "\ninline forget_refusals_of_others() {{\n    {}\n}}\n",
            others("forget_refusal", true)
        );
    }
    let _ = write!(file, "\nactive [{count}] proctype participant() {{\nend:\n    do\n");
    system
        .participant_rules
        .iter()
        .for_each(|rule| option(&text, rule, "me", "forget_refusals_of_others()", &mut file));
    file.push_str("    od\n}\n\nactive proctype world() {\nend:\n    do\n");
    system.world_rules.iter().for_each(|rule| option(&text, rule, "", "forget_refusals()", &mut file));
    file.push_str("    od\n}\n\n");
    file.push_str("/* Not part of the state. */\nhidden byte S;\n\n");
    for (property, claim) in &system.violations {
        let _ = writeln!(
            file,
            "/* {} */\n#define {property}_is_violated ({})",
            property.title(),
            text.claim(claim, "")
        );
    }
    file.push_str("\nactive proctype properties() {\nend:\n    do\n");
    for (property, _) in &system.violations {
        let number = &property.id()[1..];
        let _ = writeln!(
            file,
            "    :: d_step {{ {property}_is_violated -> S = {number}; assert(S != {number}); S = 0 }}"
        );
    }
    if system.violations.is_empty() {
        file.push_str("    :: false\n");
    }
    file.push_str("    od\n}\n");
    file
}

fn define_values(system: &System, file: &mut String) {
    for names in system.value_names() {
        for (index, name) in names.values.iter().enumerate() {
            let _ = writeln!(file, "#define {}_{name} {index}", names.prefix);
        }
        file.push('\n');
    }
}

fn updates(text: &Text<'_, Promela>, rule: &Rule, me: &str) -> String {
    let one = |(var, update): &(usize, super::system::Update)| {
        format!("{} = {}", text.name(*var, me), text.updated(*var, *update, me))
    };
    if rule.updates.is_empty() {
        "skip".to_owned()
    } else {
        rule.updates.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

fn option(text: &Text<'_, Promela>, rule: &Rule, me: &str, forget: &str, file: &mut String) {
    let _ = writeln!(file, "    /* {} */", rule.label.replace("*/", ""));
    let after = match rule.broadcast {
        Broadcast::None => String::new(),
        Broadcast::Unclean if !text.system.unclean.is_empty() => format!("; {forget}"),
        Broadcast::Crash if !text.system.killed.is_empty() => "; kill_all()".to_owned(),
        Broadcast::Unclean | Broadcast::Crash => String::new(),
    };
    let crash = if rule.broadcast == Broadcast::Crash { "may_crash && " } else { "" };
    for cube in &rule.guard {
        let guard = text.cubes(std::slice::from_ref(cube), me);
        let _ = writeln!(file, "    :: d_step {{ {crash}{guard} -> {}{after} }}", updates(text, rule, me));
    }
}
