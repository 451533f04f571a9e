use super::*;

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for table in ["cards", "ledger", "logs"] {
        let columns = BTreeMap::from([
            ("code".to_owned(), ColumnType::Text),
            ("id".to_owned(), ColumnType::Integer),
            ("note".to_owned(), ColumnType::Other),
        ]);
        catalog.relations.insert(table.to_owned(), Relation { columns, ..Relation::default() });
    }
    let unique = |column: &str| vec![BTreeSet::from([column.to_owned()])];
    catalog.relations.entry("cards".to_owned()).or_default().unique = unique("code");
    catalog.relations.entry("logs".to_owned()).or_default().unique = unique("note");
    catalog.relations.insert("view".to_owned(), Relation { is_opaque: true, ..Relation::default() });
    let body = |body: &str| Some(body.to_owned());
    catalog.functions = BTreeMap::from([
        ("clock".to_owned(), body("SELECT floor(extract(epoch FROM clock_timestamp()))::BIGINT")),
        ("pay".to_owned(), body("UPDATE cards SET state = 'used'")),
        ("now".to_owned(), None),
    ]);
    catalog.relate("ledger", "cards");
    catalog
}

/// The footprints of the last units of two transactions depend on each other.
fn depend(one: &[&str], two: &[&str]) -> bool {
    let [one, two] = [one, two].map(|units| {
        let mut transaction = Transaction::default();
        let mut last = Footprint::default();
        for sql in units {
            let statements = [Statement { sql: (*sql).to_owned(), parameters: Vec::new() }];
            last = transaction.apply(&statements, &catalog());
        }
        last
    });
    assert_eq!(one.depends_on(&two), two.depends_on(&one), "dependence is symmetric");
    one.depends_on(&two)
}

#[test]
fn a_read_sees_what_is_committed_only() {
    let read = ["SELECT * FROM cards WHERE code = 'x'"];
    let update = "UPDATE cards SET state = 'used' WHERE code = 'x'";
    assert!(depend(&read, &[update]));
    assert!(!depend(&read, &["BEGIN", update]));
    assert!(depend(&read, &["BEGIN", update, "COMMIT"]));
    assert!(!depend(&read, &["BEGIN", update, "ROLLBACK"]));
    assert!(!depend(&read, &read));
}

#[test]
fn a_snapshot_depends_on_every_commit_and_later_reads_of_a_serializable_transaction_on_writes() {
    let read = "SELECT * FROM cards WHERE code = 'x'";
    let other = "UPDATE logs SET note = 'x'";
    let update = "UPDATE cards SET state = 'used' WHERE code = 'y'";
    for begin in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"] {
        // Of another table: it may be read later.
        assert!(depend(&[begin, read], &[other]), "{begin}");
        assert!(!depend(&[begin, read], &["BEGIN", other]), "{begin}");
        assert!(!depend(&[begin, read], &[begin, read]), "{begin}");
        assert!(!depend(&[begin, read, read], &[other]), "{begin}");
        assert!(!depend(&[begin], &[other]), "{begin}");
    }
    let [repeatable, serializable] = ["REPEATABLE READ", "SERIALIZABLE"];
    let begin = |level: &str| format!("BEGIN ISOLATION LEVEL {level}");
    let updates = |level| depend(&[&begin(level), read, read], &[&begin(level), other, update]);
    assert!(!updates(repeatable) && updates(serializable));
    let commits = |level| depend(&[&begin(level), read, "COMMIT"], &[&begin(level), other, "COMMIT"]);
    assert!(!commits(repeatable) && commits(serializable));
    // Set within the transaction.
    assert!(depend(&["BEGIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", read], &[other]));
}

#[test]
fn locks_and_writes_exclude_each_other_until_the_end_of_the_transaction() {
    let lock = "SELECT * FROM cards WHERE code = 'x' FOR UPDATE";
    let update = "UPDATE cards SET state = 'used' WHERE code = 'x'";
    for end in ["COMMIT", "ROLLBACK", "ROLLBACK TO SAVEPOINT s"] {
        assert!(depend(&["BEGIN", lock, end], &["BEGIN", update]), "{end}");
    }
    assert!(depend(&["BEGIN", lock], &["BEGIN", lock]));
    assert!(!depend(&["BEGIN"], &["BEGIN", update]));
}

