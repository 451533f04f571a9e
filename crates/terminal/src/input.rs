//! From what was typed to a flow: a built-in name or a file, with errors that point into the file.

use std::{
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use countersign::flow_file::{self, Problem};
use countersign_models::{
    flows::{BUILT_IN, BuiltIn, Subject},
    properties::Property,
};

/// A flow to judge, and what to call it.
#[derive(Debug)]
pub struct Named {
    /// Name in messages.
    pub name: String,
    /// Its file, whole.
    pub file: String,
    /// Content of the file.
    pub subject: Subject,
    /// The path of the file; `None` for a built-in flow.
    pub path: Option<PathBuf>,
}

/// An error in the input, ready to print.
#[derive(Debug)]
pub struct BadInput(String);

/// A mistake in a file: its place, what was found there, and what was expected.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The place, in bytes from the beginning of the file.
    pub span: Range<usize>,
    /// The found text.
    pub found: String,
    /// The expected text.
    pub expected: String,
    /// A suggestion.
    pub help: Option<String>,
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        let (found, expected) = (problem.found(), problem.expected());
        Self { span: problem.span.clone(), found, expected, help: problem.help() }
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BadInput {
    /// The message without colours, for a log.
    pub fn uncoloured(&self) -> String {
        anstream::adapter::strip_str(&self.0).to_string()
    }

    /// A message without a place in a file.
    pub fn plain(title: &str, help: &str) -> Self {
        let report = [Level::ERROR.primary_title(title).element(Level::HELP.message(help))];
        Self(renderer().render(&report))
    }

    /// A message that points into a file.
    pub fn in_file(path: &str, bytes: &[u8], problem: &Finding) -> Self {
        if bytes.len() > flow_file::MAX_BYTES {
            let title = format!("{path}: found {}, expected {}", problem.found, problem.expected);
            return Self::plain(&title, "`countersign help flows` tells how a flow file is written");
        }
        // Invalid UTF-8 is shown as replacement characters at its position.
        let text = String::from_utf8_lossy(bytes);
        let (line, column) = flow_file::position(bytes, problem.span.start);
        let (shown, first_line, span) = excerpt(&text, line, column, problem);
        let snippet = Snippet::source(shown)
            .path(path)
            .line_start(first_line)
            .annotation(AnnotationKind::Primary.span(span).label(format!("expected {}", problem.expected)));
        let mut group: Group<'_> = Level::ERROR
            .primary_title(format!("{path}:{line}:{column}: found {}", problem.found))
            .element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        Self(renderer().render(&[group]))
    }
}

fn renderer() -> Renderer {
    let style = if crate::output::is_ascii() { DecorStyle::Ascii } else { DecorStyle::Unicode };
    Renderer::styled().decor_style(style)
}

/// The line of the problem, cut to what can be read, with the problem's place in it.
fn excerpt<'t>(
    text: &'t str,
    line: usize,
    column: usize,
    problem: &Finding,
) -> (&'t str, usize, Range<usize>) {
    const LONGEST: usize = 200;
    let whole = text.split('\n').nth(line - 1).unwrap_or("").trim_end_matches('\r');
    let at = |characters: usize| whole.char_indices().nth(characters).map_or(whole.len(), |(byte, _)| byte);
    let from = (column - 1).saturating_sub(LONGEST / 2);
    let shown = &whole[at(from)..at(from + LONGEST)];
    let begin = at(column - 1) - at(from);
    let length = problem.span.len().max(1);
    let mut end = (begin + length).min(shown.len()).max(begin);
    while !shown.is_char_boundary(end) {
        end += 1;
    }
    (shown, line, begin..end)
}

/// The flows that were named; all built-in ones when none was.
pub fn flows(names: &[String]) -> Result<Vec<Named>, BadInput> {
    if names.is_empty() {
        return Ok(BuiltIn::every().map(built_in_flow).collect());
    }
    names.iter().map(|name| flow(name)).collect()
}

/// The flow of this name, or in this file.
pub fn flow(name: &str) -> Result<Named, BadInput> {
    if let Some(built_in) = BuiltIn::find(name).or_else(|| BuiltIn::find(&name.replace('_', "-"))) {
        return Ok(built_in_flow(built_in));
    }
    let path = Path::new(name);
    let bytes = read(path, flow_file::MAX_BYTES).map_err(|error| unreadable(name, &error))?;
    match Subject::read_in_full(&bytes) {
        Ok(subject) => {
            let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
            // A file's name may have anything in it, and is printed.
            let name = stem.replace(char::is_control, "\u{fffd}").replace('"', "'");
            Ok(Named {
                name,
                file: String::from_utf8_lossy(&bytes).into_owned(),
                subject,
                path: Some(path.to_owned()),
            })
        }
        Err(mut problems) => {
            problems.sort_by_key(|problem| problem.span.start);
            let each =
                problems.iter().map(|problem| BadInput::in_file(name, &bytes, &Finding::from(problem)).0);
            Err(BadInput(each.collect::<Vec<_>>().join("\n\n")))
        }
    }
}

