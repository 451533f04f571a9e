//! Comparison of a failure's length with the model's shortest run, with the reason for a difference.

use std::ops::RangeInclusive;

use countersign_models::simulation::Shortest;
use serde::{Deserialize, Serialize};

macro_rules! differences {
    ($($kind:ident $label:literal $why:literal;)+) => {
        /// Why a shrunk failure is not as long as the model's shortest run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Difference {
            $(#[doc = $why] $kind),+
        }

        impl Difference {
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),+];

            /// In two or three words.
            pub(crate) fn label(self) -> &'static str {
                match self { $(Self::$kind => $label),+ }
            }

            /// The reason as a sentence.
            pub(crate) fn why(self) -> &'static str {
                match self { $(Self::$kind => $why),+ }
            }
        }
    };
}

differences! {
    BrokenPlatform "broken platform"
        "the platform is broken, not the order: the model, which plays a sound one, has no run to compare with";
    NotInTheModel "not in the model"
        "it takes what the model does not have: another team, a key, a second approval, a message twice or late";
    OtherFaults "other faults"
        "a fault that the model does not have makes it shorter; with the model's own it is as long as there";
    CountedOtherwise "counted otherwise"
        "one action in one of the two is two in the other: a deploy that ends and a worker that notices, a request that is sent again and its attempt that begins, an attempt that ends and gives its lease back";
    TooRare "too rare"
        "none of the first seeds that broke it was in the model's own world, where it takes a certain order of many actions";
    OtherActions "other actions"
        "no action of the walk can be left out; a shorter run takes other ones";
    LargerWorld "larger world"
        "the walks have more callers, crashes and faults than the model's bounds, within which there is no run or no shorter one";
    Unexplained "unexplained"
        "unknown: the simulator and the model may have diverged";
}

/// Why `length` is not the model's; `None` when it is. `modelled` is the shortest among the model's own faults.
pub(super) fn difference(
    is_mutant: bool,
    length: usize,
    modelled: Option<usize>,
    shortest: Option<&Shortest>,
) -> Option<Difference> {
    if is_mutant {
        return Some(Difference::BrokenPlatform);
    }
    let Some(Shortest { actions, here }) = shortest else { return Some(Difference::NotInTheModel) };
    let explained = |here: &RangeInclusive<usize>, length| here.contains(&length);
    match modelled {
        _ if length == *actions => None,
        _ if explained(here, length) => Some(Difference::CountedOtherwise),
        None => Some(Difference::TooRare),
        Some(modelled) if length < modelled && explained(here, modelled) => Some(Difference::OtherFaults),
        Some(_) => Some(Difference::Unexplained),
    }
}

/// Why a walk of `length` actions is not as long as the model's shortest run; `None` when it is.
pub(super) fn difference_of_walk(length: usize, shortest: Option<usize>) -> Option<Difference> {
    match shortest {
        Some(shortest) if length == shortest => None,
        Some(shortest) if length > shortest => Some(Difference::OtherActions),
        Some(_) | None => Some(Difference::LargerWorld),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_of_a_walk_has_its_reason() {
        assert_eq!(difference_of_walk(7, Some(7)), None);
        assert_eq!(difference_of_walk(8, Some(7)), Some(Difference::OtherActions));
        assert_eq!(difference_of_walk(6, Some(7)), Some(Difference::LargerWorld));
        assert_eq!(difference_of_walk(6, None), Some(Difference::LargerWorld));
    }

    #[test]
    fn each_length_has_its_reason() {
        let shortest = Shortest { actions: 7, here: 6..=8 };
        let why = |length, modelled| difference(false, length, modelled, Some(&shortest));
        assert_eq!(why(7, Some(7)), None);
        assert_eq!(why(8, Some(8)), Some(Difference::CountedOtherwise));
        assert_eq!(why(4, Some(8)), Some(Difference::OtherFaults));
        assert_eq!(why(4, None), Some(Difference::TooRare));
        assert_eq!(why(9, Some(9)), Some(Difference::Unexplained));
        assert_eq!(why(4, Some(9)), Some(Difference::Unexplained));
        assert_eq!(difference(false, 4, Some(4), None), Some(Difference::NotInTheModel));
        assert_eq!(difference(true, 7, Some(7), Some(&shortest)), Some(Difference::BrokenPlatform));
    }
}
