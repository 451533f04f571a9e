-- Broken on purpose: it does not look at the status. Everybody wins.

-- name: consume
UPDATE approvals
SET status = $1, version = version + 1, decided_at = clock.now, execution = COALESCE(execution, $2)
FROM (SELECT countersign_now() AS now) AS clock
WHERE id = $3
  AND (status = $4 OR $5 OR TRUE)
  AND (expires_at > clock.now OR $6)
  AND (digest = $7 OR $8)
  AND (lease_fence = $9 OR $10)
RETURNING decided_at
