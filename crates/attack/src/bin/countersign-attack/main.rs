//! `countersign attack`: judges a running service by its behaviour.

mod args;

use std::{fs, path::Path, process::ExitCode};

use clap::Parser;

use countersign_attack::{
    campaign::{self, Options},
    history, init,
    report::{Conclusion, Report, Verdict, missing_role},
    reproduction::Reproduction,
    safety::{Limits, Stop},
    target::{self, Target},
};
use countersign_terminal::{
    BadInput, Exit,
    input::{self, Finding},
    interrupt, output, print_data, print_error, print_line,
};

use crate::args::{
    AgainArgs, Args, CheckArgs, Command, Format, InitArgs, JudgeArgs, LearnArgs, OutputArgs, ReachArgs,
};

/// The longest history, HAR file or OpenAPI document.
const MOST: usize = 256 << 20;

fn main() -> ExitCode {
    let args = Args::parse();
    output::choose(args.color);
    let exit = match (&args.command, &args.target) {
        (Some(Command::Init(init)), _) => write_target(init),
        (Some(Command::Check(check)), _) => check_target(check),
        (Some(Command::Learn(learn)), _) => learn_flow(learn),
        (Some(Command::Replay(again)), _) => run_again(again),
        (Some(Command::Judge(judge)), _) => judge_again(judge),
        (None, Some(file)) => attack(&args, file),
        (None, None) => Err(BadInput::plain("no target file", "`countersign attack init` writes one")),
    };
    let exit = if interrupt::happened() { Ok(Exit::Interrupted) } else { exit };
    exit.unwrap_or_else(|problem| {
        print_error!("{problem}");
        Exit::BadInput
    })
    .into()
}

fn read(path: &Path) -> Result<Target, BadInput> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| {
        BadInput::plain(&format!("{name}: cannot be read: {error}"), "expected a target file")
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    target::parse(&bytes, folder).map_err(|problem| {
        let target::Problem { span, found, expected, help } = problem;
        BadInput::in_file(&name, &bytes, &Finding { span, found, expected, help })
    })
}

fn options(reach: &ReachArgs) -> Options {
    let defaults = Options::default();
    Options {
        owned_host: reach.i_own_this_service.clone(),
        log: reach.service_log.clone().unwrap_or(defaults.log.clone()),
        interrupted: interrupt::catch(),
        ..defaults
    }
}

fn stopped(stop: &Stop) -> BadInput {
    BadInput::plain(&stop.to_string(), "`countersign attack check TARGET` runs each role once")
}

fn attack(args: &Args, file: &Path) -> Result<Exit, BadInput> {
    let target = read(file)?;
    let limits =
        Limits { requests: args.max_requests, time: args.time, kills: args.max_kills, ..Limits::default() };
    let options = Options {
        limits,
        races: args.races,
        callers: usize::from(args.callers),
        schedules: args.schedules,
        preemptions: args.preemptions,
        kills: args.max_kills > 0,
        keep_history: args.history.is_some(),
        ..options(&args.reach)
    };
    let human = args.output.format == Format::Human;
    let report = campaign::attack(&target, &options, &mut |phase| {
        if human {
            print_error!("{phase} …");
        }
    });
    let report = report.map_err(|stop| stopped(&stop))?;
    if let Some(path) = &args.history {
        save(path, &report.history())?;
    }
    let exit = finish(&report, &args.output)?;
    for path in leave_reproductions(&report, file, &args.failures)? {
        print_error!("run it again: countersign attack replay {path}");
    }
    Ok(exit)
}

