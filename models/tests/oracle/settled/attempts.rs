//! Refusals, faults, conflicts and groups.

use super::Settled;

pub(super) const ALL: &[Settled] = &[
    Settled {
        says: "preflight: refusals of validate, wherever it stands",
        steps: &[r#"do = "consume", guards = ["status"]"#, r#"do = "validate", checks = ["status"]"#],
        bounds: [1, 0, 0],
        violated: &["S1", "L3"],
        holds: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "conflict: a held lease; S1 judges it",
        object: "uses = 2",
        steps: &[r#"do = "consume", guards = ["status"]"#, r#"do = "lease", on_held = "refuse""#],
        violated: &["S1"],
        holds: &["S2"],
        does_not_apply: &["L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "plain: 503 of any other step; S1 does not judge it, and S7 does",
        steps: &[
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "act", name = "first", via = "row""#,
            r#"do = "act", name = "second", via = "row""#,
        ],
        bounds: [1, 0, 1],
        violated: &["S7", "L1"],
        holds: &["S1"],
        does_not_apply: &["L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "unknown: lost answer of an act; S7 judges all but unknown ones",
        steps: &[r#"do = "consume", guards = ["status"]"#, r#"do = "act", name = "pay", via = "call""#],
        bounds: [1, 0, 1],
        violated: &["L1"],
        holds: &["S1", "S7", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "preflight is also an act's own refusal",
        steps: &[
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "act", name = "pay", via = "call", refusals = ["402 card_declined"]"#,
        ],
        bounds: [1, 0, 0],
        violated: &["S1", "L1", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "preflight: 503 of a write, failed or lost",
        steps: &[r#"do = "consume", guards = ["status"]"#, r#"do = "write", what = "vault""#],
        bounds: [1, 0, 1],
        violated: &["S1", "S7", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "on_error is for 503 only: a step's own refusal ends the attempt",
        steps: &[
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "check", name = "basket", refusals = ["412 too_small"], on_error = "continue""#,
        ],
        bounds: [1, 0, 0],
        violated: &["S1", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "on_error = continue goes on after a 503",
        steps: &[
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "write", what = "vault", on_error = "continue""#,
        ],
        bounds: [1, 0, 1],
        holds: &["S1", "S7", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "retry runs the whole step again, blindly: a consume whose answer was lost meets its own use",
        steps: &[r#"do = "consume", guards = ["status"], on_error = "retry""#],
        bounds: [1, 0, 1],
        violated: &["S1"],
        holds: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "…unless accept_own",
        steps: &[r#"do = "consume", guards = ["status"], on_error = "retry", accept_own = true"#],
        bounds: [1, 0, 1],
        holds: &["S1", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "retry is once more, then refuse",
        steps: &[r#"do = "check", on_error = "retry""#, r#"do = "consume", guards = ["status"]"#],
        object: "failed_attempt = \"burn\"",
        bounds: [1, 0, 2],
        // A refusal by an injected fault is none of S21's.
        holds: &["S21"],
        does_not_apply: &["S1", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "an unconditional update that is retried blindly is applied twice",
        steps: &[r#"do = "consume", guards = [], on_error = "retry""#],
        bounds: [1, 0, 1],
        violated: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a consume that failed and was continued has used nothing",
        steps: &[
            r#"do = "consume", guards = ["status"], on_error = "continue""#,
            r#"do = "act", name = "pay", via = "row""#,
        ],
        bounds: [1, 0, 1],
        violated: &["S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "on_conflict = continue: zero rows ignored",
        steps: &[
            r#"do = "consume", guards = ["status"], on_conflict = "continue""#,
            r#"do = "act", name = "pay", via = "row""#,
        ],
        violated: &["S2", "S3"],
        holds: &["S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "a member's own refusal leaves nothing applied",
        steps: &[
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "write", what = "vault", refusals = ["402 limit"] }]"#,
        ],
        holds: &["S1", "S7", "L3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a lost answer of a group is an unknown outcome",
        steps: &[
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "write", what = "vault" }, { do = "act", name = "pay", via = "row" }]"#,
        ],
        bounds: [2, 1, 1],
        holds: &["S1", "S2", "S7", "S17", "L1", "L4"],
        does_not_apply: &["L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "groups are judged on the committed state: an act listed before the consume is fine",
        steps: &[
            r#"atomic = [{ do = "act", name = "pay", via = "row" }, { do = "consume", guards = ["status"] }]"#,
        ],
        holds: &["S2", "S17", "S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "audit: a failure is swallowed",
        object: "audited = true",
        steps: &[r#"do = "consume", guards = ["status"]"#, r#"do = "audit""#],
        bounds: [1, 0, 1],
        violated: &["S8"],
        holds: &["S1", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "S8 is judged when nothing is under way",
        object: "audited = true",
        steps: &[r#"do = "consume", guards = ["status"]"#, r#"do = "audit""#],
        holds: &["S8"],
        ..Settled::BLANK
    },
    Settled {
        says: "no step audits",
        object: "audited = true",
        steps: &[r#"do = "consume", guards = ["status"]"#],
        bounds: [1, 0, 0],
        violated: &["S8"],
        ..Settled::BLANK
    },
    Settled {
        says: "an attempt holds the digest of what it last read; acts launch it",
        object: "bound = true",
        steps: &[
            r#"do = "validate", checks = ["digest"]"#,
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "act", name = "run", via = "memory""#,
        ],
        holds: &["S6"],
        ..Settled::BLANK
    },
    Settled {
        says: "a check reads the digest again",
        object: "bound = true",
        steps: &[
            r#"do = "validate", checks = ["digest"]"#,
            r#"do = "check""#,
            r#"do = "consume", guards = ["status"]"#,
            r#"do = "act", name = "run", via = "memory""#,
        ],
        violated: &["S6"],
        ..Settled::BLANK
    },
    Settled {
        says: "before any read, the digest of when it began; the digest guard compares that one",
        object: "bound = true",
        steps: &[
            r#"do = "consume", guards = ["status", "digest"]"#,
            r#"do = "act", name = "run", via = "memory""#,
        ],
        holds: &["S6", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a read-then-write judges its guards at the read",
        object: "expires = true",
        steps: &[r#"do = "consume", guards = ["status", "expiry"], how = "read-then-write""#],
        violated: &["S2", "S3", "S5"],
        ..Settled::BLANK
    },
    Settled {
        says: "a 409 of validate is one",
        steps: &[r#"do = "validate", checks = ["status"]"#, r#"do = "consume", guards = ["status"]"#],
        holds: &["S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "S3: in runs without own refusals",
        steps: &[r#"do = "check", refusals = ["410 gone"]"#, r#"do = "consume", guards = ["status"]"#],
        holds: &["S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "S3: of n callers min(n, uses) succeed",
        object: "uses = 2",
        steps: &[r#"do = "consume", guards = ["status"]"#],
        bounds: [3, 0, 0],
        holds: &["S2", "S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "S3: too few succeed",
        steps: &[r#"do = "consume", guards = ["status"]"#, r#"do = "validate", checks = ["status"]"#],
        bounds: [1, 0, 0],
        violated: &["S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "S11: two attempts never create two targets",
        steps: &[r#"do = "write", what = "target", how = "read-then-write""#],
        violated: &["S11"],
        does_not_apply: &["L2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a write that finds the target updates it",
        steps: &[r#"do = "write", what = "target""#],
        holds: &["S11"],
        ..Settled::BLANK
    },
];
