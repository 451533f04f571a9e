//! Words of SQL and of other code that are no words of a flow file, and what to write instead.

/// The words, the word of the vocabulary, and its use.
const OTHER_WORDS: &[(&[&str], &str, &str)] = &[
    (
        &["select", "read", "load", "find", "get", "fetch", "verify", "authenticate"],
        "validate",
        "it reads the object, and may refuse; it protects nothing",
    ),
    (
        &[
            "update",
            "delete",
            "remove",
            "redeem",
            "use",
            "mark",
            "claim",
            "spend",
            "burn",
            "invalidate",
            "increment",
        ],
        "consume",
        "it uses the object up, if its `guards` hold; another change is an `act`",
    ),
    (
        &["insert", "create", "credit", "grant"],
        "act",
        "an effect that must not happen twice, here with `via = \"row\"`; a claim of the object is a `consume`",
    ),
    (
        &[
            "notify", "email", "mail", "send", "charge", "pay", "payout", "transfer", "call", "http",
            "request", "webhook",
        ],
        "act",
        "an effect that must not happen twice, here with `via = \"call\"`",
    ),
    (
        &["publish", "emit", "job", "queue", "schedule", "spawn"],
        "act",
        "an effect that must not happen twice, with `via = \"outbox\"` for a job in a table and `\"memory\"` for others",
    ),
    (
        &["return", "respond", "answer", "reveal", "show"],
        "act",
        "with `via = \"answer\"`, if the response is the effect",
    ),
    (&["lock", "mutex", "acquire", "reserve", "hold"], "lease", "it ends with its attempt, or runs out"),
    (&["log", "event", "record"], "audit", "it writes the event of the use"),
    (
        &["dedupe", "deduplicate", "idempotency", "lookup"],
        "recall",
        "it looks for the outcome under the request's key",
    ),
    (
        &["store", "cache", "save"],
        "remember",
        "it stores the outcome under the request's key; a save of the object is a `consume`",
    ),
    (&["table", "db", "database", "sql", "insert"], "row", "a row in your own database"),
    (&["http", "api", "email", "mail", "request", "webhook", "stripe"], "call", "a call of another system"),
    (&["job", "queue"], "outbox", "a job in a table of the same database; other jobs are `memory`"),
    (&["thread", "task", "async", "background"], "memory", "started by this process, and lost with it"),
    (&["response", "return"], "answer", "the final answer is the effect"),
    (&["used", "unused", "state", "redeemed", "approved"], "status", "not used, not revoked, and approved"),
    (&["user", "tenant", "account"], "owner", "for another one's caller the object does not exist"),
    (&["hash", "payload", "content"], "digest", "the payload that was approved"),
    (&["locked", "fencing"], "lease", "its holder still has it"),
];

/// A suggestion for a word that is none of `allowed`, and is common elsewhere.
pub(super) fn suggestion(found: &str, allowed: &[String]) -> Option<String> {
    let found = found.to_ascii_lowercase();
    let is_allowed = |word: &str| allowed.iter().any(|allowed| allowed == word);
    if ["begin", "transaction", "commit", "group"].contains(&found.as_str()) && is_allowed("consume") {
        return Some(
            "did you mean `atomic = […]` instead of `do`? its members happen together, or none does"
                .to_owned(),
        );
    }
    if ["undo", "rollback", "refund", "release", "compensate"].contains(&found.as_str())
        && is_allowed("consume")
    {
        return Some("did you mean `undo = true` on the step that is taken back?".to_owned());
    }
    let (_, word, use_) =
        OTHER_WORDS.iter().find(|(words, word, _)| words.contains(&found.as_str()) && is_allowed(word))?;
    Some(format!("did you mean `{word}`? {use_}"))
}
