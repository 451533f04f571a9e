//! The undo of an attempt that ends in a refusal.

use super::Settled;

const REFUSES: &str = r#"do = "check", refusals = ["412 no"]"#;
const CONSUME: &str = r#"do = "consume", guards = ["status"], undo = true"#;

pub(super) const ALL: &[Settled] = &[
    Settled {
        says: "the change is undone before the answer",
        steps: &[CONSUME, REFUSES],
        bounds: [2, 1, 0],
        holds: &["S1", "S2", "S9", "L3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "an undo may fail; then the change stays",
        steps: &[CONSUME, REFUSES],
        bounds: [1, 0, 1],
        violated: &["S1", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "the failing step is not undone",
        steps: &[r#"do = "write", what = "vault", undo = true"#],
        bounds: [1, 0, 1],
        violated: &["S7"],
        ..Settled::BLANK
    },
    Settled {
        says: "nor is a step that was continued after an error",
        steps: &[r#"do = "write", what = "vault", undo = true, on_error = "continue""#, REFUSES],
        bounds: [1, 0, 1],
        violated: &["S7"],
        ..Settled::BLANK
    },
    Settled {
        says: "of a write: what it replaced",
        steps: &[r#"do = "write", what = "target", undo = true"#, REFUSES],
        bounds: [1, 1, 0],
        holds: &["S7", "S11"],
        ..Settled::BLANK
    },
    Settled {
        says: "of a write: if this attempt was the last to write it",
        steps: &[r#"do = "write", what = "target", undo = true"#, REFUSES],
        violated: &["S7"],
        holds: &["S11"],
        ..Settled::BLANK
    },
    Settled {
        says: "of a consume: only if it is still this attempt's use",
        steps: &[r#"do = "consume", guards = [], undo = true"#, REFUSES],
        violated: &["S1", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a releasing event in the same action if it had written its event",
        object: "audited = true",
        steps: &[CONSUME, r#"do = "audit""#, REFUSES],
        holds: &["S1", "S8"],
        ..Settled::BLANK
    },
    Settled {
        says: "the events of a use that is not given back stay",
        object: "audited = true",
        steps: &[r#"do = "audit""#, REFUSES, r#"do = "consume", guards = ["status"]"#],
        bounds: [1, 0, 0],
        violated: &["S8"],
        ..Settled::BLANK
    },
    Settled {
        says: "of a call: the effect is gone, and a later call under the same key acts anew",
        steps: &[CONSUME, r#"do = "act", name = "pay", via = "call", key = true, undo = true"#, REFUSES],
        holds: &["S1", "S2", "S7", "S17", "L1", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "in reverse order: the refund comes before the release",
        steps: &[CONSUME, r#"do = "act", name = "pay", via = "call", undo = true"#, REFUSES],
        bounds: [2, 0, 0],
        holds: &["S1", "S2", "S7", "S17", "L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "undo runs for unknown outcomes, too: what was given back may have been paid",
        steps: &[CONSUME, r#"do = "act", name = "pay", via = "call""#],
        bounds: [2, 0, 1],
        violated: &["S2"],
        holds: &["S1", "S7"],
        ..Settled::BLANK
    },
    Settled {
        says: "status after an undone use: approved, if the count is below uses",
        object: "uses = 2",
        steps: &[CONSUME, REFUSES],
        bounds: [3, 0, 0],
        holds: &["S1", "S2", "S9", "L3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "took effect: a use that is not undone",
        tables: "[endpoint]\nretry = \"keyless\"",
        steps: &[CONSUME, REFUSES],
        bounds: [1, 0, 0],
        // The retry begins between the use and its undo, and is refused.
        violated: &["S13"],
        holds: &["S1", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a crash before the undo leaves the change, and kills the attempt: that is no refusal",
        steps: &[CONSUME, r#"do = "write", what = "vault", undo = true"#, REFUSES],
        bounds: [1, 1, 0],
        holds: &["S1", "S7"],
        ..Settled::BLANK
    },
    Settled {
        says: "burn: a use that is given back is none",
        object: "failed_attempt = \"burn\"",
        steps: &[CONSUME, REFUSES],
        bounds: [1, 0, 0],
        violated: &["S21"],
        ..Settled::BLANK
    },
];
