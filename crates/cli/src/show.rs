//! `countersign show`: one counterexample as a sequence diagram.

use countersign_models::verdict::Verdict;
use owo_colors::OwoColorize;

use crate::{
    any_number,
    args::{DiagramFormat, ShowArgs},
    diagram::{Diagram, mermaid, terminal},
    judge::{judge, pool},
    report,
    wrap::wrap,
};
use countersign_terminal::{BadInput, Exit, input, interrupt, print_data, print_error, print_line};

/// The mistake of a property that was named first.
fn swapped(args: &ShowArgs) -> Option<BadInput> {
    let ShowArgs { flow, property, .. } = args;
    input::property(flow).ok()?;
    let title = format!("found the property `{flow}`, expected a flow");
    Some(BadInput::plain(&title, &format!("the flow comes first: `countersign show {property} {flow}`")))
}

pub(crate) fn run(args: &ShowArgs) -> Result<Exit, BadInput> {
    let named = input::flow(&args.flow).map_err(|bad| swapped(args).unwrap_or(bad))?;
    let property = input::modelled_property(&args.property)?;
    let pool = pool(args.run.threads)?;
    interrupt::catch();
    let judged = judge(named, &args.bounds, &args.run, &pool)?;
    let judgement = judged.report.of(property);
    let within = report::bounds(&judged);
    let title = format!("{}: {} {}", judged.name, property.id(), property.name());
    let exit = match (&judgement.verdict, judgement.expected) {
        (Verdict::Unknown, _) if interrupt::happened() => Exit::Interrupted,
        (Verdict::Unknown, _) => Exit::CutOff,
        (_, true) => Exit::Expected,
        (_, false) => Exit::Unexpected,
    };
    match &judgement.verdict {
        Verdict::Violated(run) => {
            let [tail, cycle] = run.aftermath(&judged.model);
            let stays = property.is_inevitable() && cycle.is_empty();
            let violates = !property.is_inevitable();
            let diagram = Diagram { title, events: run.events(&judged.model), tail, cycle, stays, violates };
            match args.format {
                DiagramFormat::Mermaid => print_data!("{}", mermaid::render(&diagram).trim_end()),
                DiagramFormat::Human => {
                    print_line!("{}\n{}\n", diagram.title.bold(), property.sentence().dimmed());
                    print_line!("{}\n", wrap(&judged.model.reason(property, run), report::WIDE, 0));
                    print_line!("{}", terminal::render(&diagram).trim_end());
                    print_line!(
                        "\nNo counterexample within {within} has fewer faults and crashes, or as few and fewer steps."
                    );
                }
            }
        }
        Verdict::Holds
            if judgement.exercised && any_number::is_proved(&judged.model, property, args.run.time) =>
        {
            print_error!(
                "{title} is proved for any number of callers, crashes and faults: there is nothing to show"
            );
        }
        Verdict::Holds => {
            let untested = if judgement.exercised { "" } else { ", vacuously" };
            print_error!("{title} holds within {within}{untested}: there is nothing to show");
        }
        Verdict::DoesNotApply => {
            print_error!("{title} does not apply to this flow: its `[object]` does not promise it");
        }
        Verdict::Unknown => {
            let because = judged.report.cut_off.map_or("", report::because);
            print_error!("{title} is unknown within {within}: {because}");
        }
    }
    Ok(exit)
}
