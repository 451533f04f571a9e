//! The deployment flows, in the words of the specification, and the table of what they violate.

/// Name, file, and the properties that it violates.
pub(crate) const FLOWS: [(&str, &str, &[&str]); 4] = [
    (
        "consume-first",
        r#"
step = [
  { do = "validate", checks = ["owner", "status", "binding", "expiry"] },
  { do = "consume", guards = ["status"] },
  { do = "audit" },
  { do = "check", name = "source services", refusals = ["412 no_services"] },
  { do = "write", what = "target", how = "read-then-write", refusals = ["402 deployment_limit_reached"] },
  { do = "check", name = "environment", refusals = ["400 vault_ref_failed"] },
  { do = "act", name = "launch", via = "memory" },
]"#,
        &["L1", "L2", "L3", "S1", "S5", "S6", "S7", "S8"],
    ),
    (
        "twin-consume-first",
        r#"
step = [
  { do = "validate", checks = ["owner", "status", "binding", "expiry"] },
  { do = "consume", guards = ["status"] },
  { do = "audit" },
  { do = "check", name = "family", refusals = ["409 twin_exists", "404 not_found"] },
  { do = "write", what = "target", name = "provision", refusals = ["503 provision_failed"] },
  { do = "act", name = "launch", via = "memory" },
]"#,
        &["L1", "L2", "L3", "S1", "S5", "S6", "S7", "S8"],
    ),
    (
        "consume-last",
        r#"
step = [
  { do = "validate", checks = ["owner", "status", "binding", "expiry"] },
  { do = "check", name = "source services", refusals = ["412 no_services"] },
  { do = "write", what = "target", how = "read-then-write", refusals = ["402 deployment_limit_reached"] },
  { do = "check", name = "environment", refusals = ["400 vault_ref_failed"] },
  { do = "consume", guards = ["status"] },
  { do = "audit" },
  { do = "act", name = "launch", via = "memory" },
]"#,
        &["L1", "L2", "S11", "S5", "S6", "S7", "S8"],
    ),
    (
        "atomic-commit",
        r#"
step = [
  { do = "validate", checks = ["owner", "status", "binding", "expiry", "digest"] },
  { do = "check", name = "plan", refusals = ["412 no_services"] },
  { name = "commit", atomic = [
    { do = "consume", guards = ["status", "expiry", "digest"] },
    { do = "write", what = "target", refusals = ["402 deployment_limit_reached"] },
    { do = "write", what = "vault" },
    { do = "audit" },
    { do = "act", name = "launch", via = "outbox" },
  ] },
]"#,
        &[],
    ),
];
