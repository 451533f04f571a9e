//! The state of one connection: which unit the client builds, which ones wait, which ones the database works on.
//!
//! Sans I/O: bytes that arrived are consumed, bytes to be written are appended.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use bytes::BytesMut;

use crate::proxy::{
    Command, Event, Mode, Shared, decode, lock,
    statement::{Answer, Parameter, SqlError, Statement, StatementResult, TransactionStatus},
    wire::{self, Fields, Message},
};

/// An answer that grows larger is relayed as it comes.
const MOST_COLLECTED: usize = 8 << 20;
/// Number of waiting units at which receiving stops.
const MOST_QUEUED: usize = 10_000;

struct Prepared {
    sql: Arc<str>,
    types: Vec<u32>,
    /// The number of its unit.
    unit: u64,
}

/// Last message of a unit, which also ends its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// With a Sync or a query; the answer with ReadyForQuery.
    #[default]
    Sync,
    /// With a Flush; the answer with the result of the last statement, or an error.
    Flush,
    /// With a Flush, and executes nothing; its answer is relayed as it comes.
    Early,
}

#[derive(Default)]
struct Unit {
    number: u64,
    bytes: BytesMut,
    statements: Vec<Statement>,
    /// Prepared statements whose parameter types were requested.
    described: VecDeque<String>,
    end: End,
    gated: bool,
    reported: bool,
    released: bool,
}

struct InFlight {
    number: u64,
    executes: usize,
    described: VecDeque<String>,
    end: End,
    gated: bool,
    /// Relay the answer as it comes, rather than when it is complete.
    streams: bool,
    collected: BytesMut,
    answer: Answer,
    rows: u64,
}

