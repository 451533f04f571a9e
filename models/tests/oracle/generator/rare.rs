//! Flows with the pairs of words that none of the first 500 seeds has.

use super::{Draft, Step, by_word, random_flow, rng::Rng};

/// A smallest set of seeds, found greedily, that have these pairs.
const SEEDS: [u64; 82] = [
    556, 635, 651, 710, 721, 733, 777, 796, 838, 928, 961, 1091, 1131, 1145, 1150, 1172, 1243, 1277, 1283,
    1311, 1374, 1484, 1567, 1596, 1629, 1667, 1752, 1883, 1892, 1894, 1927, 1972, 2084, 2099, 2337, 2357,
    2467, 2474, 2479, 2552, 2610, 2627, 2816, 2819, 2871, 2948, 2990, 3200, 3271, 3305, 3456, 3732, 3871,
    4088, 4238, 4276, 4311, 4345, 4523, 4620, 4732, 4814, 5145, 5259, 5334, 5591, 5761, 5763, 6080, 6676,
    7222, 7496, 7579, 7593, 7820, 7831, 8005, 8345, 8607, 8729, 8877, 8914,
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
