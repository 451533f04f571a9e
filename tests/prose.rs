//! The prose of this project: words to avoid, openings of comments, and the form of error messages.

use std::{collections::BTreeMap, fs, path::Path};

/// Each has a better word. Whole words, in any case.
const AVOIDED: [&str; 23] = [
    "whoever",
    "whatever",
    "nobody",
    "somebody",
    "everybody",
    "anybody",
    "those who",
    "the one that",
    "the one who",
    "so much",
    "so many",
    "so long",
    "at once",
    "beside",
    "is told",
    "are told",
    "was told",
    "were told",
    "be told",
    "put to the test",
    "is there to be",
    "than which none is",
    "set back",
];

/// The most of them in 1,000 lines of comments.
const MOST_IN_COMMENTS: usize = 2;

/// The avoided words of a line.
fn avoided(line: &str) -> impl Iterator<Item = &'static str> {
    let words: String = line
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_alphanumeric() || letter == '_' { letter } else { ' ' })
        .collect();
    let line = format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "));
    AVOIDED.into_iter().filter(move |word| line.contains(&format!(" {word} ")))
}

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Every file below a folder, with its path from the root of the repository.
fn files(folder: &Path, found: &mut BTreeMap<String, String>) {
    let is_built = |name: &str| name == "target" || name == "node_modules" || name.starts_with('.');
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_dir() && !is_built(&name) {
            files(&path, found);
        } else if [".rs", ".md"].iter().any(|end| name.ends_with(end)) {
            let path_from_root = path.strip_prefix(ROOT).expect("it is below the root");
            found.insert(
                path_from_root.to_string_lossy().into_owned(),
                fs::read_to_string(&path).expect("text"),
            );
        }
    }
}

fn repository() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    files(Path::new(ROOT), &mut found);
    found
}

#[test]
fn a_word_is_found_in_any_case_and_as_a_whole() {
    let found = |line| avoided(line).collect::<Vec<_>>();
    assert_eq!(found("Whoever asks, is told (at once)."), ["whoever", "at once", "is told"]);
    assert_eq!(found("besides, a nobodyness is untold"), [""; 0]);
}

/// Pages of results are printed by a program, and change with it.
#[test]
fn pages_and_help_texts_have_no_avoided_word() {
    let mut found = Vec::new();
    for (path, text) in repository() {
        let is_page = path.ends_with(".md") && !path.starts_with("benches/results/");
        let is_help = path.ends_with("args.rs") || path.contains("/args/");
        for (number, line) in text.lines().enumerate() {
            let is_doc = line.trim_start().starts_with("///");
            if is_page || (is_help && is_doc) {
                found.extend(avoided(line).map(|word| format!("{path}:{}: {word}", number + 1)));
            }
        }
    }
    assert!(found.is_empty(), "{} avoided words:\n{}", found.len(), found.join("\n"));
}

/// True for a message of the wrong form: it should start in lower case, or with a name, and have no full stop.
fn misformed(message: &str) -> bool {
    const NAMES: [&str; 5] = ["PostgreSQL", "SQLite", "WARNING", "ERROR", "JSON"];
    let first = message.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
    let is_upper = first.starts_with(|letter: char| letter.is_uppercase()) && !NAMES.contains(&first);
    is_upper || (message.ends_with('.') && !message.ends_with(".."))
}

/// The error messages that begin and end in a line of code.
fn messages(line: &str) -> impl Iterator<Item = &str> {
    const MAKERS: [&str; 6] =
        ["Err(", "Err(format!(", "BadInput(format!(", "print_error!(", "not_applied(", "failed("];
    MAKERS.into_iter().filter_map(move |maker| {
        let (_, text) = line.split_once(&format!("{maker}\""))?;
        text.split_once('"').map(|(message, _)| message)
    })
}

#[test]
fn error_messages_start_in_lower_case_without_a_full_stop() {
    assert!(misformed("No such file") && misformed("no such file.") && !misformed("PostgreSQL is too old"));
    let (mut seen, mut found) = (0, Vec::new());
    for (path, text) in repository().iter().filter(|(path, _)| path.ends_with(".rs") && path.contains("src/"))
    {
        for message in text.lines().flat_map(messages) {
            seen += 1;
            found.extend(misformed(message).then(|| format!("{path}: {message}")));
        }
    }
    assert!(seen > 50, "{seen} messages were found");
    assert!(found.is_empty(), "{} misformed messages:\n{}", found.len(), found.join("\n"));
}

/// A definition starts with a noun phrase or a verb.
#[test]
fn few_comments_open_with_a_pronoun() {
    const OPENERS: [&str; 6] = ["It ", "What ", "Who ", "Whose ", "Whether ", "How "];
    let (mut lines, mut found) = (0, 0);
    for (_, text) in repository().iter().filter(|(path, _)| path.ends_with(".rs")) {
        for comment in text.lines().map(str::trim_start).filter(|line| line.starts_with("//")) {
            lines += 1;
            let words = comment.trim_start_matches(['/', '!', ' ']);
            found += usize::from(OPENERS.iter().any(|opener| words.starts_with(opener)));
        }
    }
    println!("{found} of {lines} lines of comments open with a pronoun");
    assert!(
        found * 100 <= 2 * lines,
        "{found} of {lines} lines of comments open with a pronoun: at most 2 %"
    );
}

#[test]
fn comments_have_few_avoided_words() {
    let (mut lines, mut found) = (0, 0);
    for (_, text) in repository().iter().filter(|(path, _)| path.ends_with(".rs")) {
        for comment in text.lines().map(str::trim_start).filter(|line| line.starts_with("//")) {
            lines += 1;
            found += avoided(comment).count();
        }
    }
    let most = lines * MOST_IN_COMMENTS / 1_000;
    println!("{found} avoided words in {lines} lines of comments");
    assert!(found <= most, "{found} avoided words in {lines} lines of comments: at most {most}");
}
