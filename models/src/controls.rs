//! Orders that are broken on purpose, each with the violated properties: every judge of flows has to find them.

use crate::properties::Property;

/// A flow with known violations.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// The defect.
    pub name: &'static str,
    /// The properties that it violates, at the model's default bounds.
    pub breaks: &'static [Property],
    /// The tables before the steps, where it is no deployment approval.
    promises: &'static str,
    steps: &'static [&'static str],
}

const VALIDATE: &str = r#"{ do = "validate", checks = ["owner", "status", "binding", "expiry", "digest"] }"#;
const CHECK: &str = r#"{ do = "check", refusals = ["412 no_services"] }"#;
const CONSUME: &str = r#"{ do = "consume", guards = ["status", "expiry", "digest"] }"#;
const LAUNCH: &str = r#"{ do = "act", name = "start", via = "memory" }"#;
const COMMIT: &str = r#"{ atomic = [
    { do = "consume", guards = ["status", "expiry", "digest"] },
    { do = "write", what = "target" },
    { do = "audit" },
    { do = "act", name = "launch", via = "outbox" },
] }"#;
const COMMIT_WITHOUT_JOB: &str = r#"{ atomic = [
    { do = "consume", guards = ["status", "expiry", "digest"] },
    { do = "write", what = "target" },
    { do = "audit" },
] }"#;

/// A sound order, for comparison with the controls.
pub const SOUND: Control =
    Control { name: "sound", breaks: &[], promises: "", steps: &[VALIDATE, CHECK, COMMIT] };

/// All that the model finds.
pub const CONTROLS: &[Control] = {
    use Property::*;
    &[
        Control {
            name: "consume before preflight",
            breaks: &[S1, L3],
            promises: "",
            steps: &[VALIDATE, COMMIT, CHECK],
        },
        Control {
            name: "check then act",
            breaks: &[S2, S3],
            promises: "",
            steps: &[
                VALIDATE,
                r#"{ do = "consume", guards = ["status", "expiry", "digest"], how = "read-then-write" }"#,
            ],
        },
        Control {
            name: "a winner that refuses itself",
            breaks: &[S3],
            promises: "",
            steps: &[VALIDATE, COMMIT, r#"{ do = "validate", checks = ["status"] }"#],
        },
        Control {
            name: "unconditional update",
            breaks: &[S4, S9],
            promises: "",
            steps: &[r#"{ do = "consume", guards = [] }"#],
        },
        Control {
            name: "expiry not checked again",
            breaks: &[S5],
            promises: "",
            steps: &[VALIDATE, r#"{ do = "consume", guards = ["status", "digest"] }"#],
        },
        Control {
            name: "digest not compared",
            breaks: &[S6],
            promises: "",
            steps: &[
                r#"{ do = "validate", checks = ["owner", "status", "binding", "expiry"] }"#,
                r#"{ do = "consume", guards = ["status", "expiry"] }"#,
                LAUNCH,
            ],
        },
        Control {
            name: "write before the consume",
            breaks: &[S7],
            promises: "",
            steps: &[VALIDATE, r#"{ do = "write", what = "vault" }"#, COMMIT],
        },
        Control {
            name: "audit outside of the transaction",
            breaks: &[S8],
            promises: "",
            steps: &[VALIDATE, CONSUME, r#"{ do = "audit" }"#],
        },
        Control {
            name: "look for the target before creating it",
            breaks: &[S11],
            promises: "",
            steps: &[VALIDATE, r#"{ do = "write", what = "target", how = "read-then-write" }"#, COMMIT],
        },
        Control {
            name: "launch before the consume",
            breaks: &[S17],
            promises: "",
            steps: &[VALIDATE, LAUNCH, COMMIT],
        },
        Control {
            name: "launch that dies with its process",
            breaks: &[L1, L2],
            promises: "",
            steps: &[VALIDATE, CHECK, COMMIT_WITHOUT_JOB, LAUNCH],
        },
        Control {
            name: "second look at what it has consumed itself",
            breaks: &[L4],
            promises: "",
            steps: &[VALIDATE, COMMIT, VALIDATE],
        },
        Control {
            name: "owner not compared",
            breaks: &[S12],
            promises: "",
            steps: &[r#"{ do = "validate", checks = ["status", "binding", "expiry"] }"#, COMMIT],
        },
        Control {
            name: "a retry that does not recognise its own use",
            breaks: &[S13],
            promises: r#"endpoint = { retry = "key" }"#,
            steps: &[VALIDATE, COMMIT],
        },
        Control {
            name: "a link that a scanner follows",
            breaks: &[S15],
            promises: r#"endpoint = { method = "GET" }"#,
            steps: &[VALIDATE, COMMIT],
        },
        Control {
            name: "clicks counted instead of people",
            breaks: &[S18],
            promises: "object = { approvers = 2 }",
            steps: &[VALIDATE, COMMIT],
        },
        Control {
            name: "a requester who approves",
            breaks: &[S19],
            promises: "object = { separate = true }",
            steps: &[VALIDATE, COMMIT],
        },
        Control {
            name: "revocation not compared again",
            breaks: &[S20],
            promises: "object = { revocable = true }",
            steps: &[VALIDATE, r#"{ do = "consume", guards = ["expiry", "digest"] }"#],
        },
        Control {
            name: "a failed attempt that can be tried again",
            breaks: &[S21],
            promises: r#"object = { failed_attempt = "burn" }"#,
            steps: &[VALIDATE, CHECK, COMMIT],
        },
        Control {
            name: "a plan that is stale",
            breaks: &[S22],
            promises: "object = { target_bound = true }",
            steps: &[
                r#"{ do = "validate", checks = ["owner", "status", "binding", "expiry", "digest", "target"] }"#,
                COMMIT,
            ],
        },
    ]
};

/// Controls for properties that only the simulator judges.
pub const BEYOND_THE_MODEL: &[Control] = &[Control {
    name: "owner not looked at",
    breaks: &[Property::S12],
    promises: "",
    steps: &[
        r#"{ do = "validate", checks = ["status", "binding", "expiry"] }"#,
        CHECK,
        r#"{ atomic = [
    { do = "consume", guards = ["status", "expiry"] },
    { do = "write", what = "target" },
    { do = "audit" },
    { do = "act", name = "launch", via = "outbox" },
] }"#,
    ],
}];

impl Control {
    /// The flow's file.
    pub fn file(&self) -> String {
        format!("{}\nstep = [{}]", self.promises, self.steps.join(", "))
    }
}
