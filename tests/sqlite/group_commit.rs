//! Group commit: works of one batch stay isolated, and no reply precedes the commit.

use std::{
    sync::{
        Arc, Barrier,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{scope, spawn},
};

use countersign::{
    protocol::{Change, Commit, Flow, Guards, Refusal, Step, StepAction},
    store::{
        Approvals, Causes, Committed, StoreError, StoreErrorKind, Tenants,
        sql::{Cas, Consume, Done, Engine, Mode, Session, SqlError, Transaction, Value},
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use countersign_models::fixtures::{CountingIds, HandClock, UseRequest, block_on};
use countersign_testkit::SqlPeek;

use crate::platform::{OPENS, Platform, TEAM, environment, open};

/// Number of winners among this many concurrent consumers of the approval.
fn winners(platform: &Platform, ask: &UseRequest, consumers: usize) -> usize {
    let digest = block_on(platform.store.digest(ask)).expect("nothing fails");
    let flow = Flow::atomic_commit();
    let all_of_it =
        flow.steps().iter().find(|step| matches!(step.action, StepAction::Atomic(_))).expect("the commit");
    let alone = Step::from(StepAction::Consume(countersign::protocol::Consume::new(Guards::ALL)));
    let consume = Change::consume(Guards::ALL);
    let everything = [
        consume,
        Change::WriteTarget { trust_look: false },
        Change::WriteVault,
        Change::Audit,
        Change::Enqueue { act: 0 },
    ];
    let start = Barrier::new(consumers);
    scope(|threads| {
        let consumers: Vec<_> = (0..consumers)
            .map(|number| {
                let start = &start;
                let (step, ops) = if number % 2 == 0 {
                    (all_of_it, everything.as_slice())
                } else {
                    (&alone, std::slice::from_ref(&consume))
                };
                threads.spawn(move || {
                    start.wait();
                    let commit = Commit {
                        approval: ask.approval,
                        digest,
                        target: None,
                        fence: None,
                        uses_seen: 0,
                        ops,
                    };
                    block_on(platform.store.commit(ask, step, commit)).expect("nothing fails")
                })
            })
            .collect();
        let ends = consumers.into_iter().map(|consumer| consumer.join().expect("no panic"));
        let won = |end: Committed| match end {
            Committed::Applied { .. } => true,
            Committed::NotConsumed(refusal) if refusal == Refusal::APPROVAL_ALREADY_EXECUTED => false,
            other => panic!("{other:?}"),
        };
        ends.filter(|end| won(end.clone())).count()
    })
}

#[test]
fn of_eight_who_consume_one_approval_exactly_one_does() {
    for cas in SqliteStore::STRATEGIES {
        let dir = tempfile::tempdir().expect("a folder");
        let options = SqliteOptions { cas, ..SqliteOptions::default() };
        let platform = Platform::at(&dir.path().join("gate.db"), options);
        for _ in 0..20 {
            assert_eq!(winners(&platform, &platform.approved(), 8), 1, "{cas}");
        }
    }
}

#[test]
fn a_clause_that_does_not_look_at_the_status_is_noticed() {
    const BLIND: &str = "-- name: consume
        UPDATE approvals SET status = $1, decided_at = countersign_now(), execution = COALESCE(execution, $2)
        WHERE id = $3 AND ($4 <> '' OR $5 OR $6 OR $7 <> '' OR $8 OR $9 > 0 OR $10) RETURNING decided_at";
    let consume = Consume::new(Cas::ConditionalUpdate, BLIND).expect("it has its statement");
    let clock = Arc::new(HandClock::at(OPENS));
    let ids = Arc::new(CountingIds::default());
    let options = SqliteOptions::default();
    let store = SqliteStore::open_with(SqliteStore::IN_MEMORY, clock.clone(), ids, options, consume);
    let platform = Platform::on(store.expect("it can be opened"), clock);
    // All commits that only consume are let through.
    assert!(winners(&platform, &platform.approved(), 8) > 1);
}

/// Something that a test wants done, in the middle of the writer.
struct Probe {
    begun: Option<Sender<()>>,
    go_on: Option<std::sync::Mutex<Receiver<()>>>,
    key: &'static str,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Keeps,
    Undoes,
    Fails,
    Panics,
}

impl Probe {
    fn that(key: &'static str, end: End) -> Self {
        Self { begun: None, go_on: None, key, end }
    }
}

impl Transaction for Probe {
    type Output = End;

    fn mode(&self) -> Mode {
        Mode::Write
    }

    async fn run<S: Session>(&self, session: &mut S) -> Result<Done<End>, SqlError> {
        if let Some(begun) = &self.begun {
            begun.send(()).expect("the test waits");
        }
        if let Some(go_on) = &self.go_on {
            go_on.lock().expect("nobody else has it").recv().expect("the test lets it go on");
        }
        let parameters = [Value::Id(TEAM), Value::Text(self.key.to_owned())];
        const WRITE: &str = "INSERT INTO vault (team, env, key, value) VALUES ($1, 'staging', $2, 'written')";
        session.execute(WRITE, &parameters).await?;
        match self.end {
            End::Keeps => Ok(Done::Commit(End::Keeps)),
            End::Undoes => Ok(Done::Rollback(End::Undoes)),
            End::Fails => Err(SqlError::failed("any cause")),
            End::Panics => panic!("a panic that the test asked for"),
        }
    }
}

fn is_written(store: &SqliteStore, key: &str) -> bool {
    block_on(store.vault(TEAM, &environment("staging"), key)).expect("nothing fails").is_some()
}

#[test]
fn works_that_are_committed_together_end_each_in_its_own_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let platform = Platform::at(&dir.path().join("gate.db"), SqliteOptions::default());
    let before = platform.store.engine().commits();
    let ends = together(
        &platform,
        &[
            ("kept", End::Keeps),
            ("undone", End::Undoes),
            ("failed", End::Fails),
            ("panicked", End::Panics),
            ("kept, too", End::Keeps),
        ],
    );
    assert!(matches!(ends.as_slice(), [Ok(End::Keeps), Ok(End::Undoes), Err(_), Err(_), Ok(End::Keeps)]));
    let causes: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(causes.iter().all(|error| error.kind() == StoreErrorKind::NotApplied), "{causes:?}");
    assert_eq!(Causes(causes[1]).to_string(), "the store failed and nothing changed: the work panicked");
    // The work that held up the writer, and then all of these together.
    assert_eq!(platform.store.engine().commits() - before, 2);
    for (key, written) in [
        ("first", true),
        ("kept", true),
        ("undone", false),
        ("failed", false),
        ("panicked", false),
        ("kept, too", true),
    ] {
        assert_eq!(is_written(&platform.store, key), written, "{key}");
    }
}

/// Has the writer wait until all of these are queued.
fn together(platform: &Platform, works: &[(&'static str, End)]) -> Vec<Result<End, StoreError>> {
    let engine = platform.store.engine();
    let ((begun, has_begun), (let_go_on, go_on)) = (channel(), channel());
    let first = Probe { begun: Some(begun), go_on: Some(go_on.into()), ..Probe::that("first", End::Keeps) };
    block_on(async {
        // Polled once, a work is queued.
        let mut first = std::pin::pin!(engine.perform(first));
        assert!(poll_once(first.as_mut()).await.is_none());
        has_begun.recv().expect("the writer has it");
        let mut rest: Vec<_> =
            works.iter().map(|(key, end)| Box::pin(engine.perform(Probe::that(key, *end)))).collect();
        for work in &mut rest {
            assert!(poll_once(work.as_mut()).await.is_none());
        }
        let_go_on.send(()).expect("the writer waits");
        first.await.expect("nothing fails");
        let mut ends = Vec::new();
        for work in rest {
            ends.push(work.await);
        }
        ends
    })
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[test]
fn a_read_that_begins_after_an_answer_has_what_was_answered() {
    let dir = tempfile::tempdir().expect("a folder");
    let platform = Platform::at(&dir.path().join("gate.db"), SqliteOptions::default());
    let staging = environment("staging");
    scope(|threads| {
        for name in ["a", "b", "c"] {
            let (store, staging) = (&platform.store, &staging);
            threads.spawn(move || {
                for value in 0..50 {
                    let value = value.to_string();
                    block_on(store.put_vault(TEAM, staging, name, &value)).expect("nothing fails");
                    let read = block_on(store.vault(TEAM, staging, name)).expect("nothing fails");
                    assert_eq!(read, Some(value));
                }
            });
        }
    });
}

#[test]
fn a_store_that_is_dropped_finishes_what_was_sent_to_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("gate.db");
    let Platform { store, clock, .. } = Platform::at(&path, SqliteOptions::default());
    let store = Arc::new(store);
    let ((begun, has_begun), (let_go_on, go_on)) = (channel(), channel());
    let first = Probe { begun: Some(begun), go_on: Some(go_on.into()), ..Probe::that("first", End::Keeps) };
    block_on(async {
        // Their callers have gone away since.
        assert!(poll_once(std::pin::pin!(store.engine().perform(first))).await.is_none());
        has_begun.recv().expect("the writer has it");
        let last = Probe::that("last", End::Keeps);
        assert!(poll_once(std::pin::pin!(store.engine().perform(last))).await.is_none());
    });
    let dropping = spawn(move || drop(store));
    let_go_on.send(()).expect("the writer waits");
    dropping.join().expect("no panic");
    assert!(!path.with_extension("db-wal").exists(), "the log was emptied");
    let store = open(&path, &clock, SqliteOptions::default()).expect("it is there");
    assert!(is_written(&store, "first") && is_written(&store, "last"));
}
