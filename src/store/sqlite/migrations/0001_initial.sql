-- Times are milliseconds since the Unix epoch. Ids are the 16 bytes of a UUID, digests and hashes 32 bytes.

CREATE TABLE migrations (
    version INTEGER PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE teams (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    plan TEXT NOT NULL CHECK (plan IN ('free', 'pro', 'enterprise')),
    deployment_cap INTEGER NOT NULL CHECK (deployment_cap >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE stacks (
    -- The order in which they were created.
    seq INTEGER PRIMARY KEY NOT NULL,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    team BLOB NOT NULL REFERENCES teams (id),
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    env TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('building', 'healthy', 'failed')),
    parent BLOB REFERENCES stacks (id),
    root BLOB NOT NULL REFERENCES stacks (id),
    services TEXT NOT NULL CHECK (json_valid(services)),
    env_vars TEXT NOT NULL CHECK (json_valid(env_vars)),
    UNIQUE (team, slug)
) STRICT;
-- Not unique: an order of steps that creates two targets must be able to.
CREATE INDEX stacks_of_family ON stacks (team, root, env);

CREATE TABLE resources (
    seq INTEGER PRIMARY KEY NOT NULL,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    team BLOB NOT NULL REFERENCES teams (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('postgres', 'redis', 'mongodb')),
    env TEXT NOT NULL,
    root BLOB NOT NULL REFERENCES resources (id),
    status TEXT NOT NULL CHECK (status IN ('building', 'healthy', 'failed'))
) STRICT;
CREATE INDEX resources_of_family ON resources (team, root, env);

CREATE TABLE vault (
    team BLOB NOT NULL REFERENCES teams (id),
    env TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (team, env, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE approvals (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    team BLOB NOT NULL REFERENCES teams (id),
    token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    requested_by TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('stack', 'resource_twin')),
    from_env TEXT NOT NULL,
    to_env TEXT NOT NULL,
    source BLOB NOT NULL CHECK (length(source) = 16),
    target_name TEXT,
    copy_vault INTEGER NOT NULL CHECK (copy_vault IN (0, 1)),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    services TEXT NOT NULL CHECK (json_valid(services)),
    -- Under which key it was asked for.
    request_key TEXT,
    status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'expired', 'executed')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    decided_at INTEGER,
    version INTEGER NOT NULL DEFAULT 0,
    -- The promotion that consumed it, as the consume itself writes it.
    execution TEXT CHECK (json_valid(execution)),
    UNIQUE (team, request_key),
    CHECK ((status = 'pending') = (decided_at IS NULL)),
    CHECK ((status = 'executed') = (execution IS NOT NULL))
) STRICT;
CREATE INDEX approvals_of_team ON approvals (team, created_at, id);
CREATE INDEX approvals_by_age ON approvals (created_at, id);

CREATE TABLE consumptions (
    approval BLOB PRIMARY KEY NOT NULL REFERENCES approvals (id),
    consumed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY NOT NULL,
    approval BLOB NOT NULL REFERENCES approvals (id),
    kind TEXT NOT NULL CHECK (kind IN (
        'promote.approval_requested', 'promote.approved', 'promote.rejected', 'promote.expired', 'promote.executed'
    )),
    at INTEGER NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE INDEX audit_of_approval ON audit (approval, seq);

CREATE TABLE jobs (
    -- The order in which they were written.
    seq INTEGER PRIMARY KEY NOT NULL,
    approval BLOB NOT NULL UNIQUE REFERENCES approvals (id),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    target BLOB CHECK (length(target) = 16),
    state TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'leased', 'done')),
    fence INTEGER NOT NULL DEFAULT 0,
    leased_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX jobs_to_do ON jobs (seq) WHERE state <> 'done';

CREATE TABLE notices (
    seq INTEGER PRIMARY KEY NOT NULL,
    approval BLOB NOT NULL UNIQUE REFERENCES approvals (id),
    state TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'done')),
    due_at INTEGER NOT NULL,
    fence INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notices_to_send ON notices (seq) WHERE state <> 'done';

CREATE TABLE idempotency_keys (
    team BLOB NOT NULL REFERENCES teams (id),
    key TEXT NOT NULL,
    request BLOB NOT NULL CHECK (length(request) = 32),
    -- Until when somebody works on it; none: it is over, and the outcome is to be repeated.
    claimed_until INTEGER,
    PRIMARY KEY (team, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE deploy_logs (
    seq INTEGER PRIMARY KEY NOT NULL,
    approval BLOB NOT NULL REFERENCES approvals (id),
    ended_at INTEGER NOT NULL,
    exit_code INTEGER,
    output TEXT NOT NULL
) STRICT;
CREATE INDEX deploy_logs_of_approval ON deploy_logs (approval, seq);
