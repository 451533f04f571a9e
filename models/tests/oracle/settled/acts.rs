//! Effects of acts: where they happen, are lost, and are counted.

use super::Settled;

const CONSUME: &str = r#"do = "consume", guards = ["status"]"#;

pub(super) const ALL: &[Settled] = &[
    Settled {
        says: "memory: lost when the process dies before it",
        steps: &[CONSUME, r#"do = "act", name = "run", via = "memory""#],
        bounds: [2, 1, 1],
        violated: &["L1"],
        holds: &["S2", "S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "memory: a fault cannot hit its start",
        steps: &[
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "write", what = "vault" }]"#,
            r#"do = "act", name = "run", via = "memory""#,
        ],
        bounds: [1, 0, 1],
        // Only the lost answer of the group keeps it from acting.
        violated: &["L1"],
        holds: &["S7"],
        ..Settled::BLANK
    },
    Settled {
        says: "outbox: never lost once written, and the same key is the same effect",
        steps: &[
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "act", name = "run", via = "outbox" }]"#,
        ],
        bounds: [2, 2, 1],
        holds: &["S2", "S17", "L1", "L4"],
        ..Settled::BLANK
    },
    Settled {
        says: "outbox: a job, written once per object and name",
        steps: &[r#"do = "consume", guards = []"#, r#"do = "act", name = "run", via = "outbox""#],
        // The swaps are two, the effect is one.
        violated: &["S2"],
        holds: &["L1", "S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "keys, jobs and unique rows are per use",
        object: "uses = 2",
        steps: &[
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "act", name = "run", via = "outbox" }]"#,
        ],
        holds: &["S2", "S17", "L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "an act of an attempt without a use is keyed by the attempt; S17 forbids more effects than uses",
        object: "uses = 2",
        steps: &[r#"do = "act", name = "run", via = "outbox""#, CONSUME],
        violated: &["S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "L1 asks for as many effects of each act as uses",
        object: "uses = 2",
        steps: &[CONSUME, r#"do = "act", name = "run", via = "memory""#],
        bounds: [2, 0, 0],
        holds: &["L1", "S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "S2, S17 and L1 are judged per act",
        steps: &[
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "act", name = "one", via = "row" }, { do = "act", name = "two", via = "row" }]"#,
        ],
        holds: &["S2", "S17", "L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "row: twice every time",
        steps: &[r#"do = "act", name = "pay", via = "row""#, CONSUME],
        violated: &["S2", "S7", "S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "row: with unique = true a second one is 409 duplicate",
        steps: &[r#"do = "act", name = "pay", via = "row", unique = true"#],
        violated: &["S17"],
        holds: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "duplicate is a conflict: S1 judges it, S3 takes it for a 409",
        steps: &[r#"do = "consume", guards = []"#, r#"do = "act", name = "pay", via = "row", unique = true"#],
        violated: &["S1", "S2"],
        holds: &["S3"],
        ..Settled::BLANK
    },
    Settled {
        says: "a call acts twice when its step is retried",
        steps: &[CONSUME, r#"do = "act", name = "pay", via = "call", on_error = "retry""#],
        bounds: [1, 0, 1],
        violated: &["S2"],
        ..Settled::BLANK
    },
    Settled {
        says: "with key = true the other side deduplicates",
        steps: &[CONSUME, r#"do = "act", name = "pay", via = "call", key = true, on_error = "retry""#],
        bounds: [1, 0, 1],
        holds: &["S2", "S7"],
        ..Settled::BLANK
    },
    Settled {
        says: "with uses = 2 the key is the use's",
        object: "uses = 2",
        steps: &[CONSUME, r#"do = "act", name = "pay", via = "call", key = true"#],
        holds: &["S2", "L1", "S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "answer: takes effect with every success that is received",
        steps: &[r#"do = "act", name = "secret", via = "answer""#],
        violated: &["S2", "S17"],
        ..Settled::BLANK
    },
    Settled {
        says: "answer: the effect comes with the answer, after the use",
        steps: &[r#"do = "act", name = "secret", via = "answer""#, CONSUME],
        holds: &["S2", "S7", "S17", "L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "the final answer is lost only when retry is not none",
        steps: &[r#"do = "act", name = "secret", via = "answer""#, r#"do = "check""#, CONSUME],
        bounds: [1, 0, 0],
        holds: &["L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "S7: a written job is an act that was left",
        steps: &[
            CONSUME,
            r#"do = "act", name = "run", via = "outbox""#,
            r#"do = "check", refusals = ["412 no"]"#,
        ],
        bounds: [1, 0, 0],
        violated: &["S1", "S7"],
        holds: &["L1"],
        ..Settled::BLANK
    },
    Settled {
        says: "without consume an act violates S17, a second success S2",
        steps: &[r#"do = "check""#],
        violated: &["S2"],
        does_not_apply: &["S17", "L1", "S7", "S11", "L2"],
        ..Settled::BLANK
    },
    Settled {
        says: "in a flow without an act that deploys, a written target is settled at once",
        steps: &[CONSUME, r#"do = "write", what = "target""#, r#"do = "act", name = "pay", via = "row""#],
        bounds: [1, 1, 1],
        does_not_apply: &["L2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a deploy that a crash ended leaves its target in building",
        steps: &[r#"do = "write", what = "target""#, CONSUME, r#"do = "act", name = "run", via = "memory""#],
        bounds: [1, 1, 0],
        violated: &["L1", "L2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a leased job comes back and is launched again under its key",
        steps: &[
            r#"atomic = [{ do = "consume", guards = ["status"] }, { do = "write", what = "target" }, { do = "act", name = "run", via = "outbox" }]"#,
        ],
        bounds: [2, 2, 1],
        holds: &["S2", "S11", "L1", "L2"],
        ..Settled::BLANK
    },
    Settled {
        says: "a deploy settles the target that its launch knew, else the environment's first",
        steps: &[CONSUME, r#"do = "act", name = "run", via = "memory""#, r#"do = "write", what = "target""#],
        bounds: [1, 0, 0],
        // The deploy ends before the write, and no later deploy settles it.
        violated: &["L2"],
        holds: &["L1"],
        ..Settled::BLANK
    },
];
