//! A database in memory that speaks enough of PostgreSQL's protocol: transactions, row locks, `pg_blocking_pids`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Long enough for two statements that were released together to overlap.
const WORK: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Row {
    committed: Option<String>,
    written: Option<String>,
    locked_by: Option<i32>,
}

#[derive(Default)]
struct Data {
    cards: BTreeMap<String, Row>,
    /// Code, and the process that has not committed it yet.
    ledger: Vec<(String, Option<i32>)>,
    other: Vec<String>,
    waits_for: BTreeMap<i32, i32>,
    working: usize,
    most_working: usize,
}

/// The database; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    data: Arc<Mutex<Data>>,
    unlocked: Arc<Notify>,
}

enum Done {
    Tag(String),
    Rows(Vec<Vec<String>>),
}

impl Fake {
    /// Serves on a port of 127.0.0.1 until the runtime ends.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let fake = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = fake.clone();
        tokio::spawn(async move {
            for pid in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let fake = served.clone();
                tokio::spawn(async move {
                    fake.serve(stream, pid).await.ok();
                    fake.end(pid, false);
                });
            }
        });
        (fake, address)
    }

    /// One card that was not redeemed, and an empty ledger.
    pub(crate) fn reset(&self, code: &str) {
        let mut data = self.lock();
        data.cards = BTreeMap::from([(
            code.to_owned(),
            Row { committed: Some("active".to_owned()), ..Row::default() },
        )]);
        data.ledger.clear();
        data.other.clear();
        data.most_working = 0;
    }

    /// Number of payouts of the card.
    pub(crate) fn payouts(&self) -> usize {
        self.lock().ledger.iter().filter(|(_, writer)| writer.is_none()).count()
    }

    /// The most statements that were worked on at a time since the reset, without those that waited for a lock.
    pub(crate) fn most_working(&self) -> usize {
        self.lock().most_working
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }

    async fn serve(&self, mut stream: TcpStream, pid: i32) -> std::io::Result<()> {
        let length = stream.read_u32().await?;
        let mut startup = vec![0; length as usize - 4];
        stream.read_exact(&mut startup).await?;
        let mut hello = message(b'R', &0u32.to_be_bytes());
        hello.extend(message(b'K', &[pid.to_be_bytes(), [0; 4]].concat()));
        hello.extend(message(b'Z', b"I"));
        stream.write_all(&hello).await?;
        let mut in_transaction = false;
        loop {
            let kind = stream.read_u8().await?;
            let length = stream.read_u32().await?;
            let mut body = vec![0; length as usize - 4];
            stream.read_exact(&mut body).await?;
            if kind != b'Q' {
                return Ok(());
            }
            let sql = String::from_utf8_lossy(&body[..body.len() - 1]).into_owned();
            let done = self.execute(&sql, pid, &mut in_transaction).await;
            let mut answer = Vec::new();
            match done {
                Done::Tag(tag) => answer.extend(message(b'C', &[tag.as_bytes(), &[0]].concat())),
                Done::Rows(rows) => {
                    let columns = rows.first().map_or(1, Vec::len);
                    let mut description = u16::try_from(columns).unwrap().to_be_bytes().to_vec();
                    for _ in 0..columns {
                        description.extend(b"c\0");
                        description.extend([
                            0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
                        ]);
                    }
                    answer.extend(message(b'T', &description));
                    for row in &rows {
                        let mut body = u16::try_from(row.len()).unwrap().to_be_bytes().to_vec();
                        for value in row {
                            body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                            body.extend(value.as_bytes());
                        }
                        answer.extend(message(b'D', &body));
                    }
                    answer.extend(message(b'C', format!("SELECT {}\0", rows.len()).as_bytes()));
                }
            }
            answer.extend(message(b'Z', if in_transaction { b"T" } else { b"I" }));
            stream.write_all(&answer).await?;
        }
    }

    async fn execute(&self, sql: &str, pid: i32, in_transaction: &mut bool) -> Done {
        if let Some(answer) = self.catalog(sql) {
            return Done::Rows(answer);
        }
        {
            let mut data = self.lock();
            data.working += 1;
            data.most_working = data.most_working.max(data.working);
        }
        tokio::time::sleep(WORK).await;
        // The tag of the request is a comment.
        let text = sql.split("*/").last().unwrap_or_default().trim();
        let words: Vec<_> = text.split([' ', '\'', '(', ')']).filter(|word| !word.is_empty()).collect();
        let done = match words.as_slice() {
            ["BEGIN"] => {
                *in_transaction = true;
                Done::Tag("BEGIN".to_owned())
            }
            [end @ ("COMMIT" | "ROLLBACK")] => {
                *in_transaction = false;
                self.end(pid, *end == "COMMIT");
                Done::Tag((*end).to_owned())
            }
            ["SELECT", "state", "FROM", "cards", "WHERE", "code", "=", code, "FOR", "UPDATE"] => {
                self.lock_row(code, pid).await;
                Done::Rows(vec![vec![self.state(code, pid)]])
            }
            ["SELECT", "state", "FROM", "cards", "WHERE", "code", "=", code] => {
                Done::Rows(vec![vec![self.state(code, pid)]])
            }
            ["UPDATE", "cards", "SET", "state", "=", new, "WHERE", "code", "=", code, rest @ ..] => {
                self.lock_row(code, pid).await;
                let matches = match rest {
                    ["AND", "state", "=", old] => self.state(code, pid) == *old,
                    _ => true,
                };
                if matches && let Some(row) = self.lock().cards.get_mut(*code) {
                    row.written = Some((*new).to_owned());
                }
                Done::Tag(format!("UPDATE {}", u8::from(matches)))
            }
            ["INSERT", "INTO", "ledger", "code", "VALUES", code] => {
                self.lock().ledger.push(((*code).to_owned(), Some(pid)));
                Done::Tag("INSERT 0 1".to_owned())
            }
            ["INSERT", "INTO", table, "code", "VALUES", _] => {
                self.lock().other.push((*table).to_owned());
                Done::Tag("INSERT 0 1".to_owned())
            }
            _ => panic!("the fake does not know `{sql}`"),
        };
        self.lock().working -= 1;
        if !*in_transaction {
            self.end(pid, true);
        }
        done
    }

    async fn lock_row(&self, code: &str, pid: i32) {
        let mut waited = false;
        loop {
            let unlocked = self.unlocked.notified();
            {
                let mut data = self.lock();
                let holder =
                    data.cards.get(code).and_then(|row| row.locked_by).filter(|holder| *holder != pid);
                let Some(holder) = holder else {
                    if let Some(row) = data.cards.get_mut(code) {
                        row.locked_by = Some(pid);
                    }
                    data.waits_for.remove(&pid);
                    data.working += usize::from(waited);
                    return;
                };
                data.waits_for.insert(pid, holder);
                data.working -= usize::from(!waited);
                waited = true;
            }
            unlocked.await;
        }
    }

    fn state(&self, code: &str, pid: i32) -> String {
        let data = self.lock();
        let row = data.cards.get(code);
        let own = row.filter(|row| row.locked_by == Some(pid)).and_then(|row| row.written.clone());
        own.or_else(|| row.and_then(|row| row.committed.clone())).unwrap_or_default()
    }

    /// Ends what the process has begun.
    fn end(&self, pid: i32, commits: bool) {
        let mut data = self.lock();
        for row in data.cards.values_mut().filter(|row| row.locked_by == Some(pid)) {
            let written = row.written.take();
            if commits && written.is_some() {
                row.committed = written;
            }
            row.locked_by = None;
        }
        if commits {
            data.ledger
                .iter_mut()
                .filter(|(_, writer)| *writer == Some(pid))
                .for_each(|entry| entry.1 = None);
        } else {
            data.ledger.retain(|(_, writer)| *writer != Some(pid));
        }
        // A waiting process finds the lock free, rather than its old holder.
        data.waits_for.retain(|_, holder| *holder != pid);
        drop(data);
        self.unlocked.notify_waiters();
    }

    fn catalog(&self, sql: &str) -> Option<Vec<Vec<String>>> {
        let rows = |rows: &[&[&str]]| {
            Some(rows.iter().map(|row| row.iter().map(|value| (*value).to_owned()).collect()).collect())
        };
        if let Some(pid) = sql.strip_prefix("SELECT pg_blocking_pids(") {
            let pid: i32 = pid.trim_end_matches(')').parse().unwrap();
            let blocking = self.lock().waits_for.get(&pid).map(ToString::to_string).unwrap_or_default();
            return rows(&[&[&format!("{{{blocking}}}")]]);
        }
        match sql.split("*/").next().unwrap_or_default().trim() {
            "/* relations" => rows(&[&["cards", "f"], &["ledger", "f"], &["log_0", "f"], &["log_1", "f"]]),
            "/* columns" => rows(&[
                &["cards", "code", "text", "t"],
                &["cards", "state", "text", "t"],
                &["ledger", "code", "text", "t"],
            ]),
            "/* foreign keys" | "/* unique" | "/* functions" | "/* isolation" => rows(&[]),
            _ => None,
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}
