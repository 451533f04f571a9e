-- Read, judge, and write only if the row's version is still the one that was read; begin again if it is not.

-- name: read
SELECT status, expires_at, digest, countersign_now(), version, lease_fence FROM approvals WHERE id = $1

-- name: write
UPDATE approvals
SET status = $1, version = version + 1, decided_at = $2, execution = COALESCE(execution, $3)
WHERE id = $4 AND status = $5 AND version = $6
