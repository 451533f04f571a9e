//! Every property has a page, and the example on the page violates the property.

use std::ops::ControlFlow;

use countersign_models::{
    explain::{Example, PAGES, Page},
    explorer::Limits,
    flows::Subject,
    model::{Bounds, Model},
    properties::{Method, Property},
    verdict::{Verdict, verify},
};

#[test]
fn every_property_has_one_page() {
    for property in Property::ALL {
        assert_eq!(PAGES.iter().filter(|page| page.property == *property).count(), 1, "{property}");
        let Page { why, fix, .. } = Page::of(*property);
        assert!(why.ends_with('.') && fix.ends_with(['.', ')']), "{property}");
    }
}

#[test]
fn every_example_violates_its_property() {
    for page in PAGES {
        let is_modelled = page.property.methods().contains(&Method::Model);
        let Some((_, file)) = page.example.file() else {
            assert!(!is_modelled, "{} needs a flow", page.property);
            match page.example {
                Example::Mutant(mutant) => assert_eq!(mutant.breaks(), page.property),
                Example::Words(words) => assert!(!words.is_empty()),
                other => panic!("{other:?} names no flow"),
            }
            continue;
        };
        let subject = Subject::read(file.as_bytes()).expect("a flow file");
        let bounds = if page.property == Property::L2 {
            Bounds { consumers: 2, ..Bounds::default() }
        } else {
            Bounds::default()
        };
        let model = Model::new(subject.flow, bounds);
        let report =
            verify(&model, &subject.expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
        let verdict = &report.of(page.property).verdict;
        assert!(matches!(verdict, Verdict::Violated(_)), "{}: {verdict:?}", page.property);
    }
}

#[test]
fn reports_are_those_of_the_property() {
    let reports: Vec<&str> = Page::of(Property::S12).cases().map(|case| case.reports[0]).collect();
    assert_eq!(reports, ["IdentityServer4#3996"]);
    assert!(Page::of(Property::S2).cases().count() > 5);
}
