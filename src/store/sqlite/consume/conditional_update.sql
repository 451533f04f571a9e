-- One statement compares and swaps. Its WHERE clause repeats the protocol's rule `consume`: the status, the window,
-- the digest and the lease, each unless it is not guarded. The contract suite and the edge replay hold it against the rule.
-- The clock stands still for the length of a statement, so that it may be asked twice: a FROM clause would cost as much
-- as the whole update.

-- name: consume
UPDATE approvals
SET status = $1, version = version + 1, decided_at = countersign_now(), execution = COALESCE(execution, $2)
WHERE id = $3
  AND (status = $4 OR $5)
  AND (expires_at > countersign_now() OR $6)
  AND (digest = $7 OR $8)
  AND (lease_fence = $9 OR $10)
RETURNING decided_at
