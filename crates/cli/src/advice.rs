//! Advice for a flow, and `--fix`, which writes the mended flow.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use countersign_models::{
    advice::{Advised, Search, advise, mend},
    properties::Property,
    verdict::Verdict,
};
use indicatif::ProgressBar;
use owo_colors::OwoColorize;

use crate::{args::RunArgs, judge::Judged, report, wrap};
use countersign_terminal::{BadInput, Stopwatch, input::Named, interrupt, print_error, print_line};

/// The file that `--fix` writes, before anything is judged: the given one, or a new one.
pub(crate) fn destination(flows: &[Named], file: Option<&Path>) -> Result<PathBuf, BadInput> {
    const HELP: &str = "as in `countersign verify coupon.toml --fix`, or `--fix=fixed.toml` for a new file";
    let [Named { name, path, .. }] = flows else {
        return Err(BadInput::plain("--fix edits one flow, and none or several were named", HELP));
    };
    match (path, file) {
        (None, None) => {
            Err(BadInput::plain(&format!("{name} is built in and cannot be edited in its place"), HELP))
        }
        (Some(path), None) => Ok(path.clone()),
        (Some(path), Some(file)) if path == file => Ok(path.clone()),
        (_, Some(file)) => new_file(file).map(|()| file.to_owned()),
    }
}

/// Refuses a file that exists, or is in no folder that does.
pub(crate) fn new_file(file: &Path) -> Result<(), BadInput> {
    let shown = file.display();
    if file.exists() {
        let title = format!("{shown}: the file exists, and is not overwritten");
        return Err(BadInput::plain(&title, "name a new file"));
    }
    let folder = file.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    let title = format!("{shown}: cannot be written: there is no such folder");
    Err(BadInput::plain(&title, "name a file in a folder that exists"))
}

/// Prints the edits that mend each violated property.
pub(crate) fn print(judged: &Judged, args: &RunArgs, pool: &rayon::ThreadPool) {
    let violated = violated(judged);
    if violated.is_empty() || judged.report.cut_off.is_some() {
        return;
    }
    let Advised { advice, without, complete } =
        searched(judged, args, pool, |search| advise(&judged.file, &violated, search));
    let ids = |properties: &[Property]| properties.iter().map(|one| one.id()).collect::<Vec<_>>().join(" ");
    let title = format!("Edits that mend {}", judged.name);
    print_line!("\n{}, each verified within {}:", title.bold(), report::bounds(judged));
    let width = advice.iter().map(|one| ids(&one.mends).len()).max().unwrap_or(0);
    for one in &advice {
        let edits = one.edits.join(", and ");
        let said = wrap::wrap(&edits, 94 - width, 0).replace('\n', &format!("\n{}", " ".repeat(width + 4)));
        print_line!("  {:width$}  {said}", ids(&one.mends).bold());
    }
    if !without.is_empty() {
        let said = if complete {
            "no combination of one or two known edits"
        } else {
            "within the limits of the search, no edit"
        };
        let pages: Vec<String> =
            without.iter().map(|one| format!("`countersign explain {}`", one.id())).collect();
        let ids = ids(&without);
        let said = wrap::wrap(&format!("{said} keeps it; see {}", pages.join(", ")), 94 - ids.len(), 0);
        print_line!("  {}  {}", ids.bold(), said.replace('\n', &format!("\n{}", " ".repeat(ids.len() + 4))));
    }
    if !advice.is_empty() {
        print_line!("  {}", "`--fix` follows this advice, and writes the edited file".dimmed());
    }
}

/// Follows the advice, writes the file and reports the changes.
pub(crate) fn fix(
    judged: &Judged,
    path: &Path,
    args: &RunArgs,
    pool: &rayon::ThreadPool,
) -> Result<(), BadInput> {
    let violated = violated(judged);
    let shown = path.display();
    if violated.is_empty() {
        print_error!("nothing to mend: {shown} was not written");
        return Ok(());
    }
    if judged.report.cut_off.is_some() {
        print_error!("the verification was cut off: {shown} was not written");
        return Ok(());
    }
    let mended = searched(judged, args, pool, |search| mend(&judged.file, &violated, search));
    if mended.edits.is_empty() {
        print_error!("no small edit mends {}: {shown} was not written", judged.name);
        return Ok(());
    }
    fs::write(path, &mended.file).map_err(|error| {
        BadInput::plain(&format!("{shown}: cannot be written: {error}"), "name another file: --fix=FILE")
    })?;
    print_error!("\n{} {shown}:", "wrote".bold());
    for edit in &mended.edits {
        print_error!("  {}", wrap::wrap(edit, 96, 2));
    }
    match mended.remains.as_slice() {
        [] => print_error!("it violates nothing within {}", report::bounds(judged)),
        remains => {
            let ids: Vec<&str> = remains.iter().map(|one| one.id()).collect();
            print_error!("it still violates {}", ids.join(", "));
        }
    }
    Ok(())
}

fn violated(judged: &Judged) -> Vec<Property> {
    let is_violated = |verdict: &Verdict| matches!(verdict, Verdict::Violated(_));
    judged.report.judgements.iter().filter(|one| is_violated(&one.verdict)).map(|one| one.property).collect()
}

/// Runs a search, with a spinner, until it is done, `--time` is up, or Ctrl-C is pressed.
fn searched<T: Send>(
    judged: &Judged,
    args: &RunArgs,
    pool: &rayon::ThreadPool,
    run: impl FnOnce(&Search<'_>) -> T + Send,
) -> T {
    let stopwatch = Stopwatch::start();
    let is_stopped = || interrupt::happened() || args.time.is_some_and(|time| stopwatch.elapsed() >= time);
    let search = Search {
        bounds: judged.report.bounds,
        size: judged.report.states,
        states: Search::STATES,
        is_stopped: &is_stopped,
    };
    let bar = ProgressBar::new_spinner()
        .with_message(format!("{}: trying small edits; --time limits it", judged.name));
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let found = pool.install(|| run(&search));
    bar.finish_and_clear();
    found
}
