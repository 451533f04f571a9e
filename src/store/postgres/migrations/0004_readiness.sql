-- The last write of each instance's readiness check. A database that lacks the row of an instance that runs is another
-- one, or an older copy.
CREATE TABLE readiness (
    instance UUID NOT NULL,
    beat BIGINT NOT NULL,
    at BIGINT NOT NULL,
    -- Bytes without meaning: a database that has no room for them has none for an approval.
    room BYTEA NOT NULL,
    PRIMARY KEY (instance, beat)
);
-- Not compressed: the room is what is asked for.
ALTER TABLE readiness ALTER COLUMN room SET STORAGE EXTERNAL;
