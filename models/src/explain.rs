//! The page of each property: why it matters, an order that violates it, and how to fix that.
//!
//! The sentence is in [`properties`](crate::properties), the public reports are in [`CASES`].

use crate::{
    controls::CONTROLS,
    flows::{BuiltIn, CASES, Case},
    properties::Property,
    simulation::Mutant,
};

/// The page of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The property.
    pub property: Property,
    /// Why it matters.
    pub why: &'static str,
    /// The fix of an order that violates it.
    pub fix: &'static str,
    /// The counterexample.
    pub example: Example,
}

/// The counterexample of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    /// The built-in flow of this name.
    BuiltIn(&'static str),
    /// The control of this name.
    Control(&'static str),
    /// A flow file.
    File(&'static str),
    /// A platform that the simulator judges: `countersign simulate --mutant NAME`.
    Mutant(Mutant),
    /// A surface, in words.
    Words(&'static str),
}

impl Page {
    /// The page of `property`.
    pub fn of(property: Property) -> &'static Self {
        PAGES
            .iter()
            .find(|page| page.property == property)
            .unwrap_or_else(|| unreachable!("a test holds that {property} has a page"))
    }

    /// The public reports of its violation.
    pub fn cases(&self) -> impl Iterator<Item = &'static Case> {
        let id = self.property.id();
        CASES.iter().filter(move |case| case.violates.contains(&id))
    }
}

impl Example {
    /// Its name, where it has one, and its flow file; `None` where it is not a flow.
    pub fn file(self) -> Option<(Option<&'static str>, String)> {
        match self {
            Self::BuiltIn(name) => BuiltIn::find(name).map(|flow| (Some(name), flow.source.to_owned())),
            Self::Control(name) => {
                CONTROLS.iter().find(|one| one.name == name).map(|control| (None, control.file()))
            }
            Self::File(file) => Some((None, file.to_owned())),
            Self::Mutant(_) | Self::Words(_) => None,
        }
    }
}

/// A page for each property.
pub const PAGES: &[Page] = &[
    Page {
        property: Property::S1,
        why: "A mistyped password or an empty basket uses up the link or the coupon. Its owner has nothing, and has to \
              ask for another one.",
        fix: "Move every step that may refuse before the consume, or put it into the transaction of the consume. \
              `undo = true` gives the use back, but an undo may itself fail.",
        example: Example::BuiltIn("01-librechat-invite-buggy"),
    },
    Page {
        property: Property::S2,
        why: "A coupon is paid out twice, a job runs twice, a payment makes two orders.",
        fix: "Let the consume compare the status in the statement that writes, refuse when it changes no row, and put \
              the act into the same transaction. An act in another system needs a key that it deduplicates by.",
        example: Example::BuiltIn("04-vendure-coupon-buggy"),
    },
    Page {
        property: Property::S3,
        why: "A caller that lost the race is told that it won, or gets an error that looks like an outage and is \
              retried.",
        fix: "Let the consume compare the status, and answer 409 when it changes no row. Compare the status again \
              nowhere after it.",
        example: Example::BuiltIn("08-nocturne-refresh-buggy"),
    },
    Page {
        property: Property::S4,
        why: "The object is used before an approver said yes, or after an approver said no.",
        fix: "Let the consume compare `status`. A `validate` before it protects nothing: the status may change in \
              between.",
        example: Example::Control("unconditional update"),
    },
    Page {
        property: Property::S5,
        why: "A link or an approval is used after its deadline. Waiting in a queue between check and use is enough.",
        fix: "Let the consume compare `expiry`, by the clock of the store that executes the swap.",
        example: Example::BuiltIn("06-eliza-deadline-buggy"),
    },
    Page {
        property: Property::S6,
        why: "An approver said yes to one payload, and another one is deployed or paid.",
        fix: "Compare `digest` in the consume, and act on the digest that was compared: read no newer payload after it.",
        example: Example::Control("digest not compared"),
    },
    Page {
        property: Property::S7,
        why: "The caller is told that nothing happened, and something did: an order without a payment, a token in no \
              list.",
        fix: "Write and act in the transaction of the consume. What is outside of the database comes after it, or is \
              undone when a later step refuses.",
        example: Example::BuiltIn("16-gafaelfawr-token-buggy"),
    },
    Page {
        property: Property::S8,
        why: "An audit that misses a use, or counts one that did not happen, is worth nothing in an investigation.",
        fix: "Write the event in the transaction of the consume.",
        example: Example::Control("audit outside of the transaction"),
    },
    Page {
        property: Property::S9,
        why: "A rejected approval comes back to life, or a used code becomes usable again after a restart.",
        fix: "Let every write of the status compare the status that it expects, and keep it in a row.",
        example: Example::BuiltIn("20-hermes-memory-buggy"),
    },
    Page {
        property: Property::S10,
        why: "One approver rejects, another one approves, and both are told that their decision counts.",
        fix: "Let the approving swap compare `status` and `expiry`: the first decision wins, the second one gets a 409.",
        example: Example::File(
            "about = \"an approval that does not compare the status\"\n\
             [decision]\nguards = [\"expiry\"]\n\
             [[step]]\ndo = \"consume\"\nguards = [\"status\", \"expiry\", \"digest\"]\n",
        ),
    },
    Page {
        property: Property::S11,
        why: "Two stacks or two accounts exist where one was meant, and both cost money.",
        fix: "Create the target in one statement with a unique key instead of looking for it first, in the transaction \
              of the consume.",
        example: Example::Control("look for the target before creating it"),
    },
    Page {
        property: Property::S12,
        why: "Another tenant who knows or guesses an id uses the object up, or learns that it exists.",
        fix: "Compare `owner` in the first step, and answer 404.",
        example: Example::BuiltIn("02-identityserver-code-buggy"),
    },
    Page {
        property: Property::S13,
        why: "The answer got lost, the client asks again, and is told that it failed although it succeeded; or the \
              effect happens twice.",
        fix: "Store the outcome under the request's key in the transaction of the consume, and begin with a `recall`. \
              Without keys: let a retry recognise its own use (`accept_own = true`).",
        example: Example::BuiltIn("03-cert-manager-order-buggy"),
    },
    Page {
        property: Property::S14,
        why: "A worker was slow, its lease ran out, another worker took over, and now both act.",
        fix: "Give every lease a number that grows, and let the store refuse writes under an older one.",
        example: Example::Mutant(Mutant::Unfenced),
    },
    Page {
        property: Property::S15,
        why: "Mail scanners, link previews and browsers send GET requests that no person asked for.",
        fix: "Let the link open a page, and the button on that page send a POST.",
        example: Example::BuiltIn("05-activepieces-link-buggy"),
    },
    Page {
        property: Property::S16,
        why: "A token in a log or a list is a key for each reader of it.",
        fix: "Store a hash of the token, show the token once, and log the route's template instead of its path.",
        example: Example::Words(
            "An access log that holds the path of each request: `GET /decide/3q2-7w…` is the token of an approval link.",
        ),
    },
    Page {
        property: Property::S17,
        why: "The effect happened and the object is still usable: the next attempt causes it again.",
        fix: "Act in the transaction of the consume, or write a job for the act there. An act after it may be lost (L1).",
        example: Example::BuiltIn("11-medusa-payment-buggy"),
    },
    Page {
        property: Property::S18,
        why: "Two presses of one person pass for two people, and no second person has looked.",
        fix: "Count people, not presses: a unique row for each approver and object, compared in the approving swap \
              (`guards = [\"status\", \"expiry\", \"distinct\"]`).",
        example: Example::BuiltIn("15-policy-bot-approvers-buggy"),
    },
    Page {
        property: Property::S19,
        why: "A requester who approves their own request makes the second pair of eyes a formality.",
        fix: "Compare the approver with the requester in the approving swap (`not_requester`).",
        example: Example::Control("a requester who approves"),
    },
    Page {
        property: Property::S20,
        why: "A revoked link or token is used by a request that was already under way.",
        fix: "Let the consume compare `status`: a revoked object is not usable.",
        example: Example::Control("revocation not compared again"),
    },
    Page {
        property: Property::S21,
        why: "A challenge that survives a wrong answer can be guessed: every attempt is free.",
        fix: "Use the challenge up first, then compare the answer.",
        example: Example::BuiltIn("07-keycloak-challenge-buggy"),
    },
    Page {
        property: Property::S22,
        why: "A plan was approved for the target as it was. Another deploy changed the target, and the plan is applied \
              all the same.",
        fix: "Remember the target's version at the approval, and compare it in the swap (`target`).",
        example: Example::Control("a plan that is stale"),
    },
    Page {
        property: Property::S23,
        why: "Two deploys run for one target, and the slower one wins: the older version is live, and the target says \
              that the newer one is.",
        fix: "Hand out a target's jobs in the order of use, each when the earlier one's deploy has ended, and let the \
              target refuse a fence smaller than the largest it has seen.",
        example: Example::Mutant(Mutant::DoneWhenLaunched),
    },
    Page {
        property: Property::L1,
        why: "The coupon is gone and nothing was paid out. No attempt can do it any more: the coupon is used.",
        fix: "Put the act into the transaction of the consume: as a row, or as a job in an outbox that a worker runs \
              until it is done.",
        example: Example::BuiltIn("09-postel-webhook-buggy"),
    },
    Page {
        property: Property::L2,
        why: "A target is shown as building for ever, and blocks the next deploy.",
        fix: "Write the target in the transaction that writes the job, so that a deploy exists for each target that is \
              building.",
        example: Example::Control("launch that dies with its process"),
    },
    Page {
        property: Property::L3,
        why: "The caller mends what was refused, tries again, and is refused for good.",
        fix: "Let nothing change before the last step that may refuse: consume, write and act after the preflight.",
        example: Example::BuiltIn("09-postel-webhook-buggy"),
    },
    Page {
        property: Property::L4,
        why: "The object is still usable, and no attempt gets through: a dead caller's lease or marker is in the way, \
              or a step refuses what an earlier step did.",
        fix: "Let leases and markers expire. Compare nothing after the consume that the consume changes.",
        example: Example::Control("second look at what it has consumed itself"),
    },
];
