//! The settled questions, each as short flows with the verdicts that the specification's text demands.

mod acts;
mod attempts;
mod found;
mod leases;
mod objects;
mod retries;
mod undos;

/// One question: a flow and what it must violate and must not.
pub(crate) struct Settled {
    /// The sentence that decides it.
    pub(crate) says: &'static str,
    /// Lines of `[object]`; what they leave out is as in [`BARE`].
    pub(crate) object: &'static str,
    /// Other tables.
    pub(crate) tables: &'static str,
    /// The steps, each as the inside of an inline table.
    pub(crate) steps: &'static [&'static str],
    /// Callers, crashes and faults.
    pub(crate) bounds: [u8; 3],
    pub(crate) violated: &'static [&'static str],
    pub(crate) holds: &'static [&'static str],
    pub(crate) does_not_apply: &'static [&'static str],
}

/// A promise of nothing but to be used once: what a question needs, it adds.
const BARE: [(&str, &str); 5] =
    [("approvers", "0"), ("expires", "false"), ("bound", "false"), ("owner", "false"), ("audited", "false")];

impl Settled {
    /// For `..` in a table.
    pub(crate) const BLANK: Self = Self {
        says: "",
        object: "",
        tables: "",
        steps: &[],
        bounds: [2, 0, 0],
        violated: &[],
        holds: &[],
        does_not_apply: &[],
    };

    /// The flow file.
    pub(crate) fn file(&self) -> String {
        let mut file = format!("about = \"{}\"\n\n[object]\n", self.says.replace('"', "'"));
        for (key, value) in BARE {
            let named = |line: &str| line.split('=').next().is_some_and(|name| name.trim() == key);
            if !self.object.lines().any(named) {
                file.push_str(&format!("{key} = {value}\n"));
            }
        }
        file.push_str(&format!("{}\n\n{}\n", self.object, self.tables));
        for step in self.steps {
            file.push_str("\n[[step]]\n");
            for key in keys_of(step) {
                file.push_str(&format!("{}\n", key.trim()));
            }
        }
        file
    }
}

/// The inside of an inline table, divided at its commas.
fn keys_of(table: &str) -> Vec<&str> {
    let (mut depth, mut from, mut keys) = (0, 0, Vec::new());
    for (at, character) in table.char_indices() {
        match character {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                keys.push(&table[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    keys.push(&table[from..]);
    keys
}

/// All questions.
pub(crate) fn all() -> impl Iterator<Item = &'static Settled> {
    [attempts::ALL, acts::ALL, found::ALL, leases::ALL, objects::ALL, retries::ALL, undos::ALL]
        .into_iter()
        .flatten()
}
