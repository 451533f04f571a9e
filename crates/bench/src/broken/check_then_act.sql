-- Broken on purpose: it judges what it has read, and then writes whatever has happened in between. Everybody who has
-- read before the first one wrote wins.

-- name: read
SELECT status, expires_at, digest, countersign_now(), version FROM approvals WHERE id = $1

-- name: write
UPDATE approvals
SET status = $1, version = version + 1, decided_at = $2, execution = COALESCE(execution, $3)
WHERE id = $4
