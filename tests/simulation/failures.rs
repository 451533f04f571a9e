//! Failures that were found and shrunk once are played again, and nothing can be left out of them.

use std::{fs, path::Path};

use countersign_models::simulation::{Failure, Mutant, Schedule, play};

fn kept() -> Vec<(String, Failure)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation/failures");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|file| file.expect("it can be listed").path())
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().expect("it is a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("it can be read");
        let failure = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, failure)
    };
    files.iter().map(read).collect()
}

#[test]
fn every_kept_failure_fails_again() {
    let kept = kept();
    assert_eq!(kept.len(), KEPT, "a failure was lost, or added without a word here");
    for (name, failure) in kept {
        let replayed = failure.replay().unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(replayed.is_broken, "{name}");
        assert_eq!(replayed.taken, failure.actions.len(), "{name}: actions were skipped");
        assert!(replayed.events.len() >= failure.actions.len(), "{name}: every action has its words");
    }
}

/// Number of recorded failures: all violated properties of each known-bad flow, and one of each mutant.
const KEPT: usize = 46;

#[test]
fn nothing_can_be_left_out_of_a_kept_failure() {
    for (name, failure) in kept() {
        let property = failure.replay().expect("it was played before").property;
        let mutant = failure.mutant.as_deref().map(|name| Mutant::find(name).expect("it is one"));
        let flow = failure.flow().expect("it was read before");
        for left_out in 0..failure.actions.len() {
            let mut actions = failure.actions.clone();
            actions.remove(left_out);
            let schedule = Schedule { scenario: failure.scenario.clone(), actions };
            let played = play(&flow, &schedule, mutant);
            assert_eq!(played.by_then >> property as u32 & 1, 0, "{name}: action {left_out} can be left out");
        }
    }
}

#[test]
fn a_sound_platform_plays_a_mutants_failure_without_harm() {
    for (name, failure) in kept().into_iter().filter(|(_, failure)| failure.mutant.is_some()) {
        let sound = Failure { mutant: None, ..failure };
        assert!(!sound.replay().expect("it was played before").is_broken, "{name}");
    }
}
