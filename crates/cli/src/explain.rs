//! `countersign explain`: the page of a property.

use std::ops::ControlFlow;

use countersign_models::{
    explain::{Example, Page},
    explorer::Limits,
    flows::Subject,
    model::{Bounds, Model},
    properties::{Method, Property},
    verdict::{Verdict, verify},
};
use owo_colors::OwoColorize;

use crate::{
    args::ExplainArgs,
    report,
    wrap::{WIDTH, wrap},
};
use countersign_terminal::{BadInput, Exit, input, print_line};

pub(crate) fn run(args: &ExplainArgs) -> Result<Exit, BadInput> {
    match &args.property {
        Some(text) => page(input::property(text)?),
        None => list(),
    }
    Ok(Exit::Expected)
}

fn list() {
    for property in Property::numbered() {
        print_line!("{:>3} {}", property.id().bold(), property.name());
        print_line!("    {}", wrap(property.sentence(), WIDTH, 4));
    }
}

fn paragraph(title: &str, text: &str) {
    print_line!("\n{}", title.bold());
    print_line!("  {}", wrap(text, WIDTH, 2));
}

fn page(property: Property) {
    let page = Page::of(property);
    print_line!("{} {}", property.id().bold(), property.name().bold());
    print_line!("{}", wrap(property.sentence(), WIDTH, 0));
    paragraph("Why it matters", page.why);
    example(property, page.example);
    reports(page);
    paragraph("How to fix it", page.fix);
    let judges: Vec<&str> = property.methods().iter().map(|method| judge(*method)).collect();
    paragraph("Judged by", &judges.join(", "));
}

fn judge(method: Method) -> &'static str {
    match method {
        Method::Model => "`countersign verify`",
        Method::Simulator => "`countersign simulate`",
        Method::Surface => "tests of the gate's pages, mails and logs",
        Method::Attack => "`countersign attack`",
    }
}

/// The counterexample of a property, and its shortest run.
fn example(property: Property, example: Example) {
    match example {
        Example::Words(words) => return paragraph("Counterexample", words),
        Example::Mutant(mutant) => {
            let words = format!("`countersign simulate --mutant {}` finds a run", mutant.name());
            return paragraph("Counterexample", &words);
        }
        Example::BuiltIn(_) | Example::Control(_) | Example::File(_) => {}
    }
    let Some((name, file)) = example.file() else { return };
    let Ok(Subject { about, flow, expectations, .. }) = Subject::read(file.as_bytes()) else { return };
    let steps: Vec<String> = flow.steps().iter().map(|step| format!("`{step}`")).collect();
    let what = match (name, about) {
        (Some(name), Some(about)) => format!("{name}: {about}"),
        (_, about) => about.unwrap_or_else(|| "a flow of these steps".to_owned()),
    };
    paragraph("A flow that violates it", &what);
    print_line!("  {}", wrap(&format!("steps: {}", steps.join(", ")), WIDTH, 2));
    // Two callers are enough for most, and the shortest run is the same.
    for consumers in [2, Bounds::default().consumers] {
        let model = Model::new(flow.clone(), Bounds { consumers, ..Bounds::default() });
        let found = verify(&model, &expectations, Limits::default(), &mut |_| ControlFlow::Continue(()));
        if let Verdict::Violated(run) = &found.of(property).verdict {
            print_line!("\n{}", "Shortest run".bold());
            let mut number = 0;
            for (heading, events) in report::parts(&model, property.is_inevitable(), run) {
                if let Some(heading) = heading {
                    print_line!("     {}", heading.dimmed());
                }
                for scene in events {
                    number += 1;
                    print_line!("  {number:>2} {}", wrap(&scene.to_string(), WIDTH, 5));
                }
            }
            print_line!("     {}", wrap(&model.reason(property, run), WIDTH, 5).bold());
            if let Some(name) = name {
                print_line!("  {}", format!("`countersign show {name} {property}` draws it").dimmed());
            }
            return;
        }
    }
}

fn reports(page: &Page) {
    let mut cases = page.cases().peekable();
    if cases.peek().is_none() {
        return;
    }
    print_line!("\n{}", "Public reports".bold());
    for case in cases {
        print_line!("  {}", wrap(&format!("{}: {}", case.title, case.reports.join(", ")), WIDTH, 4));
    }
}
