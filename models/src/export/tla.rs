//! The TLA+ module, for a checker such as tla-checker or TLC.

use std::{fmt::Write as _, marker::PhantomData};

use super::{
    system::{Rule, System, Update},
    text::{Language, Text, value, who},
    vars::{Kind, Scope},
    walk::Broadcast,
};

struct Tla;

impl Language for Tla {
    const AND: &'static str = "/\\";
    const OR: &'static str = "\\/";
    const NOT: &'static str = "~";
    const EQUAL: &'static str = "=";
    const DIFFERENT: &'static str = "#";
    const TRUE: &'static str = "TRUE";
    const FALSE: &'static str = "FALSE";

    fn of(var: &str, participant: &str) -> String {
        format!("{var}[{participant}]")
    }

    fn as_number(condition: &str) -> String {
        format!("(IF {condition} THEN 1 ELSE 0)")
    }
}

/// The whole module.
pub(super) fn file(system: &System, module: &str, about: &str) -> String {
    let text = Text::<Tla> { system, language: PhantomData };
    let mut file = format!("---- MODULE {module} ----\n");
    for line in about.lines() {
        let _ = writeln!(file, "{}", format!("\\* {line}").trim_end());
    }
    file.push_str("\\*\n\\* Count the states and judge the properties:\n\\*   tla --allow-deadlock --max-states 100000000 --max-depth 1000000");
    for (property, _) in &system.violations {
        let _ = write!(file, " --count-satisfying {property}_is_violated");
    }
    let _ = writeln!(
        file,
        " {module}.tla\n\\* A property is violated if and only if that count is not 0.\nEXTENDS Integers\n"
    );
    let is_constant = |index: &usize| system.vars[*index].name == "class";
    let vars: Vec<usize> = (0..system.vars.len()).filter(|index| !is_constant(index)).collect();
    let names: Vec<&str> = vars.iter().map(|var| system.vars[*var].name.as_str()).collect();
    let _ = writeln!(file, "VARIABLES {}", names.join(", "));
    let _ = writeln!(file, "vars == <<{}>>\n", names.join(", "));
    define_values(system, &mut file);
    let count = system.seats.len();
    let _ = writeln!(file, "\\* The participants: {}.\nP == 0..{}", who(system), count - 1);
    if system.vars.iter().any(|var| var.kind == Kind::Pointer) {
        file.push_str("\\* Attempts by number, for variables that refer to one.\nno_attempt == 0\nfirst(p) == 2 * p + 1\nretry(p) == 2 * p + 2\n");
    }
    let world_vars = system.world_vars();
    if let Some(class) = (0..system.vars.len()).find(is_constant) {
        let of = |seat: usize| value(&system.vars[class], system.participants[seat][class - world_vars]);
        let classes =
            (1..count).rev().fold(of(0), |rest, seat| format!("IF p = {seat} THEN {} ELSE {rest}", of(seat)));
        let _ = writeln!(file, "class == [p \\in P |-> {classes}]");
    }
    file.push_str("\nInit ==\n");
    for var in &vars {
        let about = &system.vars[*var];
        let _ = match about.scope {
            Scope::World => writeln!(file, "    /\\ {} = {}", about.name, value(about, system.world[*var])),
            Scope::Participant => {
                writeln!(
                    file,
                    "    /\\ {} = [p \\in P |-> {}]",
                    about.name,
                    value(about, system.participants[0][*var - world_vars])
                )
            }
        };
    }
    file.push('\n');
    if let Some(condition) = &system.under_way {
        let _ = writeln!(file, "under_way == {}\n", text.condition(condition));
    }
    if let Some(condition) = &system.may_crash {
        let _ = writeln!(file, "may_crash == {}\n", text.condition(condition));
    }
    for (name, rules) in [("killed", &system.killed), ("forgotten", &system.unclean)] {
        for var in touched(rules) {
            let chain = rules.iter().rev().fold(text.name(var, "q"), |rest, rule| {
                match rule.updates.iter().find(|(other, _)| *other == var) {
                    Some((_, update)) => {
                        let to = text.updated(var, *update, "q");
                        format!("IF {} THEN {to} ELSE {rest}", text.cubes(&rule.guard, "q"))
                    }
                    None => format!(
                        "IF {} THEN {} ELSE {rest}",
                        text.cubes(&rule.guard, "q"),
                        text.name(var, "q")
                    ),
                }
            });
            let _ = writeln!(file, "{name}_{}(q) == {chain}\n", system.vars[var].name);
        }
    }
    let mut next = Vec::new();
    for (index, rule) in system.participant_rules.iter().enumerate() {
        let name = format!("Participant{}", index + 1);
        action(&text, rule, &format!("{name}(p)"), &vars, "p", &mut file);
        next.push(format!("\\E p \\in P : {name}(p)"));
    }
    for (index, rule) in system.world_rules.iter().enumerate() {
        let name = format!("World{}", index + 1);
        action(&text, rule, &name, &vars, "", &mut file);
        next.push(name);
    }
    file.push_str("Next ==\n");
    next.iter().for_each(|one| {
        let _ = writeln!(file, "    \\/ {one}");
    });
    file.push_str("\nSpec == Init /\\ [][Next]_vars\n");
    for (property, claim) in &system.violations {
        let _ =
            writeln!(file, "\n\\* {}\n{property}_is_violated == {}", property.title(), text.claim(claim, ""));
    }
    file.push_str("====\n");
    file
}

