-- Fair order between teams: a job or a notice has a turn, counted from the turn that was served last, and a team's next one
-- has the next turn. What is there keeps the order in which it was written.
ALTER TABLE jobs ADD COLUMN team BLOB CHECK (length(team) = 16);
ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notices ADD COLUMN team BLOB CHECK (length(team) = 16);
ALTER TABLE notices ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET team = (SELECT a.team FROM approvals AS a WHERE a.id = approval);
UPDATE notices SET team = (SELECT a.team FROM approvals AS a WHERE a.id = approval);
DROP INDEX jobs_to_do;
CREATE INDEX jobs_to_do ON jobs (turn, seq) WHERE state <> 'done';
CREATE INDEX jobs_of_team ON jobs (team, turn);
CREATE INDEX jobs_served ON jobs (turn) WHERE fence > 0;
DROP INDEX notices_to_send;
CREATE INDEX notices_to_send ON notices (turn, seq) WHERE state <> 'done';
CREATE INDEX notices_of_team ON notices (team, turn);
CREATE INDEX notices_served ON notices (turn) WHERE fence > 0;
