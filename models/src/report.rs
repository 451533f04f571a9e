//! A report as text, and the assertion that a test makes of it.

use std::fmt;

use crate::verdict::{Judgement, Report, Verdict};

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.property.id(), self.property.name())?;
        match &self.verdict {
            Verdict::Holds if self.exercised => f.write_str("holds")?,
            Verdict::Holds => f.write_str("holds vacuously")?,
            Verdict::Violated(run) => write!(f, "violated after {} actions", run.actions.len())?,
            Verdict::DoesNotApply => f.write_str("does not apply")?,
            Verdict::Unknown => f.write_str("unknown")?,
        }
        if self.expected { Ok(()) } else { f.write_str(" (not expected)") }
    }
}

impl fmt::Display for Report {
    /// A line for each property, without the counterexamples: `Run::events` narrates them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crate::model::Bounds { consumers, crashes, faults } = self.bounds;
        write!(f, "{} states at callers = {consumers}, crashes = {crashes}, faults = {faults}", self.states)?;
        if self.cut_off.is_some() {
            f.write_str(", cut off")?;
        }
        self.judgements.iter().try_for_each(|judgement| write!(f, "\n  {judgement}"))
    }
}

impl Report {
    /// For tests: asserts that every verdict is the expected one.
    ///
    /// # Panics
    /// When one is not, with the report.
    #[track_caller]
    pub fn assert_expected(&self) {
        assert!(self.is_expected(), "not every verdict is expected: {self}");
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use crate::{
        explorer::Limits,
        flows::BuiltIn,
        model::{Bounds, Model},
        verdict::{Expectations, Report, verify},
    };

    fn report(expectations: &Expectations) -> Report {
        let flow = BuiltIn::find("06-eliza-deadline-buggy").expect("a built-in flow").subject().flow;
        let model = Model::new(flow, Bounds::default());
        verify(&model, expectations, Limits::default(), &mut |_| ControlFlow::Continue(()))
    }

    #[test]
    fn a_report_says_what_is_violated_and_whether_it_is_expected() {
        let expected =
            BuiltIn::find("06-eliza-deadline-buggy").expect("a built-in flow").subject().expectations;
        let report = report(&expected);
        report.assert_expected();
        assert!(report.to_string().contains("S5 no_use_after_expiry: violated after"), "{report}");
        assert!(!report.to_string().contains("not expected"), "{report}");
    }

    #[test]
    #[should_panic(expected = "(not expected)")]
    fn an_unexpected_verdict_fails_the_assertion() {
        report(&Expectations::default()).assert_expected();
    }
}
