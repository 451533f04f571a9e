-- Many approvals in one statement, each with the digest that its promotion holds. Whoever asks for the same ones at the
-- same time has to name them in the same order, or the two may wait for each other until one is refused.
UPDATE approvals
SET status = 'executed', version = version + 1, decided_at = clock.now, execution = COALESCE(execution, $1::TEXT)
FROM (SELECT countersign_now() AS now) AS clock
WHERE id = ANY($2::UUID[])
  AND status = 'approved'
  AND expires_at > clock.now
  AND digest = ($3::BYTEA[])[array_position($2::UUID[], id)]
RETURNING id
