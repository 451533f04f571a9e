-- What an approval is bound to besides its digest, as JSON; none for those that were asked for before.
ALTER TABLE approvals ADD COLUMN bound TEXT;
-- How often a stack's services or variables were written.
ALTER TABLE stacks ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
