-- Direct changes of protected environments by administrators, each written before its change.
CREATE TABLE glass_broken (
    seq INTEGER PRIMARY KEY NOT NULL,
    team BLOB NOT NULL REFERENCES teams (id),
    at INTEGER NOT NULL,
    env TEXT NOT NULL,
    change TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX glass_broken_of_team ON glass_broken (team, seq);
