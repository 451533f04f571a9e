//! Questions that random flows have raised: the two sides had answered them differently.

use super::Settled;

const CONSUME: &str = r#"do = "consume", guards = ["status"]"#;
const KEYLESS: &str = "[endpoint]\nretry = \"keyless\"";
const KEY: &str = "[endpoint]\nretry = \"key\"";

pub(super) const ALL: &[Settled] = &[
    Settled {
        says: "a live holder's lease that does not expire: not judged, though the holder does not know of it",
        steps: &[r#"do = "lease", expires = false, on_error = "continue""#, CONSUME],
        bounds: [1, 0, 1],
        holds: &["L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a dead holder's lease that does not expire: violated",
        steps: &[r#"do = "lease", expires = false, on_error = "continue""#, CONSUME],
        bounds: [1, 1, 0],
        violated: &["L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "the fresh attempt is a new caller's: its use is a new one, and so is its key",
        object: "uses = 3",
        steps: &[
            r#"do = "check""#,
            r#"name = "commit", atomic = [{ do = "consume", guards = ["status"] }, { do = "act", via = "row", unique = true }]"#,
        ],
        bounds: [1, 0, 0],
        holds: &["S2", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "zero rows that are ignored: nothing is applied whose answer could be lost",
        object: "target_bound = true",
        tables: KEY,
        steps: &[
            r#"do = "recall", claim = true, claim_expires = false"#,
            r#"do = "consume", guards = ["target"], on_conflict = "continue""#,
            r#"do = "remember""#,
        ],
        bounds: [1, 0, 1],
        holds: &["L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a stored outcome of the attempt's own repeats no earlier one",
        tables: KEY,
        steps: &[r#"do = "remember""#, r#"do = "recall""#, CONSUME],
        bounds: [1, 0, 0],
        holds: &["S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "store = memory: a retry does not recognise a use that a crash has erased",
        tables: KEYLESS,
        steps: &[r#"do = "consume", guards = ["status"], accept_own = true, store = "memory""#],
        bounds: [1, 1, 0],
        violated: &["S2", "S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "read-then-write: the status that follows overwrites a revocation",
        object: "uses = 2\nrevocable = true",
        steps: &[r#"do = "consume", guards = ["status"], how = "read-then-write""#],
        bounds: [1, 0, 0],
        violated: &["S9", "S20"],
        ..Settled::BLANK
    },
    Settled {
        says: "burn: L1 is owed for every use of an attempt that succeeded",
        object: "uses = 2\nfailed_attempt = \"burn\"",
        steps: &[
            r#"name = "commit", on_error = "retry", atomic = [{ do = "consume", guards = ["status"] }, { do = "act", via = "outbox" }]"#,
        ],
        bounds: [1, 0, 1],
        violated: &["L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "burn: L1 is not owed for an attempt that succeeded without a use",
        object: "failed_attempt = \"burn\"",
        steps: &[
            r#"name = "commit", on_error = "continue", atomic = [{ do = "consume", guards = ["status"] }, { do = "act", via = "outbox" }]"#,
        ],
        bounds: [1, 0, 1],
        holds: &["L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "burn: a success that repeats a stored outcome is owed its act",
        object: "failed_attempt = \"burn\"",
        tables: KEY,
        steps: &[
            r#"do = "recall""#,
            r#"name = "commit", atomic = [{ do = "consume", guards = [] }, { do = "remember" }]"#,
            r#"do = "act", via = "memory""#,
        ],
        bounds: [1, 1, 0],
        violated: &["L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "via = answer: a stored outcome carries the acts of the steps before it",
        tables: KEY,
        steps: &[
            r#"do = "recall""#,
            r#"do = "remember""#,
            r#"do = "consume", guards = []"#,
            r#"do = "act", via = "answer""#,
        ],
        bounds: [1, 0, 0],
        holds: &["S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "groups: an act before the consume is keyed by the use that it accepts",
        object: "uses = 2",
        tables: KEYLESS,
        steps: &[
            r#"name = "commit", atomic = [{ do = "act", via = "row", unique = true }, { do = "consume", guards = ["status"], accept_own = true }]"#,
        ],
        bounds: [1, 0, 0],
        violated: &["S13"],
        holds: &["S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "reentrant: both attempts of the caller hold the lease, and neither is overtaken",
        tables: KEYLESS,
        steps: &[
            r#"do = "lease", expires = false, reentrant = true"#,
            r#"do = "consume", guards = ["lease"]"#,
        ],
        bounds: [1, 0, 0],
        violated: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a lease keeps the keys of the step that took it",
        steps: &[r#"do = "lease", expires = false"#, r#"do = "lease", renewed = true"#, CONSUME],
        bounds: [1, 0, 0],
        violated: &["S3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "S20 is about every revocation, also one that a press has overwritten",
        object: "approvers = 1\nrevocable = true",
        tables: "[decision]\nguards = []",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        violated: &["S9", "S20"],
        ..Settled::BLANK
    },
    Settled {
        says: "L3: an attempt that used it twice is no other attempt",
        object: "uses = 2",
        steps: &[
            r#"name = "commit", on_error = "retry", atomic = [{ do = "consume", guards = ["status"] }]"#,
            r#"do = "check", refusals = ["412 not_now"]"#,
        ],
        bounds: [1, 0, 1],
        violated: &["L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "S10: approving what a consume has set back to pending is no second decision, rejecting it is",
        object: "approvers = 1\nuses = 2",
        steps: &[r#"do = "consume", guards = [], how = "read-then-write""#],
        bounds: [1, 0, 0],
        violated: &["S10"],
        ..Settled::BLANK
    },
    Settled {
        says: "until is that of the step that took the lease: another step's does not release it",
        steps: &[
            r#"do = "lease", expires = false, on_error = "continue", until = "look""#,
            r#"do = "lease", on_held = "refuse", expires = false"#,
            r#"do = "check", name = "look""#,
            r#"do = "act", name = "payout", via = "row""#,
            r#"do = "consume", guards = ["lease"]"#,
        ],
        bounds: [2, 0, 1],
        holds: &["S7"],
        ..Settled::BLANK
    },
    Settled {
        says: "via = answer: a repeated outcome has the payload that was stored",
        object: "bound = true",
        tables: KEY,
        steps: &[
            r#"do = "check""#,
            r#"do = "act", name = "secret", via = "answer""#,
            r#"do = "recall""#,
            r#"name = "commit", atomic = [{ do = "consume", guards = ["digest"] }, { do = "remember" }]"#,
        ],
        bounds: [1, 0, 0],
        holds: &["S6"],
        ..Settled::BLANK
    },
];
