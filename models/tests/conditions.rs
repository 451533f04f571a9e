//! When a property is judged at all: for each a flow that it does not apply to, one that it holds for because nothing
//! exercises it, and one that exercises it.
//!
//! S14, S16 and S23 are not among them: the model has neither slow workers, pages nor several approvals. That S14 and S23
//! are exercised is for the simulator's coverage to say, and S16 is for the gate's tests.

use std::ops::ControlFlow;

use countersign_models::{
    explorer::Limits,
    flows::Subject,
    model::{Bounds, Model},
    properties::Property,
    verdict::{Expectations, Judgement, Verdict, verify},
};

/// The flows of one property. Without crashes and faults, with as many callers as the number says.
struct Conditions {
    property: Property,
    /// None for what applies to every flow.
    does_not_apply: Option<&'static str>,
    /// None where every flow that it applies to exercises it.
    vacuous: Option<(u8, &'static str)>,
    exercised: (u8, &'static str),
}

/// `#BARE` promises nothing but to be used once; the other words in capitals are steps.
const WORDS: [(&str, &str); 7] = [
    ("#BARE", "[object]\napprovers = 0\nexpires = false\nbound = false\nowner = false\naudited = false\n"),
    ("#USE", "[[step]]\ndo = \"consume\"\nguards = [\"status\"]\n"),
    ("#OVERWRITE", "[[step]]\ndo = \"consume\"\nguards = []\n"),
    ("#CHECK", "[[step]]\ndo = \"check\"\nrefusals = [\"412 not_now\"]\n"),
    ("#ROW", "[[step]]\nname = \"payout\"\ndo = \"act\"\nvia = \"row\"\n"),
    ("#TARGET", "[[step]]\ndo = \"write\"\nwhat = \"target\"\n"),
    ("#LAUNCH", "[[step]]\nname = \"launch\"\ndo = \"act\"\nvia = \"outbox\"\n"),
];

const CONDITIONS: &[Conditions] = {
    use Property::*;
    macro_rules! conditions {
        ($($property:ident: $none:expr, $vacuous:expr, $exercised:expr;)+) => {
            &[$(Conditions {
                property: $property, does_not_apply: $none, vacuous: $vacuous, exercised: $exercised,
            }),+]
        };
    }
    conditions! {
        S1: Some("#BARE failed_attempt = \"burn\"\n#USE"), Some((1, "#BARE#OVERWRITE")), (1, "#BARE#CHECK#USE");
        S2: None, Some((1, "#BARE#USE")), (2, "#BARE#USE");
        S3: None, Some((1, "#BARE#USE")), (2, "#BARE#USE");
        S4: Some("#BARE#USE"), Some((1, "#ROW")), (1, "#USE");
        S5: Some("#BARE#USE"), Some((1, "#ROW")), (1, "#USE");
        S6: Some("#BARE#USE"), Some((2, "#USE")), (2, "#USE#ROW");
        S7: Some("#BARE#USE"), Some((1, "#BARE#ROW#OVERWRITE")), (2, "#BARE#ROW#USE");
        S8: Some("#BARE#USE"), Some((1, "#ROW")), (1, "#USE");
        S9: Some("#BARE#ROW"), Some((1, "#BARE#USE")), (2, "#BARE#USE");
        // An approver can decide under any steps.
        S10: Some("#BARE#USE"), None, (1, "#USE");
        S11: Some("#BARE#USE"), Some((1, "#BARE#CHECK#TARGET#USE")), (2, "#BARE#CHECK#TARGET#USE");
        // A stranger can ask.
        S12: Some("#BARE#USE"), None, (1, "#USE");
        // A client can ask again.
        S13: Some("#BARE#USE"), None, (1, "#BARE[endpoint]\nretry = \"key\"\n#USE");
        // A scanner can follow the link.
        S15: Some("#BARE#USE"), None, (1, "#BARE[endpoint]\nmethod = \"GET\"\n#USE");
        // An act that a flow has can take effect.
        S17: Some("#BARE#USE"), None, (1, "#BARE#USE#ROW");
        S18: Some("#BARE#USE"), None, (1, "#USE");
        S19: Some("#USE"), None, (1, "[object]\nseparate = true\n#USE");
        // An administrator can revoke.
        S20: Some("#USE"), None, (1, "[object]\nrevocable = true\n#USE");
        S21: Some("#BARE#USE"), Some((1, "#BARE failed_attempt = \"burn\"\n#OVERWRITE")),
            (1, "#BARE failed_attempt = \"burn\"\n#CHECK#USE");
        // Another deploy can change the target.
        S22: Some("#USE"), None, (1, "[object]\ntarget_bound = true\n#USE");
        // The object can be used.
        L1: Some("#BARE#USE"), None, (1, "#BARE#USE#ROW");
        // The target can be written.
        L2: Some("#BARE#TARGET#USE"), None, (1, "#BARE#TARGET#USE#LAUNCH");
        L3: Some("#BARE#USE"), Some((1, "#BARE[[step]]\ndo = \"check\"\n#USE")), (1, "#BARE#CHECK#USE");
        L4: None, Some((1, "#BARE#USE")), (1, "#BARE#CHECK#USE");
    }
};

fn judged(property: Property, callers: u8, flow: &str) -> Judgement {
    let file = WORDS.iter().fold(flow.to_owned(), |file, (word, text)| file.replace(word, text));
    let subject = Subject::read(file.as_bytes()).unwrap_or_else(|problem| panic!("{problem} in\n{file}"));
    let model = Model::new(subject.flow, Bounds { consumers: callers, crashes: 0, faults: 0 });
    let expected = Expectations::default();
    let report = verify(&model, &expected, Limits::default(), &mut |_| ControlFlow::Continue(()));
    report.of(property).clone()
}

#[test]
fn each_property_of_the_model_has_its_conditions() {
    let listed: Vec<Property> = CONDITIONS.iter().map(|one| one.property).collect();
    assert_eq!(listed, Property::MODELLED);
    let others: Vec<Property> =
        Property::ALL.iter().copied().filter(|property| !Property::MODELLED.contains(property)).collect();
    assert_eq!(others, [Property::S14, Property::S16, Property::S23]);
}

#[test]
fn a_property_does_not_apply_where_nothing_is_promised_that_it_is_about() {
    for one in CONDITIONS {
        let Some(flow) = one.does_not_apply else { continue };
        assert_eq!(judged(one.property, 2, flow).verdict, Verdict::DoesNotApply, "{}", one.property);
    }
    let everywhere = CONDITIONS.iter().filter(|one| one.does_not_apply.is_none());
    let everywhere: Vec<Property> = everywhere.map(|one| one.property).collect();
    assert_eq!(everywhere, [Property::S2, Property::S3, Property::L4]);
}

#[test]
fn a_property_is_vacuous_where_nothing_could_have_violated_it() {
    for one in CONDITIONS {
        let Some((callers, flow)) = one.vacuous else { continue };
        let found = judged(one.property, callers, flow);
        assert_eq!((&found.verdict, found.exercised), (&Verdict::Holds, false), "{}", one.property);
    }
}

#[test]
fn a_property_is_exercised_where_something_could_have_violated_it() {
    for one in CONDITIONS {
        let (callers, flow) = one.exercised;
        let found = judged(one.property, callers, flow);
        assert!(found.verdict != Verdict::DoesNotApply && found.exercised, "{}", one.property);
    }
}
