-- What an approval is bound to besides its digest, as JSON; none for those that were asked for before.
ALTER TABLE approvals ADD COLUMN bound TEXT CHECK (bound IS NULL OR json_valid(bound));
-- How often a stack's services or variables were written.
ALTER TABLE stacks ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
