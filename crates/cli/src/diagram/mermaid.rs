//! The diagram in mermaid's language, for a page.

use std::fmt::Write;

use countersign_models::model::{Actor, NarratedEvent};

use super::Diagram;

/// The diagram's text.
pub(crate) fn render(diagram: &Diagram) -> String {
    let mut out = format!("---\ntitle: \"{}\"\n---\nsequenceDiagram\n    autonumber\n", diagram.title);
    let actors = diagram.actors();
    for actor in &actors {
        let kind = match actor {
            Actor::Operator | Actor::Administrator => "actor",
            _ => "participant",
        };
        let _ = writeln!(out, "    {kind} {} as {actor}", id(*actor));
    }
    for (heading, scene) in diagram.acts() {
        if let Some(heading) = heading {
            let _ = writeln!(out, "    Note over {}: {heading}", participants(&actors));
        }
        write_scene(&mut out, scene, &actors);
    }
    if diagram.stays {
        let _ = writeln!(
            out,
            "    Note over {}: and so it stays, no move that is owed changes it",
            participants(&actors)
        );
    }
    out
}

fn write_scene(out: &mut String, scene: &NarratedEvent, actors: &[Actor]) {
    // A semicolon ends a statement, and a hash begins an entity.
    let text = |text: &str| text.replace([';', '#'], ",");
    let does = text(&scene.does);
    if scene.from == Actor::World {
        let _ = writeln!(out, "    Note over {}: {does}", participants(actors));
        return;
    }
    let (from, to) = (id(scene.from), id(scene.to));
    match &scene.result {
        None => {
            let _ = writeln!(out, "    {from}->>{to}: {does}");
        }
        Some(result) if scene.from == scene.to => {
            let _ = writeln!(out, "    {from}->>{to}: {does}: {}", text(result));
        }
        Some(result) => {
            let answer = if scene.is_fault { "--x" } else { "-->>" };
            let _ = writeln!(out, "    {from}->>{to}: {does}\n    {to}{answer}{from}: {}", text(result));
        }
    }
}

fn participants(actors: &[Actor]) -> String {
    match actors {
        [] => String::new(),
        [one] => id(*one),
        [first, .., last] => format!("{},{}", id(*first), id(*last)),
    }
}

fn id(actor: Actor) -> String {
    match actor {
        Actor::Operator => "operator".to_owned(),
        Actor::Administrator => "administrator".to_owned(),
        Actor::Consumer { index, .. } => format!("consumer{}", index + 1),
        Actor::OtherTenant => "stranger".to_owned(),
        Actor::Scanner => "scanner".to_owned(),
        Actor::Source => "source".to_owned(),
        Actor::Store => "store".to_owned(),
        Actor::Target => "target".to_owned(),
        Actor::OtherSystem => "other".to_owned(),
        Actor::Worker { index: 0 } => "worker".to_owned(),
        Actor::Worker { index } => format!("worker{}", index + 1),
        Actor::World => "world".to_owned(),
    }
}
