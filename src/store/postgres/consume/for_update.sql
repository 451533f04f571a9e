-- Lock the row, judge, write. The clock is read when the lock is held: whoever waited for it must not be judged by
-- the time at which it began to wait.

-- name: read
WITH locked AS (SELECT status, expires_at, digest, version, lease_fence FROM approvals WHERE id = $1 FOR UPDATE)
SELECT status, expires_at, digest, countersign_now(), version, lease_fence FROM locked

-- name: write
UPDATE approvals
SET status = $1, version = version + 1, decided_at = $2, execution = COALESCE(execution, $3)
WHERE id = $4 AND status = $5
