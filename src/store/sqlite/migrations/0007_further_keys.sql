-- Keys under which an approval was asked for again by requests that would have been the same.
CREATE TABLE further_keys (
    team BLOB NOT NULL REFERENCES teams (id),
    key TEXT NOT NULL,
    approval BLOB NOT NULL REFERENCES approvals (id),
    PRIMARY KEY (team, key)
) STRICT, WITHOUT ROWID;
