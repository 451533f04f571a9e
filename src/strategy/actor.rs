//! One thread owns all records, and everybody else asks it: no two changes ever meet.
//!
//! ```text
//!  caller ──question──▶ ┌ queue ┐ ──▶ ┌ owner's thread ──┐
//!  caller ◀──answer──── └───────┘ ◀── │ id ─▶ record     │
//!                                     └──────────────────┘
//! ```
//!
//! A caller judges by itself, and asks the owner to swap what it has judged. The owner looks again: if the record is
//! another one by now, the caller judges anew. The queue's lock orders questions and answers: there is no atomic whose
//! ordering could be wrong.

use std::{collections::VecDeque, sync::Arc};

use uuid::Uuid;

use super::{
    Record, Strategy,
    index::IdMap,
    sync::{Monitor, Primitives, Std},
};
use crate::protocol::{Refusal, Standing, Status, Timestamp};

/// See the module.
pub struct Actor<P: Primitives = Std> {
    mailbox: Arc<Mailbox<P>>,
    owner: Option<P::Thread>,
}

struct Mailbox<P: Primitives> {
    /// Its waiters are woken when somebody asked or was answered.
    queue: P::Monitor<Queue>,
}

#[derive(Default)]
struct Queue {
    questions: VecDeque<(u64, Question)>,
    answers: Vec<(u64, Answer)>,
    next_ticket: u64,
    closed: bool,
}

enum Question {
    Insert(Uuid, Record),
    Read(Uuid),
    Swap { id: Uuid, judged: Record, new: Record },
    All,
}

enum Answer {
    Done,
    Record(Option<Record>),
    Swapped(bool),
    All(Vec<(Uuid, Record)>),
}

impl<P: Primitives> Default for Actor<P> {
    fn default() -> Self {
        let mailbox = Arc::new(Mailbox { queue: Monitor::new(Queue::default()) });
        let owner = P::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.own()
        });
        Self { mailbox, owner: Some(owner) }
    }
}

impl<P: Primitives> Mailbox<P> {
    /// The owner's life.
    fn own(&self) {
        let mut records = IdMap::default();
        let mut queue = self.queue.lock();
        loop {
            if let Some((ticket, question)) = queue.questions.pop_front() {
                let answer = answer(&mut records, question);
                queue.answers.push((ticket, answer));
                self.queue.notify_all();
            } else if queue.closed {
                return;
            } else {
                queue = self.queue.wait(queue);
            }
        }
    }

    fn ask(&self, question: Question) -> Answer {
        let mut queue = self.queue.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.questions.push_back((ticket, question));
        self.queue.notify_all();
        loop {
            if let Some(place) = queue.answers.iter().position(|(other, _)| *other == ticket) {
                return queue.answers.swap_remove(place).1;
            }
            queue = self.queue.wait(queue);
        }
    }
}

fn answer(records: &mut IdMap<Record>, question: Question) -> Answer {
    match question {
        Question::Insert(id, record) => {
            records.insert(id, record);
            Answer::Done
        }
        Question::Read(id) => Answer::Record(records.get(&id).copied()),
        Question::Swap { id, judged, new } => match records.get_mut(&id) {
            // The second look: what was judged must still be there.
            Some(record) if *record == judged => {
                *record = new;
                Answer::Swapped(true)
            }
            _ => Answer::Swapped(false),
        },
        Question::All => Answer::All(records.iter().map(|(id, record)| (*id, *record)).collect()),
    }
}

impl<P: Primitives> Drop for Actor<P> {
    fn drop(&mut self) {
        self.mailbox.queue.lock().closed = true;
        self.mailbox.queue.notify_all();
        if let Some(owner) = self.owner.take() {
            P::join(owner);
        }
    }
}

impl<P: Primitives> Strategy for Actor<P> {
    const NAME: &'static str = "actor";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.mailbox.ask(Question::Insert(id, record));
        id
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        match self.mailbox.ask(Question::Read(id)) {
            Answer::Record(record) => record,
            Answer::Done | Answer::Swapped(_) | Answer::All(_) => {
                unreachable!("the answer is to its question")
            }
        }
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(Standing) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        loop {
            let judged = self.read(id)?;
            let status = match judge(judged.standing) {
                Ok(status) => status,
                Err(refusal) => return Some(Err(refusal)),
            };
            let new = Record { standing: Standing { status, ..judged.standing }, changed_at: now };
            if let Answer::Swapped(true) = self.mailbox.ask(Question::Swap { id, judged, new }) {
                return Some(Ok(status));
            }
        }
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        if let Answer::All(records) = self.mailbox.ask(Question::All) {
            records.into_iter().for_each(|(id, record)| visit(id, record));
        }
    }
}
