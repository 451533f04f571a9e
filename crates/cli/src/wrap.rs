//! Text in lines of a given width, and Markdown as a terminal shows it.

/// The width of explanations.
pub(crate) const WIDTH: usize = 80;

/// Wraps `text` at `width`. Each line after the first begins with `indent` blanks; before the first one the caller prints
/// as much.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !out.is_empty() && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if !out.is_empty() {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// A page of Markdown within [`WIDTH`]: paragraphs are wrapped, and each row of a table becomes an entry of a list.
pub(crate) fn page(markdown: &str) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut header: Vec<String> = Vec::new();
    let mut is_code = false;
    for line in markdown.lines().chain([""]) {
        let is_row = line.starts_with('|') && !is_code;
        let continues = !is_code
            && !is_row
            && !line.is_empty()
            && !line.starts_with(['#', '<'])
            && !line.starts_with("```");
        if continues && !line.starts_with("- ") {
            paragraph.push(' ');
            paragraph.push_str(line);
            continue;
        }
        flush(&mut out, &mut paragraph);
        if !is_row {
            header.clear();
        }
        match line {
            _ if line.starts_with("```") => is_code = !is_code,
            _ if is_code => out.push_str(&format!("    {line}\n")),
            _ if line.starts_with("<!--") => {}
            _ if is_row => row(&mut out, &mut header, &cells(line)),
            _ if line.starts_with("- ") => paragraph.push_str(line),
            "" if out.ends_with("\n\n") => {}
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

fn flush(out: &mut String, paragraph: &mut String) {
    let text = paragraph.trim();
    if !text.is_empty() {
        let indent = if text.starts_with("- ") { 2 } else { 0 };
        out.push_str(&wrap(text, WIDTH, indent));
        out.push('\n');
    }
    paragraph.clear();
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The first row is the header; the second one is a rule.
fn row(out: &mut String, header: &mut Vec<String>, cells: &[String]) {
    if header.is_empty() {
        header.extend_from_slice(cells);
        return;
    }
    let [term, between @ .., meaning] = cells else { return };
    if term.starts_with("---") {
        return;
    }
    let named = between.iter().zip(&header[1..]).filter(|(cell, _)| !cell.is_empty()).map(|(cell, name)| {
        if name.is_empty() || name == "name" { cell.clone() } else { format!("{name}: {cell}") }
    });
    let term: Vec<String> = [term.clone()].into_iter().chain(named).collect();
    out.push_str(&format!("  {}\n", wrap(&term.join(" · "), WIDTH, 6)));
    out.push_str(&format!("      {}\n", wrap(meaning, WIDTH, 6)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_indented() {
        assert_eq!(wrap("one two three", 9, 2), "one two\n  three");
        assert_eq!(wrap("unbreakable", 3, 2), "unbreakable");
    }

    #[test]
    fn a_table_becomes_a_list() {
        let table =
            "| key | default | meaning |\n|---|---|---|\n| `a` | `1` | First. |\n| `b` |  | Second. |\n";
        let expected = "  `a` · default: `1`\n      First.\n  `b`\n      Second.\n";
        assert_eq!(page(table).trim_end(), expected.trim_end());
    }
}
