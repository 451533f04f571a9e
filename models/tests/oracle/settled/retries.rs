//! Retries: keys, markers, and uses that a caller recognises as its own.

use super::Settled;

const KEY: &str = "[endpoint]\nretry = \"key\"";
const KEYLESS: &str = "[endpoint]\nretry = \"keyless\"";
const COMMIT: &str = r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "remember" }]"#;

pub(super) const ALL: &[Settled] = &[
    Settled {
        says: "the outcome is stored with the use: the retry finds it",
        tables: KEY,
        steps: &[r#"do = "recall""#, COMMIT],
        bounds: [2, 1, 1],
        holds: &["S1", "S2", "S3", "S13", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "without a key the retry meets its own use",
        tables: KEYLESS,
        steps: &[r#"do = "consume", guards = ["status"]"#],
        bounds: [1, 0, 0],
        violated: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "every caller may retry as soon as the first attempt has begun: S3 is about runs without retries",
        tables: KEYLESS,
        steps: &[r#"do = "consume", guards = []"#],
        bounds: [1, 0, 0],
        violated: &["S2", "S13"],
        holds: &["S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "accept_own: the retry recognises its own use, which counts once",
        tables: KEYLESS,
        steps: &[r#"do = "consume", guards = ["status"], accept_own = true"#],
        bounds: [2, 1, 1],
        holds: &["S2", "S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "accept_own: status and expiry count as met",
        object: "expires = true",
        tables: KEYLESS,
        steps: &[
            r#"do = "validate", checks = ["status", "expiry"], accept_own = true"#,
            r#"do = "consume", guards = ["status", "expiry"], accept_own = true"#,
        ],
        bounds: [1, 1, 1],
        holds: &["S2", "S5", "S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "accept_own: revoked does not count as met",
        object: "uses = 2\nrevocable = true",
        tables: KEYLESS,
        steps: &[r#"do = "consume", guards = ["status"], accept_own = true"#],
        bounds: [1, 0, 0],
        violated: &["S13"],
        holds: &["S2", "S20"],
        ..Settled::BLANK
    },
    Settled {
        says: "accept_own: another caller's use is not one's own",
        steps: &[r#"do = "consume", guards = ["status"], accept_own = true"#],
        bounds: [2, 0, 0],
        holds: &["S2", "S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "accept_own: audit writes no second event for the same use",
        object: "audited = true",
        tables: KEYLESS,
        steps: &[r#"do = "consume", guards = ["status"], accept_own = true"#, r#"do = "audit""#],
        bounds: [2, 0, 0],
        holds: &["S8", "S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "S13: no second effect",
        object: "uses = 2",
        tables: KEYLESS,
        steps: &[r#"do = "consume", guards = ["status"]"#],
        bounds: [1, 0, 0],
        violated: &["S13"],
        holds: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "S13: an attempt that was answered with a refusal owes its retry nothing",
        tables: KEYLESS,
        steps: &[r#"do = "check", refusals = ["412 no"]"#],
        bounds: [1, 0, 0],
        holds: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "S13: the retry's own refusals are no excuse",
        tables: KEYLESS,
        steps: &[
            r#"do = "check", refusals = ["412 no"]"#,
            r#"do = "consume", guards = ["status"], accept_own = true"#,
        ],
        bounds: [1, 0, 0],
        violated: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "the second half of L4: a marker that does not expire blocks the retry of a caller whose attempt died",
        tables: KEY,
        steps: &[r#"do = "recall", claim = true, claim_expires = false"#, COMMIT],
        bounds: [1, 1, 0],
        violated: &["L4"],
        holds: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "markers that expire have",
        tables: KEY,
        steps: &[r#"do = "recall", claim = true"#, COMMIT],
        bounds: [2, 1, 1],
        holds: &["L4", "S2", "S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "a marker goes when its attempt answers a refusal",
        tables: KEY,
        steps: &[
            r#"do = "recall", claim = true, claim_expires = false"#,
            r#"do = "check", refusals = ["412 no"]"#,
            COMMIT,
        ],
        bounds: [1, 0, 0],
        holds: &["L4", "L3", "S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "S13: the marker of an attempt that lives is an excuse",
        tables: KEY,
        steps: &[
            r#"do = "recall", claim = true, claim_expires = false"#,
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "remember""#,
        ],
        bounds: [1, 0, 0],
        holds: &["S13", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "S13: that of a dead one that does not expire is none",
        tables: KEY,
        steps: &[
            r#"do = "recall", claim = true, claim_expires = false"#,
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "remember""#,
        ],
        bounds: [1, 1, 0],
        violated: &["S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "an outcome that is dropped by a refusal is not found again",
        tables: KEY,
        steps: &[
            r#"do = "recall""#,
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "remember" }]"#,
            r#"do = "check", refusals = ["412 no"]"#,
        ],
        bounds: [1, 0, 0],
        violated: &["S1", "L3"],
        holds: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "answer: a repeated outcome is the same effect for the same caller",
        tables: KEY,
        steps: &[r#"do = "recall""#, r#"do = "act", name = "secret", via = "answer""#, COMMIT],
        bounds: [2, 1, 1],
        holds: &["S2", "S13", "S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "L1: a retry is owed after a lost final answer",
        tables: KEY,
        steps: &[
            r#"do = "recall", on_error = "retry""#,
            r#"do = "act", name = "secret", via = "answer", on_error = "retry""#,
            r#"atomic = [{ do = "consume", guards = ["status"], accept_own = true }, { do = "remember" }], on_error = "retry""#,
        ],
        bounds: [1, 0, 1],
        holds: &["L1", "S2", "S13"],
        ..Settled::BLANK
    },
    Settled {
        says: "L1: …not after an unknown outcome",
        tables: KEY,
        steps: &[r#"do = "recall""#, r#"do = "act", name = "secret", via = "answer""#, COMMIT],
        bounds: [1, 0, 1],
        violated: &["L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "the final answer that was lost takes its secret along",
        tables: KEYLESS,
        steps: &[r#"do = "act", name = "secret", via = "answer""#, r#"do = "consume", guards = ["status"]"#],
        bounds: [1, 0, 1],
        violated: &["L1", "S13"],
        holds: &["S2"],
        ..Settled::BLANK
    },
];
