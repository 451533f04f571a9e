//! The vocabulary of a step: which words there are, which keys each takes, and what is made of them.

use toml::{Spanned, de::DeValue};

use super::{
    Problem,
    table::{KEYS, Table, listed, shortened, string},
};
use crate::protocol::{Checks, Do, Guards, How, Member, Refusal, Step, What};

const WORDS: &[&str] = &["validate", "check", "lease", "write", "consume", "audit", "enqueue", "launch"];
const MEMBER_WORDS: &[&str] = &["consume", "write", "audit", "enqueue"];

pub(super) fn step(table: &Table<'_>) -> Result<Step, Problem> {
    if table.has("atomic") {
        table.only(&["name", "atomic"], "a group")?;
        let members = table.tables("atomic")?.unwrap_or_default();
        let members = members.iter().map(member).collect::<Result<_, _>>()?;
        return Ok(Step { name: table.text("name")?, action: Do::Atomic(members) });
    }
    let Some(word) = table.word("do", WORDS)? else {
        // A key that is none at all is the likelier mistake.
        table.only(KEYS, "a step")?;
        return Err(Problem::new(
            table.place(),
            "a step without `do`",
            format!("`do` = one of {}", listed(WORDS)),
        ));
    };
    let action = match word {
        "validate" => {
            table.only(&["do", "name", "checks"], "a validate step")?;
            Do::Validate { checks: checks(table)? }
        }
        "check" => {
            table.only(&["do", "name", "refusals"], "a check step")?;
            Do::Check { refusals: refusals(table)? }
        }
        "lease" => plain(table, Do::Lease)?,
        "write" => write(table)?,
        "consume" => {
            table.only(&["do", "name", "guards", "how"], "a consume step")?;
            Do::Consume { guards: guards(table)?, how: how(table)? }
        }
        "audit" => plain(table, Do::Audit)?,
        "enqueue" => plain(table, Do::Enqueue)?,
        _ => plain(table, Do::Launch)?,
    };
    Ok(Step { name: table.text("name")?, action })
}

fn member(table: &Table<'_>) -> Result<Member, Problem> {
    if table.has("atomic") {
        return Err(Problem::new(
            table.value_span("atomic"),
            "a group within a group",
            "a group of plain members",
        ));
    }
    let Some(word) = table.word("do", WORDS)? else {
        return Err(Problem::new(
            table.place(),
            "a member without `do`",
            format!("`do` = one of {}", listed(MEMBER_WORDS)),
        ));
    };
    Ok(match word {
        "consume" => {
            table.only(&["do", "guards"], "a consume within a group")?;
            Member::Consume { guards: guards(table)? }
        }
        "write" => {
            table.only(&["do", "what", "refusals"], "a write within a group")?;
            Member::Write { what: what(table)?, refusals: refusals(table)? }
        }
        "audit" => {
            table.only(&["do"], "an audit within a group")?;
            Member::Audit
        }
        "enqueue" => {
            table.only(&["do"], "an enqueue within a group")?;
            Member::Enqueue
        }
        other => {
            return Err(Problem::new(
                table.value_span("do"),
                format!("\"{other}\" within a group"),
                format!("one of {}", listed(MEMBER_WORDS)),
            ));
        }
    })
}

fn plain(table: &Table<'_>, action: Do) -> Result<Do, Problem> {
    table.only(&["do", "name"], "a step that takes no settings")?;
    Ok(action)
}

fn write(table: &Table<'_>) -> Result<Do, Problem> {
    table.only(&["do", "name", "what", "how", "best_effort", "refusals"], "a write step")?;
    let what = what(table)?;
    let how = how(table)?;
    if how == How::ReadThenWrite && what == What::Vault {
        return Err(Problem::new(
            table.value_span("how"),
            "`how` on a write of the vault",
            "it on a consume or on a write of the target only",
        ));
    }
    let best_effort = table.flag("best_effort")?.unwrap_or_default();
    Ok(Do::Write { what, how, best_effort, refusals: refusals(table)? })
}

fn what(table: &Table<'_>) -> Result<What, Problem> {
    match table.word("what", &["target", "vault"])? {
        Some("target") => Ok(What::Target),
        Some(_) => Ok(What::Vault),
        None => Err(missing(table, "what", "`what` = \"target\" or \"vault\"")),
    }
}

fn how(table: &Table<'_>) -> Result<How, Problem> {
    let found = table.word("how", &["read-then-write"])?;
    Ok(if found.is_some() { How::ReadThenWrite } else { How::AtOnce })
}

fn checks(table: &Table<'_>) -> Result<Checks, Problem> {
    const CHECKS: &[&str] = &["owner", "status", "binding", "expiry", "digest"];
    let Some(words) = table.words("checks", CHECKS)? else {
        return Err(missing(table, "checks", &format!("`checks` = any of {}", listed(CHECKS))));
    };
    let has = |word| words.contains(&word);
    Ok(Checks {
        owner: has("owner"),
        status: has("status"),
        binding: has("binding"),
        expiry: has("expiry"),
        digest: has("digest"),
    })
}

fn guards(table: &Table<'_>) -> Result<Guards, Problem> {
    const GUARDS: &[&str] = &["status", "expiry", "digest", "lease"];
    let Some(words) = table.words("guards", GUARDS)? else {
        let expected = format!("`guards` = any of {}", listed(GUARDS));
        return Err(missing(table, "guards", &expected).help("`guards = []` is an unconditional update"));
    };
    let has = |word| words.contains(&word);
    Ok(Guards { status: has("status"), expiry: has("expiry"), digest: has("digest"), lease: has("lease") })
}

fn refusals(table: &Table<'_>) -> Result<Vec<Refusal>, Problem> {
    let read = |value: &Spanned<DeValue<'_>>| {
        let text = string(value)?;
        Refusal::parse(text).map_err(|invalid| {
            let expected = invalid.to_string();
            let expected = expected.strip_prefix("expected ").unwrap_or(&expected).to_owned();
            Problem::new(value.span(), format!("\"{}\"", shortened(text)), expected)
        })
    };
    Ok(table.strings("refusals", read)?.unwrap_or_default())
}

fn missing(table: &Table<'_>, key: &str, expected: &str) -> Problem {
    Problem::new(table.value_span("do"), format!("no `{key}`"), expected)
}
