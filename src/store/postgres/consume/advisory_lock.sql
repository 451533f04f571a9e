-- A lock that is named after the approval, held until the transaction ends; then read, judge, write.

-- name: lock
SELECT pg_advisory_xact_lock($1)

-- name: read
SELECT status, expires_at, digest, countersign_now(), version, lease_fence FROM approvals WHERE id = $1

-- name: write
UPDATE approvals
SET status = $1, version = version + 1, decided_at = $2, execution = COALESCE(execution, $3)
WHERE id = $4 AND status = $5 AND lease_fence = $6
