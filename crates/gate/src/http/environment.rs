//! Names of environments in requests. One that people may take for another environment's is refused: an approver would read
//! the other name.

use unicode_security::confusable_detection::skeleton;

use super::{Problem, problem::Code};
use countersign::platform::Environment;

/// The names that people expect.
const WELL_KNOWN: [&str; 3] = ["development", "staging", "production"];

/// Their short forms.
const SHORT: [&str; 6] = ["dev", "devel", "stage", "stg", "prod", "prd"];

/// The environment of this name, if it is one and looks like no other.
pub(super) fn named(name: &str) -> Result<Environment, Problem> {
    if is_look_alike(name, None) {
        return Err(Problem::new(Code::EnvLookAlike));
    }
    Ok(Environment::parse(name)?)
}

/// Refuses a target environment that looks like another one, or like the source's.
pub(super) fn check(to: &str, from: &Environment) -> Result<(), Problem> {
    if is_look_alike(to, Some(from)) { Err(Problem::new(Code::EnvLookAlike)) } else { Ok(()) }
}

fn is_look_alike(name: &str, source: Option<&Environment>) -> bool {
    let outlined = outline(name);
    let mut others = WELL_KNOWN.into_iter().chain(source.map(Environment::as_str));
    others.any(|other| other != name && outline(other) == outlined)
        || SHORT.into_iter().any(|short| outline(short) == outlined)
}

/// The same for names that look the same: without case, separators and characters of no width, and with letters of other
/// scripts as those that they look like.
fn outline(name: &str) -> String {
    let folded: String = skeleton(&name.to_lowercase()).collect();
    // The skeleton of a zero is the capital letter, and those of `i` and `l` differ.
    let letters = folded.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase);
    letters.map(|letter| if letter == 'i' { 'l' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_can_be_taken_for_a_well_known_one_is_refused() {
        for name in [
            "Production",
            "PRODUCTION",
            "pr\u{43e}duction",
            "Pr\u{43e}duction",
            "production\u{200b}",
            "pr0duction",
            "productlon",
            "product1on",
            "pro-duction",
            "production_",
            "\u{ff50}roduction",
            "deveIopment",
            "developrnent",
            "Staging",
            "prod",
            "PROD",
            "dev",
            "stg",
        ] {
            assert!(named(name).is_err_and(|problem| problem.code() == "env_look_alike"), "{name}");
        }
    }

    #[test]
    fn other_names_and_the_well_known_ones_are_names() {
        for name in ["development", "staging", "production", "production-2", "qa", "review_17", "eu-west"] {
            assert!(named(name).is_ok(), "{name}");
        }
        assert!(named("a b").is_err_and(|problem| problem.code() == "invalid_env"));
    }

    #[test]
    fn a_target_may_not_look_like_its_source() {
        let source = Environment::parse("qa-eu").expect("a name");
        assert!(check("qa_eu", &source).is_err() && check("QA-EU", &source).is_err());
        assert!(check("qa-us", &source).is_ok() && check("qa-eu", &source).is_ok());
    }
}
