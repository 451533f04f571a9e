-- The lease of an approval that was taken last: its fencing number, 0 when none was taken, and until when it runs.
ALTER TABLE approvals ADD COLUMN lease_fence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE approvals ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;
