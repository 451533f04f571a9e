//! A team's vault: the values that go by a key in an environment.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use crate::platform::Environment;

/// Keys and values of each environment. A sorted list: most vaults are small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vault {
    /// Sorted by environment and key, without duplicates.
    entries: Vec<VaultEntry>,
}

/// A value under a key in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultEntry {
    /// The environment.
    pub env: Environment,
    /// By which it goes.
    pub key: Arc<str>,
    /// The value.
    pub value: Arc<str>,
}

impl FromIterator<VaultEntry> for Vault {
    /// Later entries replace earlier ones with the same key.
    fn from_iter<I: IntoIterator<Item = VaultEntry>>(all: I) -> Self {
        let mut entries: Vec<VaultEntry> = all.into_iter().collect();
        entries.sort_by(VaultEntry::order);
        entries.dedup_by(|later, earlier| {
            let same = later.order(earlier).is_eq();
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self { entries }
    }
}

impl VaultEntry {
    fn order(&self, other: &Self) -> Ordering {
        (&self.env, &self.key).cmp(&(&other.env, &other.key))
    }
}

impl Vault {
    /// All of them, by environment and key.
    pub fn entries(&self) -> &[VaultEntry] {
        &self.entries
    }

    /// The value of this key.
    pub fn value(&self, env: &Environment, key: &str) -> Option<&Arc<str>> {
        let place = self.place(env, key).ok()?;
        Some(&self.entries[place].value)
    }

    /// Sets the value of the entry's key.
    pub fn put(&mut self, entry: VaultEntry) {
        match self.place(&entry.env, &entry.key) {
            Ok(place) => self.entries[place] = entry,
            Err(place) => self.entries.insert(place, entry),
        }
    }

    /// Copies what goes by a key in one environment and by none in another one, and adds these keys to `copied`. Nothing is
    /// overwritten.
    pub fn copy(&mut self, from: &Environment, to: &Environment, copied: &mut Vec<String>) {
        let (from, there) = (self.places(from), self.places(to));
        let before = self.entries.len();
        for place in from {
            let VaultEntry { key, value, .. } = &self.entries[place];
            if self.entries[there.clone()].binary_search_by_key(&key, |entry| &entry.key).is_err() {
                copied.push(key.as_ref().to_owned());
                let copy = VaultEntry { env: to.clone(), key: Arc::clone(key), value: Arc::clone(value) };
                self.entries.push(copy);
            }
        }
        if self.entries.len() > before {
            // Two that are sorted, one after the other: quick for a stable sort.
            self.entries.sort_by(VaultEntry::order);
        }
    }

    /// Index range of one environment's entries.
    fn places(&self, env: &Environment) -> Range<usize> {
        let begin = self.entries.partition_point(|entry| entry.env < *env);
        begin..begin + self.entries[begin..].partition_point(|entry| entry.env == *env)
    }

    /// Index of the entry, or the index at which to insert it.
    fn place(&self, env: &Environment, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.env.cmp(env).then_with(|| (*entry.key).cmp(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Environment {
        Environment::parse(name).expect("a legal name")
    }

    /// Builds a vault from environments, keys and values.
    fn vault(entries: &[(&str, &str, &str)]) -> Vault {
        let entry = |(name, key, value): &(&str, &str, &str)| VaultEntry {
            env: env(name),
            key: (*key).into(),
            value: (*value).into(),
        };
        let mut vault = Vault::default();
        entries.iter().map(entry).for_each(|entry| vault.put(entry));
        assert_eq!(vault, entries.iter().map(entry).collect(), "one by one or all at once");
        vault
    }

    #[test]
    fn one_key_of_one_environment_has_one_value() {
        let vault = vault(&[("b", "K", "1"), ("a", "K", "2"), ("b", "A", "3"), ("b", "K", "4")]);
        let value = |name, key| vault.value(&env(name), key).map(|value| &**value);
        assert_eq!(["K", "A"].map(|key| value("b", key)), [Some("4"), Some("3")]);
        assert_eq!(["K", "A"].map(|key| value("a", key)), [Some("2"), None]);
        assert!(vault.entries().is_sorted_by_key(|entry| (&entry.env, &entry.key)));
    }

    #[test]
    fn a_copy_brings_what_is_missing_and_overwrites_nothing() {
        let others = [("a", "X", "a"), ("z", "X", "z")];
        for (from, to) in [("m", "b"), ("b", "m")] {
            let mut entries = others.to_vec();
            entries.extend([
                (from, "A", "1"),
                (from, "B", "2"),
                (from, "C", "3"),
                (to, "B", "9"),
                (to, "D", "8"),
            ]);
            let mut copied = vec!["before".to_owned()];
            let mut changed = vault(&entries);
            changed.copy(&env(from), &env(to), &mut copied);
            assert_eq!(copied, ["before", "A", "C"]);
            entries.extend([(to, "A", "1"), (to, "C", "3")]);
            assert_eq!(changed, vault(&entries), "from {from} to {to}");
            changed.copy(&env(from), &env(to), &mut copied);
            assert_eq!((copied.len(), &changed), (3, &vault(&entries)), "there is nothing left to copy");
        }
    }
}
