-- Earlier versions of SQLite, among them Debian 12's 3.40, take json_valid(NULL) for false: their `sqlite3` refuses the
-- approvals that were not used when it restores a dump.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (json_valid(execution))', 'CHECK (execution IS NULL OR json_valid(execution))')
WHERE type = 'table' AND name = 'approvals';
PRAGMA writable_schema = RESET;
