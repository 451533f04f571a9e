//! From the table of a step to the [`Step`] that it describes.

use super::{
    Mistake, Problem,
    declaration::Declaration,
    table::Table,
    values::{ActionWord, MemberVia, Text, ViaWord, string},
    vocabulary::{
        ACCEPT_OWN, ATOMIC, CHECKS, CLAIM, CLAIM_EXPIRES, DO, EVERY_STEP, GUARDS, HOW_TO_CONSUME,
        HOW_TO_WRITE, KEY, LEASE_EXPIRES, MEMBER_VIA, NAME, ON_CONFLICT, ON_ERROR, ON_HELD, REENTRANT,
        REFUSALS, RENEWED, RETIRED_STEPS, STEPS, STORE, StepWord, UNDO, UNDO_ACT, UNIQUE, UNTIL, VIA, WHAT,
    },
};
use crate::protocol::{Act, Consume, Lease, Member, Step, StepAction, Via, Write};

/// The names of the steps of a flow, by index.
pub(super) type Names = [Option<String>];

/// The name of a step, which another step's `until` may refer to.
pub(super) fn name(table: &Table<'_>) -> Result<Option<String>, Problem> {
    Ok(table.optional(&NAME)?.map(|Text(name)| name))
}

/// Reads the step of this index.
pub(super) fn step(table: &mut Table<'_>, index: usize, names: &Names) -> Result<Step, Problem> {
    if table.has(ATOMIC.name) {
        return group(table);
    }
    let declared = step_word(table, "a step")?;
    table
        .only(declared.within, [DO.name()].into_iter().chain(keys(EVERY_STEP)).chain(keys(declared.keys)))?;
    let action = match table.required(&DO)? {
        ActionWord::Validate => StepAction::Validate {
            checks: table.required(&CHECKS)?,
            accept_own: table.value(&ACCEPT_OWN, false)?,
        },
        ActionWord::Check => StepAction::Check { refusals: table.value(&REFUSALS, Vec::new())? },
        ActionWord::Recall => StepAction::Recall {
            claim: table.value(&CLAIM, false)?,
            claim_expires: table.value(&CLAIM_EXPIRES, true)?,
        },
        ActionWord::Lease => StepAction::Lease(lease(table, index, names)?),
        ActionWord::Write => StepAction::Write(Write {
            atomicity: table.value(&HOW_TO_WRITE, Default::default())?,
            undo: table.value(&UNDO, false)?,
            ..write(table)?
        }),
        ActionWord::Consume => StepAction::Consume(Consume {
            atomicity: table.value(&HOW_TO_CONSUME, Default::default())?,
            undo: table.value(&UNDO, false)?,
            ..consume(table)?
        }),
        ActionWord::Act => StepAction::Act(act(table)?),
        ActionWord::Audit => StepAction::Audit,
        ActionWord::Remember => StepAction::Remember,
    };
    table.conditions(declared.keys)?;
    Ok(Step { name: name(table)?, on_error: table.value(&ON_ERROR, Default::default())?, action })
}

fn group(table: &mut Table<'_>) -> Result<Step, Problem> {
    table.only("a group", keys(EVERY_STEP).chain([ATOMIC.name]))?;
    let mut members = members(table)?;
    let members = members.iter_mut().map(member).collect::<Result<_, _>>()?;
    Ok(Step {
        name: name(table)?,
        on_error: table.value(&ON_ERROR, Default::default())?,
        action: StepAction::Atomic(members),
    })
}

/// The tables of a group's members; none of any other step.
pub(super) fn members<'t>(step: &Table<'t>) -> Result<Vec<Table<'t>>, Problem> {
    Ok(step.tables(ATOMIC.name, "a member of a group")?.unwrap_or_default())
}

