-- Keys under which an approval was asked for again by requests that would have been the same.
CREATE TABLE further_keys (
    team UUID NOT NULL REFERENCES teams (id),
    key TEXT NOT NULL,
    approval UUID NOT NULL REFERENCES approvals (id),
    PRIMARY KEY (team, key)
);
