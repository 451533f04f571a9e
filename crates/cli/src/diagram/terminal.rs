//! The diagram in box characters: a column for each who takes part, an arrow for each action.

use std::fmt::Write;

use countersign_models::model::{Actor, NarratedEvent};
use owo_colors::OwoColorize;

use super::Diagram;

/// Room for the number of the action.
const MARGIN: usize = 5;
const NARROWEST: usize = 14;

/// The drawing, one action in two lines.
pub(crate) fn render(diagram: &Diagram) -> String {
    let actors = diagram.actors();
    let columns = Columns::of(&actors);
    let mut out = String::new();
    let mut header = columns.blank(' ');
    for (actor, at) in actors.iter().zip(&columns.at) {
        let name = title(*actor);
        put(&mut header, at.saturating_sub(name.chars().count() / 2), &name);
    }
    let _ = writeln!(out, "{}", text(&header).bold());
    for (number, (heading, scene)) in diagram.acts().enumerate() {
        if let Some(heading) = heading {
            let _ = writeln!(out, "{}", columns.across(heading).dimmed());
        }
        let violates = diagram.violates && number + 1 == diagram.events.len();
        draw(&mut out, &columns, &actors, number + 1, scene, violates);
    }
    let _ = writeln!(out, "{}", text(&columns.lifelines()));
    if diagram.stays {
        let _ =
            writeln!(out, "{}", columns.across("and so it stays: no move that is owed changes it").dimmed());
    }
    if actors.iter().any(|actor| matches!(actor, Actor::Consumer { foreign: true, .. })) {
        let _ = writeln!(out, "* asks for another payload than the approved one");
    }
    out
}

/// Positions of the lifelines.
struct Columns {
    at: Vec<usize>,
    width: usize,
}

impl Columns {
    fn of(actors: &[Actor]) -> Self {
        let mut at = Vec::new();
        let mut edge = MARGIN;
        for actor in actors {
            let width = NARROWEST.max(title(*actor).chars().count() + 3);
            at.push(edge + width / 2);
            edge += width;
        }
        Self { at, width: edge }
    }

    fn blank(&self, fill: char) -> Vec<char> {
        vec![fill; self.width]
    }

    fn lifelines(&self) -> Vec<char> {
        let mut line = self.blank(' ');
        self.at.iter().for_each(|&at| line[at] = '│');
        line
    }

    /// Words across all columns.
    fn across(&self, words: &str) -> String {
        let mut line = self.blank(' ');
        line[MARGIN..].fill('┄');
        put(&mut line, MARGIN + 3, &format!(" {words} "));
        text(&line)
    }
}

fn draw(
    out: &mut String,
    columns: &Columns,
    actors: &[Actor],
    number: usize,
    scene: &NarratedEvent,
    violates: bool,
) {
    let label = match &scene.result {
        Some(result) => format!("{}: {result}", scene.does),
        None => scene.does.clone(),
    };
    let place = |actor| actors.iter().position(|other| *other == actor).map(|index| columns.at[index]);
    let number = if violates { format!("✗{number:>2}") } else { format!("{number:>3}") };
    let (Some(from), Some(to)) = (place(scene.from), place(scene.to)) else {
        let line = columns.across(&label);
        let line = format!("{number}{}", line.chars().skip(number.chars().count()).collect::<String>());
        let _ = writeln!(out, "{}", line.yellow());
        return;
    };
    let mut words = columns.lifelines();
    put(&mut words, 0, &number);
    put(&mut words, from.min(to) + 2, &label);
    let mut arrow = columns.lifelines();
    if from == to {
        put(&mut words, from, "●");
    } else {
        let (left, right) = (from.min(to), from.max(to));
        arrow[left + 1..right].fill('─');
        if from < to {
            arrow[from] = '├';
            arrow[right - 1] = '▶';
        } else {
            arrow[from] = '┤';
            arrow[left + 1] = '◀';
        }
    }
    let (words, arrow) = (text(&words), text(&arrow));
    let is_refusal = scene.result.as_deref().is_some_and(|result| result.starts_with(['4', '5']));
    let _ = match (scene.is_fault, is_refusal) {
        _ if violates => writeln!(out, "{}", words.red().bold()),
        (true, _) => writeln!(out, "{}", words.yellow()),
        (false, true) => writeln!(out, "{}", words.red()),
        (false, false) => writeln!(out, "{words}"),
    };
    if from != to {
        let _ = writeln!(out, "{arrow}");
    }
}

/// Short enough for a column.
fn title(actor: Actor) -> String {
    match actor {
        Actor::Consumer { index, foreign: true } => format!("caller {}*", index + 1),
        _ => actor.to_string(),
    }
}

/// Overwrites the text at this column, and extends it if necessary.
fn put(line: &mut Vec<char>, at: usize, words: &str) {
    for (index, character) in words.chars().enumerate() {
        match line.get_mut(at + index) {
            Some(place) => *place = character,
            None => line.push(character),
        }
    }
}

fn text(line: &[char]) -> String {
    line.iter().collect::<String>().trim_end().to_owned()
}