fn member(table: &mut Table<'_>) -> Result<Member, Problem> {
    if table.has(ATOMIC.name) {
        return Err(Problem::new(table.value_span(ATOMIC.name), Mistake::NestedGroup));
    }
    let declared = step_word(table, "a member of a group")?;
    let Some(own) = declared.member else {
        let allowed = STEPS.iter().filter(|step| step.member.is_some()).map(|step| step.word).collect();
        let mistake = Mistake::NotAMember { word: declared.word, allowed };
        return Err(Problem::new(table.value_span(DO.name()), mistake));
    };
    table.only(declared.within_group, [DO.name()].into_iter().chain(keys(own)))?;
    let member = match table.required(&DO)? {
        ActionWord::Write => Member::Write(write(table)?),
        ActionWord::Consume => Member::Consume(consume(table)?),
        ActionWord::Act => Member::Act(Act {
            name: name(table)?,
            via: match table.required(&MEMBER_VIA)? {
                MemberVia::Outbox => Via::Outbox,
                MemberVia::Row => Via::Row { unique: table.value(&UNIQUE, false)? },
            },
            refusals: table.value(&REFUSALS, Vec::new())?,
            undo: false,
        }),
        ActionWord::Audit => Member::Audit,
        ActionWord::Remember => Member::Remember,
        ActionWord::Validate | ActionWord::Check | ActionWord::Recall | ActionWord::Lease => {
            unreachable!("{} has no keys as a member", declared.word)
        }
    };
    table.conditions(own)?;
    Ok(member)
}

fn keys(declared: &'static [Declaration]) -> impl Iterator<Item = &'static str> {
    declared.iter().map(|key| key.name)
}

/// The declaration of the step that `do` names.
fn step_word(table: &mut Table<'_>, what: &'static str) -> Result<&'static StepWord, Problem> {
    let Some(value) = table.get(DO.name()) else {
        // A mistyped key is the likelier mistake.
        let every = STEPS.iter().flat_map(|step| step.keys).chain(EVERY_STEP);
        let mut known = vec![DO.name(), ATOMIC.name];
        for key in every.map(|key| key.name) {
            if !known.contains(&key) {
                known.push(key);
            }
        }
        table.only(what, known.into_iter())?;
        table.required(&DO)?;
        unreachable!("a table without `do` has no value for it")
    };
    let word = string(value)?;
    if let Some((found, replacement)) = RETIRED_STEPS.iter().find(|(retired, _)| *retired == word) {
        return Err(Problem::new(value.span(), Mistake::RetiredWord { found, replacement }));
    }
    table.required(&DO)?;
    STEPS.iter().find(|step| step.word == word).map_or_else(|| unreachable!("{word} is declared"), Ok)
}

fn lease(table: &Table<'_>, index: usize, names: &Names) -> Result<Lease, Problem> {
    let until = table.optional(&UNTIL)?.map(|Text(name)| step_after(index, &name, names));
    let until = until.transpose().map_err(|mistake| Problem::new(table.value_span(UNTIL.name()), mistake))?;
    Ok(Lease {
        on_held: table.value(&ON_HELD, Default::default())?,
        expires: table.value(&LEASE_EXPIRES, true)?,
        renewed: table.value(&RENEWED, false)?,
        reentrant: table.value(&REENTRANT, false)?,
        until,
        undo: table.value(&UNDO, false)?,
    })
}

/// The index of the step of this name after the lease of this index. A step before it is left to
/// [`Flow::new`](crate::protocol::Flow::new), which refuses it, and two of one name, too.
fn step_after(lease: usize, name: &str, names: &Names) -> Result<usize, Mistake> {
    let is_named = |index: &usize| names[*index].as_deref() == Some(name);
    (lease + 1..names.len()).chain(0..=lease).find(is_named).ok_or_else(|| {
        let names = names[lease + 1..].iter().flatten().cloned().collect();
        Mistake::UnknownStep { name: name.to_owned(), names }
    })
}

fn write(table: &Table<'_>) -> Result<Write, Problem> {
    let refusals = table.value(&REFUSALS, Vec::new())?;
    Ok(Write { refusals, ..Write::new(table.required(&WHAT)?) })
}

fn consume(table: &Table<'_>) -> Result<Consume, Problem> {
    Ok(Consume {
        on_conflict: table.value(&ON_CONFLICT, Default::default())?,
        storage: table.value(&STORE, Default::default())?,
        accept_own: table.value(&ACCEPT_OWN, false)?,
        ..Consume::new(table.required(&GUARDS)?)
    })
}

fn act(table: &Table<'_>) -> Result<Act, Problem> {
    let via = table.required(&VIA)?;
    let (unique, key) = (table.value(&UNIQUE, false)?, table.value(&KEY, false)?);
    Ok(Act {
        name: None,
        via: match via {
            ViaWord::Memory => Via::Memory,
            ViaWord::Outbox => Via::Outbox,
            ViaWord::Row => Via::Row { unique },
            ViaWord::Call => Via::Call { key },
            ViaWord::Answer => Via::Answer,
        },
        refusals: table.value(&REFUSALS, Vec::new())?,
        undo: table.value(&UNDO_ACT, false)?,
    })
}
