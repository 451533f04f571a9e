//! Requirements on the object, deciders, and outsiders.

use super::Settled;

const CONSUME: &str = r#"do = "consume", guards = ["status"]"#;

pub(super) const ALL: &[Settled] = &[
    Settled {
        says: "approvers = 0: usable when issued; S4, S10, S18 do not apply",
        steps: &[r#"do = "consume", guards = []"#],
        bounds: [1, 0, 0],
        holds: &["S2", "S9"],
        does_not_apply: &[
            "S4", "S5", "S6", "S8", "S10", "S12", "S13", "S15", "S18", "S19", "S20", "S21", "S22",
        ],
        ..Settled::BLANK
    },
    Settled {
        says: "S4: it becomes used only from approved",
        object: "approvers = 1",
        steps: &[r#"do = "consume", guards = []"#],
        bounds: [1, 0, 0],
        violated: &["S4", "S9"],
        holds: &["S10", "S18"],
        ..Settled::BLANK
    },
    Settled {
        says: "a quorum that counts clicks: one person counts twice",
        object: "approvers = 2",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        violated: &["S18"],
        holds: &["S4", "S10"],
        ..Settled::BLANK
    },
    Settled {
        says: "distinct: a person counts once",
        object: "approvers = 2",
        tables: "[decision]\nguards = [\"status\", \"expiry\", \"distinct\"]",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        holds: &["S18", "S10", "S4"],
        does_not_apply: &["S19"],
        ..Settled::BLANK
    },
    Settled {
        says: "the requester is a person who counts, unless separate",
        object: "approvers = 1\nseparate = true",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        violated: &["S18", "S19"],
        ..Settled::BLANK
    },
    Settled {
        says: "the requester counts where separate is not promised",
        object: "approvers = 1",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        holds: &["S18"],
        does_not_apply: &["S19"],
        ..Settled::BLANK
    },
    Settled {
        says: "not_requester",
        object: "approvers = 2\nseparate = true",
        tables: "[decision]\nguards = [\"status\", \"expiry\", \"distinct\", \"not_requester\"]",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        holds: &["S18", "S19"],
        ..Settled::BLANK
    },
    Settled {
        says: "a GET decision adds a scanner, which is no yes for S18",
        object: "approvers = 1",
        tables: "[decision]\nmethod = \"GET\"",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        violated: &["S15", "S18"],
        ..Settled::BLANK
    },
    Settled {
        says: "a press that counts violates S15 even if it is not the last one needed",
        object: "approvers = 3",
        tables: "[decision]\nmethod = \"GET\"\nguards = [\"status\", \"expiry\", \"distinct\"]",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        violated: &["S15", "S18"],
        ..Settled::BLANK
    },
    Settled {
        says: "without the status guard also from a final status: S9; S10 only after reject or expire",
        object: "approvers = 1",
        tables: "[decision]\nguards = [\"expiry\"]",
        steps: &[CONSUME],
        bounds: [2, 0, 0],
        violated: &["S2", "S9", "S10"],
        holds: &["S4", "S18"],
        ..Settled::BLANK
    },
    Settled {
        says: "without the expiry guard a late press approves; the swap still looks at the clock",
        object: "approvers = 1\nexpires = true",
        tables: "[decision]\nguards = [\"status\"]",
        steps: &[r#"do = "consume", guards = ["status", "expiry"]"#],
        bounds: [2, 0, 0],
        holds: &["S4", "S5", "S9", "S10"],
        ..Settled::BLANK
    },
    Settled {
        says: "S5: the swap itself refuses past expires_at",
        object: "expires = true",
        steps: &[r#"do = "validate", checks = ["status", "expiry"]"#, CONSUME],
        bounds: [1, 0, 0],
        violated: &["S5"],
        ..Settled::BLANK
    },
    Settled {
        says: "no use after it was revoked; a final status is left",
        object: "revocable = true",
        steps: &[r#"do = "consume", guards = []"#],
        bounds: [1, 0, 0],
        violated: &["S9", "S20"],
        ..Settled::BLANK
    },
    Settled {
        says: "the status guard refuses what was revoked",
        object: "revocable = true",
        steps: &[CONSUME],
        holds: &["S9", "S20", "L4"],
        does_not_apply: &["L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "the target guard compares the target's current version inside the swap",
        object: "target_bound = true",
        steps: &[r#"do = "consume", guards = ["status", "target"]"#],
        holds: &["S22", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "a target that is only validated may change before the use",
        object: "target_bound = true",
        steps: &[r#"do = "validate", checks = ["target"]"#, CONSUME],
        violated: &["S22"],
        ..Settled::BLANK
    },
    Settled {
        says: "status of a used object: used-up when the stored count reaches uses",
        object: "uses = 3",
        steps: &[CONSUME],
        bounds: [3, 1, 1],
        holds: &["S2", "S3", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "the read-then-write form writes seen + 1: uses are lost",
        object: "uses = 2",
        steps: &[r#"do = "consume", guards = ["status"], how = "read-then-write""#],
        bounds: [3, 0, 0],
        violated: &["S2", "S9"],
        ..Settled::BLANK
    },
    Settled {
        says: "S8: as many events as the stored count of uses",
        object: "uses = 2\naudited = true",
        steps: &[r#"do = "consume", guards = ["status"], how = "read-then-write""#, r#"do = "audit""#],
        bounds: [2, 0, 0],
        violated: &["S8"],
        holds: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "store = memory: a crash sets the count to 0 and a used-up object back to approved",
        steps: &[r#"do = "consume", guards = ["status"], store = "memory""#],
        bounds: [2, 1, 0],
        violated: &["S2", "S9"],
        ..Settled::BLANK
    },
    Settled {
        says: "store = memory is one process: without a crash it is as good as a row",
        steps: &[r#"do = "consume", guards = ["status"], store = "memory""#],
        bounds: [2, 0, 1],
        holds: &["S2", "S9"],
        ..Settled::BLANK
    },
    Settled {
        says: "burn: a refused attempt has used it up",
        object: "failed_attempt = \"burn\"",
        steps: &[CONSUME, r#"do = "check", refusals = ["401 wrong"]"#],
        holds: &["S21", "S2"],
        does_not_apply: &["S1", "L3"],
        ..Settled::BLANK
    },
    Settled {
        says: "burn: an attempt that is refused before the use leaves it usable",
        object: "failed_attempt = \"burn\"",
        steps: &[r#"do = "check", refusals = ["401 wrong"]"#, CONSUME],
        violated: &["S21"],
        ..Settled::BLANK
    },
    Settled {
        says: "burn: L1 is owed only to attempts that succeeded",
        object: "failed_attempt = \"burn\"",
        steps: &[
            CONSUME,
            r#"do = "check", refusals = ["401 wrong"]"#,
            r#"do = "act", name = "in", via = "memory""#,
        ],
        bounds: [2, 1, 1],
        holds: &["S21", "L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "a stranger who gets through: S12",
        object: "owner = true",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        violated: &["S12"],
        ..Settled::BLANK
    },
    Settled {
        says: "owner is the first check, whatever the file's order",
        object: "owner = true\nexpires = true",
        steps: &[r#"do = "validate", checks = ["expiry", "status", "owner"]"#, CONSUME],
        holds: &["S12"],
        ..Settled::BLANK
    },
    Settled {
        says: "404 is not owed by a check's own refusal or a 503",
        object: "owner = true",
        steps: &[
            r#"do = "check", refusals = ["403 locked"]"#,
            r#"do = "validate", checks = ["owner", "status"]"#,
            CONSUME,
        ],
        bounds: [1, 0, 1],
        holds: &["S12"],
        ..Settled::BLANK
    },
    Settled {
        says: "a 409 of validate tells a stranger that it exists",
        object: "owner = true",
        steps: &[
            r#"do = "validate", checks = ["status"]"#,
            r#"do = "validate", checks = ["owner"]"#,
            CONSUME,
        ],
        violated: &["S12"],
        ..Settled::BLANK
    },
    Settled {
        says: "for S12 a lease is a change",
        object: "owner = true",
        steps: &[r#"do = "lease""#, r#"do = "validate", checks = ["owner", "status"]"#, CONSUME],
        bounds: [1, 0, 0],
        violated: &["S12"],
        ..Settled::BLANK
    },
    Settled {
        says: "a GET endpoint adds a scanner that runs the whole flow",
        tables: "[endpoint]\nmethod = \"GET\"",
        steps: &[CONSUME],
        bounds: [1, 0, 0],
        violated: &["S15"],
        ..Settled::BLANK
    },
    Settled {
        says: "a GET that only looks is safe",
        tables: "[endpoint]\nmethod = \"GET\"",
        steps: &[r#"do = "validate", checks = ["status"]"#],
        bounds: [1, 0, 0],
        holds: &["S15"],
        ..Settled::BLANK
    },
    Settled {
        says: "a GET that causes an act",
        tables: "[endpoint]\nmethod = \"GET\"",
        steps: &[r#"do = "act", name = "mail", via = "call""#],
        bounds: [1, 0, 0],
        violated: &["S15", "S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "with two or more callers the last one asks for another payload",
        object: "bound = true",
        steps: &[CONSUME, r#"do = "act", name = "run", via = "memory""#],
        violated: &["S6"],
        holds: &["S2", "S3"],
        ..Settled::BLANK
    },
];
