-- Read, judge, write, and nothing else: the database refuses one of two transactions that collide, and that one begins
-- again.

-- name: read
SELECT status, expires_at, digest, countersign_now(), version, lease_fence FROM approvals WHERE id = $1

-- name: write
UPDATE approvals
SET status = $1, version = version + 1, decided_at = $2, execution = COALESCE(execution, $3)
WHERE id = $4 AND status = $5
