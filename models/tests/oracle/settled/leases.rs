//! The lease: how long it is held, who gets it, and what happens to its waiters.

use super::Settled;

const VALIDATE: &str = r#"do = "validate", name = "look", checks = ["status"]"#;
/// Trusts the lease.
const UPDATE: &str = r#"do = "consume", guards = []"#;
const CONSUME: &str = r#"do = "consume", guards = ["status"]"#;

pub(super) const ALL: &[Settled] = &[
    Settled {
        says: "expires: it may run out at any time",
        steps: &[r#"do = "lease""#, VALIDATE, UPDATE],
        violated: &["S2", "S3"],
        holds: &["L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "renewed: it runs out only after its holder's death",
        steps: &[r#"do = "lease", renewed = true"#, VALIDATE, UPDATE],
        bounds: [2, 1, 0],
        holds: &["S2", "S3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "until: released by the action that completes that step",
        steps: &[r#"do = "lease", renewed = true, until = "look""#, VALIDATE, UPDATE],
        violated: &["S2", "S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "default: released by the action that ends the attempt",
        steps: &[r#"do = "lease", expires = false"#, CONSUME],
        bounds: [3, 0, 0],
        holds: &["S2", "S3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "the lease guard refuses an attempt that was overtaken",
        steps: &[r#"do = "lease""#, VALIDATE, r#"do = "consume", guards = ["lease"]"#],
        bounds: [2, 1, 1],
        holds: &["S2", "S3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a dead holder's lease that does not expire: L4 is violated",
        steps: &[r#"do = "lease", expires = false"#, CONSUME],
        bounds: [1, 1, 0],
        violated: &["L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a live holder's lease that does not expire: L4 is not judged",
        steps: &[r#"do = "lease", expires = false"#, r#"do = "check""#, CONSUME],
        bounds: [1, 0, 0],
        holds: &["L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a lease whose answer was lost: its holder does not know of it, and nothing releases it",
        steps: &[r#"do = "lease", expires = false"#, CONSUME],
        bounds: [1, 0, 1],
        violated: &["L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "released by expiry only; renewed does not help",
        steps: &[r#"do = "lease", renewed = true"#, VALIDATE, UPDATE],
        bounds: [2, 0, 1],
        holds: &["S2", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a holder that does not know of its lease does not renew it",
        steps: &[r#"do = "lease", renewed = true, on_error = "continue""#, VALIDATE, UPDATE],
        bounds: [2, 0, 1],
        violated: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "on_held = refuse is a 409 for S3",
        steps: &[r#"do = "lease", on_held = "refuse""#, CONSUME],
        bounds: [3, 0, 0],
        holds: &["S3", "L4", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "S21: a refusal by a held lease leaves the object usable",
        object: "failed_attempt = \"burn\"",
        steps: &[r#"do = "lease", on_held = "refuse""#, CONSUME],
        violated: &["S21"],
        ..Settled::BLANK
    },
    Settled {
        says: "S13: a dead holder's lease that does not expire is no excuse",
        tables: "[endpoint]\nretry = \"keyless\"",
        steps: &[
            r#"do = "lease", expires = false, on_held = "refuse""#,
            r#"do = "consume", guards = ["status"], accept_own = true"#,
        ],
        bounds: [1, 1, 0],
        violated: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "reentrant: another attempt of the same caller gets it, too",
        tables: "[endpoint]\nretry = \"keyless\"",
        steps: &[
            r#"do = "lease", expires = false, reentrant = true, on_held = "refuse""#,
            r#"do = "consume", guards = ["status"], accept_own = true"#,
        ],
        bounds: [1, 1, 0],
        holds: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "S13: a lease whose holder lives is an excuse",
        tables: "[endpoint]\nretry = \"keyless\"",
        steps: &[
            r#"do = "lease", expires = false, on_held = "refuse""#,
            r#"do = "consume", guards = ["status"], accept_own = true"#,
        ],
        bounds: [2, 0, 0],
        holds: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "undo of a lease: released if it is still this attempt's",
        steps: &[
            r#"do = "lease", expires = false, undo = true"#,
            CONSUME,
            r#"do = "check", refusals = ["412 no"]"#,
        ],
        bounds: [2, 0, 0],
        violated: &["S1"],
        holds: &["L4"],
        ..Settled::BLANK
    },
];
