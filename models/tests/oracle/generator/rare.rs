//! Flows with the pairs of words that none of the first 500 seeds has.

use super::{Draft, Step, by_word, random_flow, rng::Rng};

/// A smallest set of seeds, found greedily, that have these pairs.
const SEEDS: [u64; 64] = [
    710, 733, 838, 874, 1012, 1536, 1717, 1925, 1972, 1999, 2365, 2467, 2782, 2816, 2990, 3200, 3271, 3341,
    3871, 4054, 4345, 4620, 4732, 4868, 5014, 5945, 6328, 6473, 6661, 6676, 6769, 8345, 8477, 8571, 10447,
    10787, 11113, 11215, 11578, 11751, 12223, 12291, 12888, 14235, 14477, 14531, 14912, 16163, 16591, 17617,
    18221, 18402, 18454, 19287, 19311, 22265, 24048, 26524, 28499, 34329, 35234, 36090, 37744, 37837,
];

/// A flow with one step that recalls and one that remembers.
const KEYED: u64 = 3606;

/// The flows of [`SEEDS`], and one that recalls and remembers twice, as no seed does.
pub(crate) fn rare_flows() -> impl Iterator<Item = Draft> {
    SEEDS.into_iter().map(random_flow).chain([keyed_twice()])
}

fn keyed_twice() -> Draft {
    let mut draft = random_flow(KEYED);
    for word in ["recall", "remember"] {
        let at = draft.steps.iter().position(|step| step.does(word)).expect("the flow has such a step");
        let mut second = by_word(&mut Rng(0), word, false);
        second.0.retain(|(key, _)| *key == "do");
        second.word("on_error", "retry");
        draft.steps.insert(at + 1, Step::One(second));
    }
    draft
}