#[test]
fn rows_are_distinguished_by_columns_with_known_values() {
    let update = |condition: &str| format!("UPDATE cards SET state = 'used' WHERE {condition}");
    let depends = |one: &str, two: &str| depend(&[&update(one)], &[&update(two)]);
    assert!(!depends("code = 'x'", "code = 'y'"));
    assert!(!depends("id = 1 AND state = 'a'", "id = 2"));
    assert!(depends("id = 1", "id = '01'"));
    assert!(depends("code = 'x'", "id = 2"));
    assert!(depends("note = 'x'", "note = 'y'"));
    assert!(depends("code = 'x' OR id = 1", "code = 'y'"));
    // The update moves the row.
    assert!(depend(
        &["UPDATE cards SET code = 'y' WHERE code = 'x'"],
        &["UPDATE cards SET id = 2 WHERE code = 'y'"]
    ));
}

#[test]
fn effects_that_the_text_does_not_show_are_assumed() {
    let read = ["SELECT * FROM logs"];
    assert!(!depend(&read, &["UPDATE cards SET state = 'used'"]));
    assert!(depend(&read, &["SELECT pay(1)"]));
    assert!(depend(&read, &["SELECT now()"]) && depend(&read, &["SELECT other()"]));
    assert!(!depend(&read, &["SELECT clock()"]));
    assert!(depend(&read, &["SELECT * FROM view"]));
    assert!(depend(&read, &["SELECT * FROM unknown"]));
    assert!(!depend(&read, &["WITH found AS (SELECT * FROM cards FOR UPDATE) SELECT * FROM found"]));
    assert!(depend(&read, &["WITH cards AS (UPDATE logs SET id = 1 RETURNING id) SELECT * FROM cards"]));
    assert!(depend(&read, &["UPDATE cards SETT nonsense"]));
    assert!(depend(&read, &["LOCK TABLE cards"]));
    // A foreign key: the row that is referenced is locked, and what references a row goes with it.
    assert!(depend(&["INSERT INTO ledger (code) VALUES ('x')"], &["DELETE FROM cards WHERE code = 'y'"]));
    assert!(!depend(&["SELECT * FROM ledger"], &["UPDATE cards SET state = 'used'"]));
    let references = ["INSERT INTO ledger (code) VALUES ('x')"];
    assert!(depend(&references, &["BEGIN", "UPDATE cards SET code = 'y'"]));
    assert!(depend(&references, &["BEGIN", "SELECT 1 FROM cards FOR UPDATE"]));
    // These leave the columns alone that are referenced.
    for weaker in ["UPDATE cards SET state = 'used'", "SELECT 1 FROM cards FOR NO KEY UPDATE"] {
        assert!(
            !depend(&references, &["BEGIN", weaker]) && !depend(&references, &["BEGIN", weaker, "COMMIT"])
        );
        assert!(depend(&["BEGIN", weaker], &["BEGIN", weaker]));
    }
    // Both lock the row that they reference, and neither waits.
    assert!(!depend(
        &["INSERT INTO ledger (code) VALUES ('x')"],
        &["INSERT INTO ledger (code) VALUES ('x')"]
    ));
    // A unique index of which the values are not known.
    assert!(depend(&["INSERT INTO logs (id) VALUES (1)"], &["INSERT INTO logs (id) VALUES (2)"]));
}

#[test]
fn inserted_rows_collide_in_unique_indexes_only() {
    let insert = |code: &str, rest: &str| format!("INSERT INTO cards (code, id) VALUES ('{code}', 1) {rest}");
    let update = "ON CONFLICT (code) DO UPDATE SET id = 2";
    let depends = |one: &str, two: &str| depend(&[one], &[two]);
    assert!(depends(&insert("x", ""), &insert("x", "")) && !depends(&insert("x", ""), &insert("y", "")));
    assert!(depends(&insert("x", update), &insert("x", update)));
    assert!(!depends(&insert("x", update), &insert("y", update)));
    let write = |code: &str| format!("UPDATE cards SET id = 3 WHERE code = '{code}'");
    assert!(depends(&insert("x", update), &write("x")) && !depends(&insert("x", update), &write("y")));
    // The row that is there already may have another id.
    assert!(depends(&insert("x", update), "UPDATE cards SET state = 'used' WHERE id = 2"));
}