fn touched(rules: &[Rule]) -> Vec<usize> {
    let mut vars: Vec<usize> =
        rules.iter().flat_map(|rule| rule.updates.iter().map(|(var, _)| *var)).collect();
    vars.sort_unstable();
    vars.dedup();
    vars
}

fn define_values(system: &System, file: &mut String) {
    for names in system.value_names() {
        for (index, name) in names.values.iter().enumerate() {
            let _ = writeln!(file, "{}_{name} == {index}", names.prefix);
        }
        file.push('\n');
    }
}

fn action(text: &Text<'_, Tla>, rule: &Rule, head: &str, vars: &[usize], me: &str, file: &mut String) {
    let system = text.system;
    let _ = writeln!(file, "\\* {}\n{head} ==", rule.label);
    match rule.guard.as_slice() {
        [one] => {
            let _ = writeln!(file, "    /\\ {}", text.cubes(std::slice::from_ref(one), me));
        }
        cubes => {
            file.push_str("    /\\ ");
            for (index, cube) in cubes.iter().enumerate() {
                let indent = if index == 0 { "" } else { "       " };
                let _ = writeln!(file, "{indent}\\/ {}", text.cubes(std::slice::from_ref(cube), me));
            }
        }
    }
    let (broadcast, name) = match rule.broadcast {
        Broadcast::None => (Vec::new(), ""),
        Broadcast::Unclean => (touched(&system.unclean), "forgotten"),
        Broadcast::Crash => (touched(&system.killed), "killed"),
    };
    if rule.broadcast == Broadcast::Crash {
        file.push_str("    /\\ may_crash\n");
    }
    let mut unchanged = Vec::new();
    for var in vars {
        let about = &system.vars[*var];
        let update = rule.updates.iter().find(|(other, _)| other == var).map(|(_, update)| *update);
        let name_of = &about.name;
        let to = |update: Update| text.updated(*var, update, me);
        let line = match (about.scope, update, broadcast.contains(var)) {
            (_, None, false) => {
                unchanged.push(name_of.as_str());
                continue;
            }
            (Scope::World, Some(update), _) => to(update),
            (Scope::Participant, Some(update), false) => {
                format!("[{name_of} EXCEPT ![{me}] = {}]", to(update))
            }
            (_, update, _) if me.is_empty() => {
                debug_assert!(update.is_none());
                format!("[q \\in P |-> {name}_{name_of}(q)]")
            }
            (_, update, _) => {
                let own = to(update.unwrap_or(Update::Same));
                format!("[q \\in P |-> IF q = {me} THEN {own} ELSE {name}_{name_of}(q)]")
            }
        };
        let _ = writeln!(file, "    /\\ {name_of}' = {line}");
    }
    if !unchanged.is_empty() {
        let _ = writeln!(file, "    /\\ UNCHANGED <<{}>>", unchanged.join(", "));
    }
    file.push('\n');
}
