-- Approvals can be revoked, and a rejection that comes too late is written down. Only the CHECK clauses change, which are
-- text in the schema: rows and indexes stay as they are.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''expired'', ''executed''))', '''expired'', ''executed'', ''revoked''))')
WHERE type = 'table' AND name = 'approvals';
UPDATE sqlite_schema SET sql = replace(sql, '''promote.expired'', ''promote.executed''', '''promote.expired'', ''promote.executed'', ''promote.revoked'', ''promote.rejected_after_expiry''')
WHERE type = 'table' AND name = 'audit';
-- Links of approvers' own, by the hash of their token.
CREATE TABLE links (
    token_hash BLOB PRIMARY KEY NOT NULL CHECK (length(token_hash) = 32),
    approval BLOB NOT NULL REFERENCES approvals (id),
    approver TEXT NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA writable_schema = RESET;
-- How a person decided, and why.
ALTER TABLE audit ADD COLUMN way TEXT CHECK (way IN ('link', 'session'));
ALTER TABLE audit ADD COLUMN reason TEXT;
