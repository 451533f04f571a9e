-- The length of each lease: after the clock was set back, one that ends later than its whole length from now is cut to it.
-- A lease from before this migration goes by its end alone.
ALTER TABLE jobs ADD COLUMN leased_for INTEGER NOT NULL DEFAULT 1152921504606846976;
ALTER TABLE notices ADD COLUMN due_in INTEGER NOT NULL DEFAULT 1152921504606846976;
ALTER TABLE idempotency_keys ADD COLUMN claimed_for INTEGER NOT NULL DEFAULT 1152921504606846976;
