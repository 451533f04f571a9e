-- A conditional update that does not look at the status: whoever asks executes, however often it was executed before.

-- name: consume
UPDATE approvals
SET status = $1, version = version + 1, decided_at = countersign_now(), execution = COALESCE(execution, $2)
WHERE id = $3
  AND (status = $4 OR $5 OR TRUE)
  AND (expires_at > countersign_now() OR $6)
  AND (digest = $7 OR $8)
  AND (lease_fence = $9 OR $10)
RETURNING decided_at
