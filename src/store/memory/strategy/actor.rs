//! One thread owns all records; callers send it requests, so that changes never overlap.
//!
//! ```text
//!  caller ──question──▶ ┌ queue ┐ ──▶ ┌ owner's thread ──┐
//!  caller ◀──answer──── └───────┘ ◀── │ id ─▶ record     │
//!                                     └──────────────────┘
//! ```
//!
//! A caller judges, then asks the owner to swap the judged record. If the record has changed since, the caller judges
//! again. The queue's lock orders requests and replies: there is no atomic with an ordering to get wrong.

use std::{collections::VecDeque, sync::Arc};

use uuid::Uuid;

use super::{
    Record, Strategy,
    hash::IdMap,
    sync::{Monitor, Primitives, Std},
};
use crate::protocol::{ApprovalState, Refusal, Status, Timestamp};

/// See the module.
pub struct Actor<P: Primitives = Std> {
    mailbox: Arc<Mailbox<P>>,
    owner: Option<P::Thread>,
}

struct Mailbox<P: Primitives> {
    /// The owner waits for it to change.
    queue: P::Monitor<Queue<P>>,
}

struct Queue<P: Primitives> {
    questions: VecDeque<(Question, Reply<P>)>,
    closed: bool,
}

/// Where one caller waits for one reply.
type Reply<P> = Arc<<P as Primitives>::Monitor<Option<Answer>>>;

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
        let queue = Queue { questions: VecDeque::new(), closed: false };
        let mailbox = Arc::new(Mailbox { queue: Monitor::new(queue) });
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
        while let Some((question, reply)) = self.next() {
            *reply.lock() = Some(answer(&mut records, question));
            reply.notify_all();
        }
    }

    /// The next request; `None` once all senders are gone.
    fn next(&self) -> Option<(Question, Reply<P>)> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(question) = queue.questions.pop_front() {
                return Some(question);
            }
            if queue.closed {
                return None;
            }
            queue = self.queue.wait(queue);
        }
    }

    fn ask(&self, question: Question) -> Answer {
        let reply: Reply<P> = Arc::new(Monitor::new(None));
        self.queue.lock().questions.push_back((question, Arc::clone(&reply)));
        self.queue.notify_all();
        let mut answer = reply.lock();
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            answer = reply.wait(answer);
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
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        loop {
            let judged = self.read(id)?;
            let status = match judge(judged.standing) {
                Ok(status) => status,
                Err(refusal) => return Some(Err(refusal)),
            };
            let new = Record { standing: ApprovalState { status, ..judged.standing }, changed_at: now };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_thread_ends_with_the_actor() {
        let actor = Actor::<Std>::default();
        let mailbox = Arc::downgrade(&actor.mailbox);
        drop(actor);
        assert!(mailbox.upgrade().is_none(), "the owner still has it");
    }
}
