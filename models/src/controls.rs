//! Orders that are broken on purpose, each with what it breaks: whatever judges a flow is shown to find them.

use crate::properties::Property;

/// A flow that has to be found broken.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// What is wrong with it.
    pub name: &'static str,
    /// What that breaks, at the model's default bounds.
    pub breaks: &'static [Property],
    steps: &'static [&'static str],
}

const VALIDATE: &str = r#"{ do = "validate", checks = ["owner", "status", "binding", "expiry", "digest"] }"#;
const CHECK: &str = r#"{ do = "check", refusals = ["412 no_services"] }"#;
const CONSUME: &str = r#"{ do = "consume", guards = ["status", "expiry", "digest"] }"#;
const LAUNCH: &str = r#"{ do = "launch" }"#;
const COMMIT: &str = r#"{ atomic = [
    { do = "consume", guards = ["status", "expiry", "digest"] },
    { do = "write", what = "target" },
    { do = "audit" },
    { do = "enqueue" },
] }"#;
const COMMIT_WITHOUT_JOB: &str = r#"{ atomic = [
    { do = "consume", guards = ["status", "expiry", "digest"] },
    { do = "write", what = "target" },
    { do = "audit" },
] }"#;

/// Nothing is wrong with it: what the controls are held against.
pub const SOUND: Control = Control { name: "sound", breaks: &[], steps: &[VALIDATE, CHECK, COMMIT] };

/// All that the model finds.
pub const CONTROLS: &[Control] = {
    use Property::*;
    &[
        Control { name: "consume before preflight", breaks: &[S1, L3], steps: &[VALIDATE, COMMIT, CHECK] },
        Control {
            name: "check then act",
            breaks: &[S2, S3],
            steps: &[
                VALIDATE,
                r#"{ do = "consume", guards = ["status", "expiry", "digest"], how = "read-then-write" }"#,
            ],
        },
        Control {
            name: "a winner that refuses itself",
            breaks: &[S3],
            steps: &[VALIDATE, COMMIT, r#"{ do = "validate", checks = ["status"] }"#],
        },
        Control {
            name: "unconditional update",
            breaks: &[S4, S9],
            steps: &[r#"{ do = "consume", guards = [] }"#],
        },
        Control {
            name: "expiry not checked again",
            breaks: &[S5],
            steps: &[VALIDATE, r#"{ do = "consume", guards = ["status", "digest"] }"#],
        },
        Control {
            name: "digest not compared",
            breaks: &[S6],
            steps: &[
                r#"{ do = "validate", checks = ["owner", "status", "binding", "expiry"] }"#,
                r#"{ do = "consume", guards = ["status", "expiry"] }"#,
                LAUNCH,
            ],
        },
        Control {
            name: "write before the consume",
            breaks: &[S7],
            steps: &[VALIDATE, r#"{ do = "write", what = "vault" }"#, COMMIT],
        },
        Control {
            name: "audit outside of the transaction",
            breaks: &[S8],
            steps: &[VALIDATE, CONSUME, r#"{ do = "audit" }"#],
        },
        Control {
            name: "look for the target before creating it",
            breaks: &[S11],
            steps: &[VALIDATE, r#"{ do = "write", what = "target", how = "read-then-write" }"#, COMMIT],
        },
        Control { name: "launch before the consume", breaks: &[S17], steps: &[VALIDATE, LAUNCH, COMMIT] },
        Control {
            name: "launch that dies with its process",
            breaks: &[L1, L2],
            steps: &[VALIDATE, CHECK, COMMIT_WITHOUT_JOB, LAUNCH],
        },
        Control {
            name: "second look at what it has consumed itself",
            breaks: &[L4],
            steps: &[VALIDATE, COMMIT, VALIDATE],
        },
    ]
};

/// Those that break what only the simulator has.
pub const BEYOND_THE_MODEL: &[Control] = &[Control {
    name: "owner not looked at",
    breaks: &[Property::S12],
    steps: &[
        r#"{ do = "validate", checks = ["status", "binding", "expiry"] }"#,
        CHECK,
        r#"{ atomic = [
    { do = "consume", guards = ["status", "expiry"] },
    { do = "write", what = "target" },
    { do = "audit" },
    { do = "enqueue" },
] }"#,
    ],
}];

impl Control {
    /// The flow's file.
    pub fn file(&self) -> String {
        format!("step = [{}]", self.steps.join(", "))
    }
}