fn built_in_flow(built_in: BuiltIn) -> Named {
    let (name, file) = (built_in.name.to_owned(), built_in.source.to_owned());
    Named { name, file, subject: built_in.subject(), path: None }
}

/// Reads no more than is needed to see that a file is longer than `most` bytes.
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file of at most `most` bytes, of which `what` is expected.
pub fn text(path: &Path, most: usize, what: &str) -> Result<String, BadInput> {
    let name = path.display();
    let bytes = read(path, most).map_err(|error| {
        BadInput::plain(&format!("{name}: cannot be read: {error}"), &format!("expected {what}"))
    })?;
    if bytes.len() > most {
        let title = format!("{name}: found more than {most} bytes, expected {what}");
        return Err(BadInput::plain(&title, "is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let title = format!("{name}:{line}: found a byte that is not UTF-8, expected {what}");
        BadInput::plain(&title, "is it the right file?")
    })
}

/// Reads JSON; errors have line and column.
pub fn json<T: serde::de::DeserializeOwned>(name: &str, text: &str, what: &str) -> Result<T, BadInput> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        BadInput::plain(&format!("{name}:{line}:{column}: {message}"), &format!("expected {what}"))
    })
}

fn unreadable(name: &str, error: &io::Error) -> BadInput {
    let names: Vec<&str> = BUILT_IN.iter().map(|flow| flow.name).collect();
    let looks_like_a_path = name.contains(['/', '\\', '.']);
    let file = format!("{name}.toml");
    match error.kind() {
        io::ErrorKind::NotFound if !name.is_empty() && Path::new(&file).is_file() => {
            let here = if looks_like_a_path { "" } else { "./" };
            BadInput::plain(
                &format!("{name}: found neither a built-in flow of this name nor such a file"),
                &format!("did you mean `{here}{file}`?"),
            )
        }
        io::ErrorKind::NotFound if looks_like_a_path => BadInput::plain(
            &format!("{name}: found no such file, expected a flow file"),
            "`countersign help flows` tells how to write one",
        ),
        io::ErrorKind::NotFound => BadInput::plain(
            &format!("{name}: found neither a built-in flow of this name nor such a file"),
            &match closest(name, BuiltIn::every().map(|flow| flow.name)) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("the built-in flows are {}", names.join(", ")),
            },
        ),
        io::ErrorKind::IsADirectory => BadInput::plain(
            &format!("{name}: found a folder, expected a flow file"),
            "name the files in it one by one, as in `countersign verify flows/*.toml`",
        ),
        _ => BadInput::plain(&format!("{name}: cannot be read: {error}"), "expected a flow file"),
    }
}

/// The property of this id or name, in capitals or not, with `-` or `_`.
pub fn property(text: &str) -> Result<Property, BadInput> {
    let plain = text.trim().replace('-', "_");
    let found = Property::ALL.iter().copied().find(|property| {
        property.id().eq_ignore_ascii_case(&plain) || property.name().eq_ignore_ascii_case(&plain)
    });
    found.ok_or_else(|| {
        let ids: Vec<_> = Property::numbered().iter().map(|property| property.id()).collect();
        let names = Property::ALL.iter().flat_map(|property| [property.id(), property.name()]);
        BadInput::plain(
            &format!("found the unknown property `{text}`, expected one of {}", ids.join(", ")),
            &match closest(&plain, names) {
                Some(close) => format!("did you mean `{close}`?"),
                None => "`countersign explain` lists what each of them says".to_owned(),
            },
        )
    })
}

/// As [`property`], of those that the model judges.
pub fn modelled_property(text: &str) -> Result<Property, BadInput> {
    let property = property(text)?;
    if Property::MODELLED.contains(&property) {
        return Ok(property);
    }
    let other = if Property::SIMULATED.contains(&property) {
        "`countersign simulate` judges it"
    } else {
        "the gate's own tests judge it"
    };
    let title = format!("{} {} is not judged in the model", property.id(), property.name());
    Err(BadInput::plain(&title, &format!("{other}; `countersign explain {property}` says more")))
}

/// The one of these names that is probably meant.
pub fn closest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const CLOSE: f64 = 0.8;
    names
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness >= CLOSE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}
