-- Lists of one status read that status alone.
CREATE INDEX approvals_of_status ON approvals (team, status, created_at, id);
