//! A database run's document, as the report looks at it: by store, by scenario, by contender.

use crate::document::{Document, Kind, Run, Scenario};

/// One store's part of a document.
pub(crate) struct View<'a> {
    pub(crate) store: &'a str,
    runs: Vec<&'a Run>,
}

impl<'a> View<'a> {
    /// Each store's, in the order in which they were measured.
    pub(crate) fn all(document: &'a Document) -> Vec<Self> {
        let mut views: Vec<Self> = Vec::new();
        for run in &document.runs {
            match views.iter_mut().find(|view| view.store == run.store) {
                Some(view) => view.runs.push(run),
                None => views.push(Self { store: &run.store, runs: vec![run] }),
            }
        }
        views
    }

    pub(crate) fn runs(&self) -> &[&'a Run] {
        &self.runs
    }

    /// Every contender that was measured, the strategies first.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for kind in [Kind::Strategy, Kind::Baseline, Kind::Wrong] {
            for run in self.runs.iter().filter(|run| run.kind == kind) {
                let name = run.name();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// The numbers of clients, smallest first.
    pub(crate) fn clients(&self, scenario: Scenario) -> Vec<usize> {
        let mut clients: Vec<usize> = self.of(scenario).map(|run| run.clients).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    pub(crate) fn of(&self, scenario: Scenario) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().copied().filter(move |run| run.scenario == scenario)
    }

    pub(crate) fn run(&self, name: &str, scenario: Scenario, clients: usize) -> Option<&'a Run> {
        self.of(scenario).find(|run| run.clients == clients && run.name() == name)
    }

    /// The runs with the scenario's largest number of clients.
    pub(crate) fn crowded(&self, scenario: Scenario) -> (usize, Vec<&'a Run>) {
        let most = self.clients(scenario).last().copied().unwrap_or(0);
        (most, self.of(scenario).filter(|run| run.clients == most).collect())
    }
}
