-- The last write of each instance's readiness check. A database that lacks the row of an instance that runs is another
-- one, or an older copy.
CREATE TABLE readiness (
    instance BLOB NOT NULL CHECK (length(instance) = 16),
    beat INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- Bytes without meaning: a database that has no room for them has none for an approval.
    room BLOB NOT NULL,
    PRIMARY KEY (instance, beat)
) STRICT;