/// Writes a file for each violation, and returns their paths.
fn leave_reproductions(report: &Report, target: &Path, folder: &Path) -> Result<Vec<String>, BadInput> {
    let absolute = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
    let stem = target.file_stem().unwrap_or_default().to_string_lossy();
    let mut written = Vec::new();
    for reproduction in report.reproductions(&absolute) {
        fs::create_dir_all(folder).map_err(|error| {
            BadInput::plain(
                &format!("{}: cannot be created: {error}", folder.display()),
                "choose another folder with --failures",
            )
        })?;
        let path = folder.join(format!("{stem}-{}.json", reproduction.properties.join("-")));
        let text = serde_json::to_string_pretty(&reproduction).unwrap_or_default();
        save(&path, &(text + "\n"))?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

fn learn_flow(args: &LearnArgs) -> Result<Exit, BadInput> {
    let target = read(&args.target)?;
    let learnt = campaign::learn(&target, &options(&args.reach)).map_err(|stop| stopped(&stop))?;
    print_data!("{}", learnt.toml.trim_end());
    for question in learnt.questions {
        print_error!("? {question}");
    }
    Ok(Exit::Expected)
}

/// As with every failure: 1 if it occurs again, 0 if not.
fn run_again(args: &AgainArgs) -> Result<Exit, BadInput> {
    const WHAT: &str = "a file that `countersign attack` wrote for a violation";
    let name = args.file.display().to_string();
    let reproduction: Reproduction = input::json(&name, &input::text(&args.file, MOST, WHAT)?, WHAT)?;
    let target = read(&reproduction.target)?;
    let report = campaign::again(&target, &options(&args.reach), &reproduction);
    let report = report.map_err(|stop| stopped(&stop))?;
    finish(&report, &args.output)?;
    let is = |verdict| report.verdicts.iter().any(|line| line.verdict == verdict);
    Ok(if is(Verdict::Violated) {
        Exit::Unexpected
    } else if is(Verdict::NotViolated) && report.cut_off.is_none() {
        Exit::Expected
    } else {
        Exit::CutOff
    })
}

fn finish(report: &Report, output: &OutputArgs) -> Result<Exit, BadInput> {
    if let Some(path) = &output.html {
        save(path, &report.html())?;
    }
    match output.format {
        Format::Human => print_line!("{}", report.text().trim_end()),
        Format::Json => print_data!("{}", report.json()),
    }
    Ok(match report.conclusion() {
        Conclusion::Clean => Exit::Expected,
        Conclusion::Violated => Exit::Unexpected,
        Conclusion::Inconclusive => Exit::CutOff,
    })
}

fn save(path: &Path, text: &str) -> Result<(), BadInput> {
    fs::write(path, text).map_err(|error| {
        BadInput::plain(&format!("{}: cannot be written: {error}", path.display()), "choose another file")
    })
}

fn write_target(args: &InitArgs) -> Result<Exit, BadInput> {
    let text = match (&args.curl, &args.har, &args.openapi) {
        (Some(command), ..) => init::from_curl(command),
        (_, Some(har), _) => init::from_har(&input::text(har, MOST, "a HAR file")?),
        (_, _, Some(document)) => {
            let operation = args.operation.as_deref().unwrap_or_default();
            init::from_openapi(&input::text(document, MOST, "an OpenAPI document in JSON")?, operation)
        }
        (None, None, None) => {
            return Err(BadInput::plain("nothing to read", "use --curl, --har or --openapi"));
        }
    };
    let text =
        text.map_err(|why| BadInput::plain(&why, "`countersign attack init --help` lists what can be read"))?;
    print_data!("{}", text.trim_end());
    Ok(Exit::Expected)
}

fn check_target(args: &CheckArgs) -> Result<Exit, BadInput> {
    let target = read(&args.target)?;
    let checked = campaign::check(&target, &options(&args.reach)).map_err(|stop| stopped(&stop))?;
    for line in checked {
        print_line!("{:<10}{}", line.role, line.result);
    }
    print_line!("");
    for id in countersign_attack::judge::JUDGED {
        match missing_role(id, &target) {
            Some(why) => print_line!("  – {id:<4}{why}"),
            None => print_line!("  ✓ {id:<4}testable"),
        }
    }
    Ok(Exit::Expected)
}

fn judge_again(args: &JudgeArgs) -> Result<Exit, BadInput> {
    const WHAT: &str = "a history that `countersign attack --history` wrote";
    let name = args.file.display();
    let text = input::text(&args.file, MOST, WHAT)?;
    let report = history::read(&text).and_then(Report::of_history);
    let report =
        report.map_err(|bad| BadInput::plain(&format!("{name}:{}: {}", bad.line, bad.message), WHAT))?;
    finish(&report, &args.output)
}
