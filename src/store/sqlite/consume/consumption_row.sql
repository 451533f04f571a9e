-- A consumption's row has the approval as its primary key: whoever inserts it has won.

-- name: read
SELECT status, expires_at, digest, countersign_now(), version, lease_fence FROM approvals WHERE id = $1

-- name: claim
INSERT INTO consumptions (approval, consumed_at) VALUES ($1, $2) ON CONFLICT (approval) DO NOTHING

-- name: write
UPDATE approvals
SET status = $1, version = version + 1, decided_at = $2, execution = COALESCE(execution, $3)
WHERE id = $4 AND status = $5 AND lease_fence = $6
