//! PostgreSQL's own benchmark, with the very statements that our store sends.

use std::{fmt::Write, fs, io, path::PathBuf, process::Command, time::Duration};

use countersign::store::sql::Value;
use uuid::Uuid;

use super::{
    counters::{Ended, Tries, Try},
    counting::Statement,
};

pub(crate) struct Pgbench {
    pub(crate) program: PathBuf,
    pub(crate) url: String,
    pub(crate) schema: &'static str,
}

/// A script for pgbench: this number of transactions for each client, on separate approvals, starting with `first`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) each: u32,
    pub(crate) first: u32,
}

/// A script, and the values of its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    text: String,
    variables: Vec<(String, String)>,
}

impl Script {
    /// Built from the statements by which our store has consumed the approval `recorded`, word for word except for the
    /// names of the parameters; in one transaction if they were sent that way. pgbench's variables are numbers, so that
    /// the server has to convert them into ids: that cost is measured and reported.
    pub(crate) fn new(statements: &[Statement], recorded: Uuid, in_transaction: bool) -> Self {
        let mut script = Self {
            text: "\\set done :done + 1\n\\set id :first + :client_id * :each + :done\n".to_owned(),
            variables: Vec::new(),
        };
        if in_transaction {
            script.text.push_str("BEGIN;\n");
        }
        for (place, (sql, parameters)) in statements.iter().enumerate() {
            script.add(place, sql, parameters, recorded);
        }
        if in_transaction {
            script.text.push_str("COMMIT;\n");
        }
        script
    }

    fn add(&mut self, place: usize, sql: &str, parameters: &[Value], recorded: Uuid) {
        let mut parts = sql.split('$');
        self.text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.len() - part.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
            let (number, rest) = part.split_at(digits);
            let value =
                number.parse::<usize>().ok().and_then(|number| parameters.get(number.checked_sub(1)?));
            let name = format!("s{place}_{number}");
            let text = match value {
                // A dollar that begins no parameter.
                None => format!("${number}"),
                Some(Value::Null) => "NULL".to_owned(),
                Some(Value::Id(id)) if *id == recorded => "lpad(:id, 32, '0')::UUID".to_owned(),
                Some(value) => {
                    if !self.variables.iter().any(|(known, _)| *known == name) {
                        self.variables.push((name.clone(), as_text(value)));
                    }
                    format!(":{name}")
                }
            };
            self.text.push_str(&text);
            self.text.push_str(rest);
        }
        self.text.push_str(";\n");
    }
}

/// PostgreSQL's text form.
fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Id(id) => id.to_string(),
        Value::Bytes(bytes) => bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
            // Writing to a text never fails.
            write!(text, "{byte:02x}").ok();
            text
        }),
    }
}

impl Pgbench {
    /// Its version.
    pub(crate) fn version(&self) -> Option<String> {
        let output = Command::new(&self.program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs it, and reads what each transaction took.
    pub(crate) fn run(&self, script: &Script, plan: Plan) -> io::Result<Tries> {
        let folder = tempfile::Builder::new().prefix("countersign-pgbench-").tempdir()?;
        let file = folder.path().join("consume.sql");
        fs::write(&file, &script.text)?;
        let mut command = Command::new(&self.program);
        command
            .env("PGOPTIONS", format!("-c search_path={} -c jit=off", self.schema))
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=1", "--log"])
            .arg(format!("--log-prefix={}", folder.path().join("log").display()))
            .arg(format!("--client={}", plan.clients))
            .arg(format!("--transactions={}", plan.each))
            .arg("--file")
            .arg(&file)
            .args([
                "-D",
                "done=-1",
                "-D",
                &format!("first={}", plan.first),
                "-D",
                &format!("each={}", plan.each),
            ]);
        for (name, value) in &script.variables {
            command.arg("-D").arg(format!("{name}={value}"));
        }
        let output = command.arg(&self.url).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("pgbench: {}", complaint.trim())));
        }
        let mut all = Vec::new();
        for entry in fs::read_dir(folder.path())? {
            let path = entry?.path();
            if path != file {
                all.extend(read(&fs::read_to_string(path)?, plan)?);
            }
        }
        let rate =
            rate(&said).ok_or_else(|| io::Error::other("pgbench does not say how many a second it did"))?;
        let wall = Duration::from_secs_f64(all.len() as f64 / rate);
        Ok(Tries { all, wall })
    }
}

/// The lines of its log: client, number, microseconds, and what is of no interest here. That each of them has won
/// is for the store to say.
fn read(log: &str, plan: Plan) -> io::Result<Vec<Try>> {
    let unreadable = |line: &str| io::Error::other(format!("pgbench's log has the line `{line}`"));
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let client: usize = words.next()?.parse().ok()?;
        let number: u32 = words.next()?.parse().ok()?;
        let took = Duration::from_micros(words.next()?.parse().ok()?);
        let approval = plan.first + client as u32 * plan.each + number;
        Some(Try { approval, client, ended: Ended::Won, took })
    };
    log.lines().map(|line| one(line).ok_or_else(|| unreadable(line))).collect()
}

/// The one without the time that connecting took.
fn rate(said: &str) -> Option<f64> {
    let mut rates = said.lines().filter_map(|line| line.strip_prefix("tps = "));
    let rate = rates.rfind(|line| !line.contains("including"))?;
    rate.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_the_very_statement_with_its_parameters_as_variables() {
        let recorded = Uuid::from_u128(9);
        let parameters = vec![
            Value::Text("executed".into()),
            Value::Id(recorded),
            Value::Bytes(vec![7, 255]),
            Value::Null,
        ];
        let statement = ("UPDATE a SET s = $1, e = $4\nWHERE id = $2 AND d = $3 AND s <> $1", parameters);
        let script = Script::new(&[statement], recorded, false);
        assert!(script.text.ends_with(
            "UPDATE a SET s = :s0_1, e = NULL\nWHERE id = lpad(:id, 32, '0')::UUID AND d = :s0_3 AND s <> :s0_1;\n"
        ));
        let variables =
            [("s0_1", "executed"), ("s0_3", "\\x07ff")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(script.variables, variables);
    }

    #[test]
    fn statements_of_a_transaction_stay_together() {
        let script = Script::new(&[("SELECT 1", vec![]), ("SELECT 2", vec![])], Uuid::nil(), true);
        assert!(script.text.ends_with("BEGIN;\nSELECT 1;\nSELECT 2;\nCOMMIT;\n"));
    }

    #[test]
    fn its_log_and_its_rate_are_read() {
        let plan = Plan { clients: 2, each: 10, first: 100 };
        let tries = read("0 0 513 0 1700000000 1\n1 3 77 0 1700000000 2\n", plan).expect("two lines");
        assert_eq!(tries.iter().map(|one| one.approval).collect::<Vec<_>>(), [100, 113]);
        assert_eq!(tries[0].took, Duration::from_micros(513));
        assert!(read("progress", plan).is_err());
        assert_eq!(
            rate("latency average = 1 ms\ntps = 1234.5 (without initial connection time)\n"),
            Some(1234.5)
        );
        let older = "tps = 12.0 (including connections establishing)\ntps = 13.5 (excluding connections establishing)\n";
        assert_eq!(rate(older), Some(13.5));
    }
}