pub(super) struct Relay<'a> {
    id: u64,
    shared: &'a Shared,
    pub(super) from_client: BytesMut,
    pub(super) from_server: BytesMut,
    pub(super) to_client: BytesMut,
    pub(super) to_server: BytesMut,
    authenticated: bool,
    prepared: BTreeMap<String, Prepared>,
    portals: BTreeMap<String, Statement>,
    unit: Unit,
    queue: VecDeque<Unit>,
    in_flight: VecDeque<InFlight>,
    early_described: VecDeque<String>,
    undelivered: Option<BytesMut>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(id: u64, shared: &'a Shared, from_client: BytesMut) -> Self {
        Self {
            id,
            shared,
            from_client,
            from_server: BytesMut::new(),
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            authenticated: false,
            prepared: BTreeMap::new(),
            portals: BTreeMap::new(),
            unit: Unit::default(),
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            early_described: VecDeque::new(),
            undelivered: None,
        }
    }

    /// True if there is room for more of the client's bytes.
    pub(super) fn may_receive(&self, most: usize) -> bool {
        self.to_server.len() < most && self.queue.len() < MOST_QUEUED
    }

    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Release => {
                if let Some(unit) = self.queue.front_mut() {
                    unit.released = true;
                }
            }
            Command::Deliver => self.deliver(),
            Command::Open => {
                self.queue.iter_mut().for_each(|unit| unit.gated = false);
                for unit in &mut self.in_flight {
                    unit.gated = false;
                    unit.streams = true;
                    self.to_client.unsplit(unit.collected.split());
                }
                self.deliver();
            }
            // The surrounding loop ends by itself.
            Command::Cut => {}
        }
        self.dispatch();
    }

    fn deliver(&mut self) {
        if let Some(bytes) = self.undelivered.take() {
            self.to_client.unsplit(bytes);
        }
    }

    /// Consumes the complete messages that the client has sent.
    pub(super) fn client_sent(&mut self) -> io::Result<()> {
        while let Some(Message { kind, len, .. }) = wire::first_message(&self.from_client)? {
            if !self.authenticated && !matches!(kind, b'p' | b'X') {
                break;
            }
            let bytes = self.from_client.split_to(len);
            match kind {
                // Authentication, and data of a running COPY.
                b'p' | b'd' | b'c' | b'f' => self.to_server.unsplit(bytes),
                _ => {
                    self.note(kind, &bytes[5..]);
                    self.unit.bytes.unsplit(bytes);
                    match kind {
                        b'Q' | b'F' | b'S' => self.unit_ends(End::Sync),
                        b'H' if self.unit.statements.is_empty() => self.unit_ends(End::Early),
                        b'X' => self.unit_ends(End::Early),
                        b'H' => self.unit_ends(End::Flush),
                        _ => {}
                    }
                }
            }
        }
        self.dispatch();
        Ok(())
    }

    /// Remembers what a message of the client says. What is malformed is left to the database to refuse.
    fn note(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        let mut fields = Fields(body);
        match kind {
            b'Q' => self.unit.statements.push(Statement { sql: fields.string()?, parameters: Vec::new() }),
            b'F' => {
                let function = fields.u32()?;
                let sql = format!("/* function call {function} */");
                self.unit.statements.push(Statement { sql, parameters: Vec::new() });
            }
            b'P' => {
                let (name, sql) = (fields.string()?, fields.string()?);
                let count = fields.u16()?;
                let types = (0..count).map(|_| fields.u32()).collect::<Option<_>>()?;
                let unit = self.unit.number;
                self.prepared.insert(name, Prepared { sql: sql.into(), types, unit });
            }
            b'B' => {
                let (portal, name) = (fields.string()?, fields.string()?);
                // SQL prepares statements, too, whose texts are not known here.
                let statement = if self.prepared.contains_key(&name) {
                    self.bound(&name, &mut fields)?
                } else {
                    Statement { sql: format!("EXECUTE \"{name}\""), parameters: Vec::new() }
                };
                self.portals.insert(portal, statement);
            }
            b'E' => {
                let portal = fields.string()?;
                let cursor = || Statement { sql: format!("FETCH \"{portal}\""), parameters: Vec::new() };
                let statement = self.portals.get(&portal).cloned().unwrap_or_else(cursor);
                self.unit.statements.push(statement);
            }
            b'C' => match (fields.u8()?, fields.string()?) {
                (b'S', name) => drop(self.prepared.remove(&name)),
                (_, portal) => drop(self.portals.remove(&portal)),
            },
            b'D' if fields.u8()? == b'S' => self.unit.described.push_back(fields.string()?),
            _ => {}
        }
        Some(())
    }

    fn bound(&self, name: &str, fields: &mut Fields<'_>) -> Option<Statement> {
        let prepared = self.prepared.get(name)?;
        let formats: Vec<_> = (0..fields.u16()?).map(|_| fields.u16()).collect::<Option<_>>()?;
        let mut parameters = Vec::new();
        for index in 0..usize::from(fields.u16()?) {
            let Ok(length) = usize::try_from(fields.i32()?) else {
                parameters.push(Parameter::Null);
                continue;
            };
            let bytes = fields.take(length)?;
            let format = match formats.as_slice() {
                [] => 0,
                [all] => *all,
                each => *each.get(index)?,
            };
            parameters.push(match format {
                0 => Parameter::Text(String::from_utf8_lossy(bytes).into_owned()),
                _ => decode::binary(prepared.types.get(index).copied().unwrap_or(0), bytes),
            });
        }
        Some(Statement { sql: prepared.sql.to_string(), parameters })
    }

    fn unit_ends(&mut self, end: End) {
        let next = Unit { number: self.unit.number + 1, ..Unit::default() };
        let mut unit = std::mem::replace(&mut self.unit, next);
        unit.end = end;
        // An empty statement, with which a pool tests a connection, is ignored.
        let says_something = unit.statements.iter().any(|statement| !statement.sql.trim().is_empty());
        unit.gated = self.shared.mode() == Mode::Hold && says_something;
        self.queue.push_back(unit);
    }

    /// Sends what may be sent.
    fn dispatch(&mut self) {
        while let Some(unit) = self.queue.front_mut() {
            if self.undelivered.is_some() || self.in_flight.iter().any(|before| before.gated) {
                break;
            }
            if unit.gated {
                if !self.in_flight.is_empty() {
                    break;
                }
                if !unit.reported {
                    unit.reported = true;
                    let statements = unit.statements.clone();
                    self.shared.report(Event::Arrived { connection: self.id, statements });
                }
                if !unit.released {
                    break;
                }
            }
            if let Some(unit) = self.queue.pop_front() {
                self.send(unit);
            }
        }
    }

    fn send(&mut self, mut unit: Unit) {
        self.to_server.unsplit(unit.bytes);
        if unit.end == End::Early {
            self.early_described.append(&mut unit.described);
            return;
        }
        let executes = unit.statements.len();
        if !unit.gated && executes > 0 && self.shared.mode() == Mode::Record {
            self.shared.report(Event::Arrived { connection: self.id, statements: unit.statements });
        }
        self.in_flight.push_back(InFlight {
            number: unit.number,
            executes,
            described: unit.described,
            end: unit.end,
            gated: unit.gated,
            streams: !unit.gated,
            collected: BytesMut::new(),
            answer: Answer { results: Vec::new(), error: None, transaction: None },
            rows: 0,
        });
    }

    /// Consumes the complete messages that the database has sent.
    pub(super) fn server_sent(&mut self) -> io::Result<()> {
        while let Some(Message { kind, len, .. }) = wire::first_message(&self.from_server)? {
            let bytes = self.from_server.split_to(len);
            if self.authenticated {
                self.answered(kind, bytes);
            } else {
                self.authenticates(kind, bytes)?;
            }
        }
        self.dispatch();
        Ok(())
    }

    /// A message that belongs to the start of the connection.
    fn authenticates(&mut self, kind: u8, bytes: BytesMut) -> io::Result<()> {
        let mut fields = Fields(&bytes[5..]);
        match (kind, fields.u32()) {
            (b'K', Some(process)) => {
                if let Some(entry) = lock(&self.shared.entries).get_mut(&self.id) {
                    entry.backend = Some(process.cast_signed());
                }
            }
            (b'R', Some(10)) if self.shared.upstream.is_encrypted() => {
                let unbound = without_channel_binding(fields);
                self.to_client.extend_from_slice(&unbound);
                return Ok(());
            }
            _ => {}
        }
        self.to_client.unsplit(bytes);
        if kind == b'Z' {
            self.authenticated = true;
            self.client_sent()?;
        }
        Ok(())
    }

    fn answered(&mut self, kind: u8, bytes: BytesMut) {
        let body = &bytes[5..];
        let Some(unit) = self.in_flight.front_mut() else {
            if kind == b't' {
                let name = self.early_described.pop_front();
                self.types_are_known(name, body);
            }
            self.to_client.unsplit(bytes);
            return;
        };
        match kind {
            b'D' => unit.rows += 1,
            b'C' => {
                let result = StatementResult::of(Fields(body).string().unwrap_or_default());
                if matches!(result.tag.as_str(), "DEALLOCATE ALL" | "DISCARD ALL") {
                    // What was prepared since then, and the statement without a name, stay.
                    let number = unit.number;
                    self.prepared.retain(|name, prepared| name.is_empty() || prepared.unit > number);
                }
                unit.answer.results.push(result);
                unit.rows = 0;
            }
            b'I' => unit.answer.results.push(StatementResult { tag: String::new(), rows: None }),
            b's' => {
                let tag = format!("SELECT {} (more follow)", unit.rows);
                unit.answer.results.push(StatementResult { tag, rows: Some(unit.rows) });
                unit.rows = 0;
            }
            b'E' => {
                let (code, message) = wire::error_fields(body);
                unit.answer.error.get_or_insert(SqlError { code, message });
                unit.described.clear();
                self.early_described.clear();
            }
            b't' => {
                let name = self.early_described.pop_front().or_else(|| unit.described.pop_front());
                self.types_are_known(name, body);
            }
            b'Z' => {
                unit.answer.transaction = body.first().and_then(|status| match status {
                    b'I' => Some(TransactionStatus::Idle),
                    b'T' => Some(TransactionStatus::Open),
                    b'E' => Some(TransactionStatus::Failed),
                    _ => None,
                });
            }
            // The client has to act before the answer is complete.
            b'G' | b'W' => unit.streams = true,
            _ => {}
        }
        let Some(unit) = self.in_flight.front_mut() else { return };
        unit.collected.unsplit(bytes);
        if unit.streams || unit.collected.len() > MOST_COLLECTED {
            unit.streams = true;
            self.to_client.unsplit(unit.collected.split());
        }
        let is_complete = match unit.end {
            End::Sync | End::Early => kind == b'Z',
            End::Flush => unit.answer.error.is_some() || unit.answer.results.len() >= unit.executes,
        };
        if is_complete && let Some(unit) = self.in_flight.pop_front() {
            self.completed(unit);
        }
    }

    fn completed(&mut self, unit: InFlight) {
        if unit.gated {
            self.undelivered = Some(unit.collected);
        }
        if unit.executes > 0 && (unit.gated || self.shared.mode() == Mode::Record) {
            self.shared.report(Event::Answered { connection: self.id, answer: unit.answer });
        }
        self.dispatch();
    }

    /// The database has said what types a prepared statement's parameters have.
    fn types_are_known(&mut self, name: Option<String>, body: &[u8]) {
        let mut fields = Fields(body);
        let types = fields.u16().and_then(|count| (0..count).map(|_| fields.u32()).collect());
        if let Some(prepared) = name.and_then(|name| self.prepared.get_mut(&name))
            && let Some(types) = types
        {
            prepared.types = types;
        }
    }
}

/// The list of SASL mechanisms without those that bind to TLS: the service's side has none, and libpq would take the
/// offer for an attack.
fn without_channel_binding(mut mechanisms: Fields<'_>) -> Vec<u8> {
    let mut body = 10u32.to_be_bytes().to_vec();
    while let Some(mechanism) = mechanisms.string().filter(|mechanism| !mechanism.is_empty()) {
        if !mechanism.ends_with("-PLUS") {
            body.extend(mechanism.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let mut bytes = Vec::new();
    wire::write_message(&mut bytes, b'R', &body);
    bytes
}
