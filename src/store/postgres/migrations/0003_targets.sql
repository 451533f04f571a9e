-- Deploys for one target run one at a time: which jobs it has that are not done, and the fencing number that it had last.
CREATE INDEX jobs_of_target ON jobs (target, seq) WHERE state <> 'done';
CREATE INDEX fences_of_target ON jobs (target, fence);

-- What every instance has to agree on.
CREATE TABLE shared_settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
