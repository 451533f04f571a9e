-- Approvals can be revoked, and a rejection that comes too late is written down.
ALTER TABLE approvals DROP CONSTRAINT approvals_status_check;
ALTER TABLE approvals ADD CONSTRAINT approvals_status_check
    CHECK (status IN ('pending', 'approved', 'rejected', 'expired', 'executed', 'revoked'));
ALTER TABLE audit DROP CONSTRAINT audit_kind_check;
ALTER TABLE audit ADD CONSTRAINT audit_kind_check CHECK (kind IN (
    'promote.approval_requested', 'promote.approved', 'promote.rejected', 'promote.expired', 'promote.executed',
    'promote.revoked', 'promote.rejected_after_expiry'
));
-- How a person decided, and why.
ALTER TABLE audit ADD COLUMN way TEXT CHECK (way IN ('link', 'session'));
ALTER TABLE audit ADD COLUMN reason TEXT;

-- Links of approvers' own, by the hash of their token.
CREATE TABLE links (
    token_hash BYTEA PRIMARY KEY CHECK (length(token_hash) = 32),
    approval UUID NOT NULL REFERENCES approvals (id),
    approver TEXT NOT NULL
);
