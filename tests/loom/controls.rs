//! Must-fail controls: strategies that are broken on purpose, each caught by the scenario that its name says.

#![expect(unsafe_code, reason = "one of the broken strategies follows a pointer, as the sound one does")]

use std::{
    cell::Cell,
    marker::PhantomData,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use countersign::{
    protocol::{ApprovalState, Digest, Guards, Refusal, Status, Timestamp},
    store::memory::strategy::{
        Record, Strategy, consume,
        sync::{Monitor, Mutex, Pointer, Primitives, Word},
    },
};
use libtest_mimic::{Failed, Trial};
use uuid::Uuid;

use crate::{
    explore,
    primitives::{Loom, LoomMonitor, LoomMutex, LoomPointer, LoomThread, LoomWord},
    scenarios::{an_insertion_and_a_reader, two_consumers},
};

type Judged = Option<Result<Status, Refusal>>;

/// Runs the judgement, or leaves with its refusal.
macro_rules! judged {
    ($judge:expr, $standing:expr) => {
        match $judge($standing) {
            Ok(status) => status,
            Err(refusal) => return Some(Err(refusal)),
        }
    };
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        caught("check_then_act_under_a_lock_is_caught_by_two_consumers", "times", || {
            two_consumers::<CheckThenAct>()
        }),
        caught("load_then_store_is_caught_by_two_consumers", "times", || {
            two_consumers::<OneWord<LoadThenStore>>()
        }),
        caught("an_expected_value_that_is_read_again_is_caught_by_two_consumers", "times", || {
            two_consumers::<OneWord<ExpectedReadAgain>>()
        }),
        caught("a_pointer_store_instead_of_a_swap_is_caught_by_two_consumers", "times", || {
            two_consumers::<PointerStore>()
        }),
        caught("an_actor_that_does_not_look_again_is_caught_by_two_consumers", "times", || {
            two_consumers::<HastyActor>()
        }),
        caught("a_relaxed_publish_is_caught_by_an_insertion_and_a_reader", "half a record", || {
            an_insertion_and_a_reader::<OneWord<RelaxedPublish>>()
        }),
        caught("a_relaxed_observe_is_caught_by_an_insertion_and_a_reader", "half a record", || {
            an_insertion_and_a_reader::<OneWord<RelaxedObserve>>()
        }),
        Trial::test("the_sound_one_word_strategy_is_not_caught", || {
            explore(None, two_consumers::<OneWord<Sound>>);
            explore(None, an_insertion_and_a_reader::<OneWord<Sound>>);
            Ok(())
        }),
        Trial::test("a_weak_exchange_without_retry_is_caught_by_a_spurious_failure", weak_exchange),
    ]
}

thread_local! {
    /// Set while a control runs: its panics are the expected result, and are not printed.
    static PANICS_ARE_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Leaves out the message of an expected panic; any other is printed as before.
fn silence_expected_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !PANICS_ARE_EXPECTED.get() {
                print(info);
            }
        }));
    });
}

/// Expects loom to find the fault, and its message to contain `complaint`.
pub(crate) fn caught(
    name: &'static str,
    complaint: &'static str,
    scenario: impl Fn() -> String + Copy + Send + Sync + 'static,
) -> Trial {
    Trial::test(name, move || {
        silence_expected_panics();
        PANICS_ARE_EXPECTED.set(true);
        let found = catch_unwind(AssertUnwindSafe(|| explore(None, scenario)));
        PANICS_ARE_EXPECTED.set(false);
        let Err(panic) = found else { return Err(Failed::from("nothing was found")) };
        let said = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        if said.contains(complaint) { Ok(()) } else { Err(format!("found something else: {said}").into()) }
    })
}

/// The common part of three controls: the write ignores the read before it.
fn look_then_write(
    broken: &impl Strategy,
    id: Uuid,
    now: Timestamp,
    judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
) -> Judged {
    let record = broken.read(id)?;
    let status = judged!(judge, record.standing);
    let standing = ApprovalState { status, ..record.standing };
    broken.insert(id, Record { standing, changed_at: now });
    Some(Ok(status))
}

/// Lets go of the lock between the look and the write.
#[derive(Default)]
struct CheckThenAct(Lazy<LoomMutex<Option<Record>>>);

/// Created together with its strategy: loom's types have no default.
struct Lazy<T>(T);

impl Default for Lazy<LoomMutex<Option<Record>>> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl Strategy for CheckThenAct {
    const NAME: &'static str = "check-then-act";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        *self.0.0.lock() = Some(record);
        id
    }

    fn read(&self, _: Uuid) -> Option<Record> {
        *self.0.0.lock()
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Judged {
        look_then_write(self, id, now, judge)
    }

    fn for_each(&self, _: &mut dyn FnMut(Uuid, Record)) {}
}

/// The defect of a strategy with one atomic word and a separate digest.
trait Habit: Send + Sync + 'static {
    const PUBLISH: Ordering = Ordering::Release;
    const OBSERVE: Ordering = Ordering::Acquire;

    /// Writes the new word; whether it was the judged one that it replaced.
    fn swap(word: &LoomWord, judged: u64, new: u64) -> Result<u64, u64> {
        word.compare_exchange(judged, new, Ordering::AcqRel, Ordering::Acquire)
    }
}

struct Sound;
impl Habit for Sound {}

struct LoadThenStore;
impl Habit for LoadThenStore {
    fn swap(word: &LoomWord, judged: u64, new: u64) -> Result<u64, u64> {
        word.store(new, Ordering::Release);
        Ok(judged)
    }
}

struct ExpectedReadAgain;
impl Habit for ExpectedReadAgain {
    fn swap(word: &LoomWord, _: u64, new: u64) -> Result<u64, u64> {
        let again = word.load(Ordering::Acquire);
        word.compare_exchange(again, new, Ordering::AcqRel, Ordering::Acquire)
    }
}

struct RelaxedPublish;
impl Habit for RelaxedPublish {
    const PUBLISH: Ordering = Ordering::Relaxed;
}

struct RelaxedObserve;
impl Habit for RelaxedObserve {
    const OBSERVE: Ordering = Ordering::Relaxed;
}

/// One approval: a word for status and time, and one for all that is written before it.
struct OneWord<H> {
    word: LoomWord,
    expires_at: LoomWord,
    digest: LoomWord,
    habit: PhantomData<H>,
}

impl<H> Default for OneWord<H> {
    fn default() -> Self {
        Self { word: Word::new(0), expires_at: Word::new(0), digest: Word::new(0), habit: PhantomData }
    }
}

fn packed(status: Status, at: Timestamp) -> u64 {
    at.0 << 3 | (status as u64 + 1)
}

impl<H: Habit> OneWord<H> {
    fn record(&self, word: u64) -> Option<Record> {
        let status = *Status::ALL.get((word as usize & 7).checked_sub(1)?)?;
        let digest = Digest([self.digest.load(Ordering::Relaxed) as u8; 32]);
        let expires_at = Timestamp(self.expires_at.load(Ordering::Relaxed));
        Some(Record {
            standing: ApprovalState { status, expires_at, digest },
            changed_at: Timestamp(word >> 3),
        })
    }
}

impl<H: Habit> Strategy for OneWord<H> {
    const NAME: &'static str = "one-word";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.digest.store(record.standing.digest.0[0].into(), Ordering::Relaxed);
        self.expires_at.store(record.standing.expires_at.0, Ordering::Relaxed);
        self.word.store(packed(record.standing.status, record.changed_at), H::PUBLISH);
        id
    }

    fn read(&self, _: Uuid) -> Option<Record> {
        self.record(self.word.load(H::OBSERVE))
    }

    fn update(
        &self,
        _: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Judged {
        let mut seen = self.word.load(H::OBSERVE);
        loop {
            let status = judged!(judge, self.record(seen)?.standing);
            match H::swap(&self.word, seen, packed(status, now)) {
                Ok(_) => return Some(Ok(status)),
                Err(meanwhile) => seen = meanwhile,
            }
        }
    }

    fn for_each(&self, _: &mut dyn FnMut(Uuid, Record)) {}
}

/// Writes the pointer instead of swapping it.
struct PointerStore(LoomPointer<Record>);

impl Default for PointerStore {
    fn default() -> Self {
        Self(Pointer::new(std::ptr::null_mut()))
    }
}

impl Strategy for PointerStore {
    const NAME: &'static str = "pointer-store";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.0.store(Box::leak(Box::new(record)), Ordering::Release);
        id
    }

    fn read(&self, _: Uuid) -> Option<Record> {
        let latest = self.0.load(Ordering::Acquire);
        // SAFETY: null, or leaked by `insert`.
        unsafe { latest.as_ref() }.copied()
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Judged {
        look_then_write(self, id, now, judge)
    }

    fn for_each(&self, _: &mut dyn FnMut(Uuid, Record)) {}
}

/// An owner's thread that writes without reading again.
struct HastyActor {
    mailbox: Arc<LoomMonitor<Mailbox>>,
    owner: Option<LoomThread>,
}

#[derive(Default)]
struct Mailbox {
    told: Vec<Record>,
    record: Option<Record>,
    closed: bool,
}

impl Default for HastyActor {
    fn default() -> Self {
        let mailbox = Arc::new(<LoomMonitor<_> as Monitor<_>>::new(Mailbox::default()));
        let owner = Loom::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                let mut inside = mailbox.lock();
                loop {
                    if let Some(record) = inside.told.pop() {
                        inside.record = Some(record);
                        mailbox.notify_all();
                    } else if inside.closed {
                        return;
                    } else {
                        inside = mailbox.wait(inside);
                    }
                }
            }
        });
        Self { mailbox, owner: Some(owner) }
    }
}

impl Drop for HastyActor {
    fn drop(&mut self) {
        self.mailbox.lock().closed = true;
        self.mailbox.notify_all();
        if let Some(owner) = self.owner.take()
            && !std::thread::panicking()
        {
            Loom::join(owner);
        }
    }
}

impl Strategy for HastyActor {
    const NAME: &'static str = "hasty-actor";

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        let mut inside = self.mailbox.lock();
        inside.told.push(record);
        self.mailbox.notify_all();
        while !inside.told.is_empty() {
            inside = self.mailbox.wait(inside);
        }
        id
    }

    fn read(&self, _: Uuid) -> Option<Record> {
        self.mailbox.lock().record
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Judged {
        look_then_write(self, id, now, judge)
    }

    fn for_each(&self, _: &mut dyn FnMut(Uuid, Record)) {}
}

/// A word whose weak exchange fails once for no reason, as it may; loom's never does.
struct Spurious {
    value: AtomicU64,
    has_failed: AtomicBool,
}

impl Spurious {
    fn compare_exchange_weak(&self, current: u64, new: u64) -> Result<u64, u64> {
        if !self.has_failed.swap(true, Ordering::SeqCst) {
            return Err(self.value.load(Ordering::SeqCst));
        }
        self.value.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
    }
}

/// Takes every failure of a weak exchange for a lost race, or tries again.
struct Weak {
    word: Spurious,
    standing: ApprovalState,
    retries: bool,
}

impl Strategy for Weak {
    const NAME: &'static str = "weak";

    fn insert(&self, id: Uuid, _: Record) -> Uuid {
        id
    }

    fn read(&self, _: Uuid) -> Option<Record> {
        let word = self.word.value.load(Ordering::SeqCst);
        let status = Status::ALL[(word & 7) as usize - 1];
        Some(Record { standing: ApprovalState { status, ..self.standing }, changed_at: Timestamp(word >> 3) })
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Judged {
        loop {
            let record = self.read(id)?;
            let status = judged!(judge, record.standing);
            let seen = packed(record.standing.status, record.changed_at);
            match self.word.compare_exchange_weak(seen, packed(status, now)) {
                Ok(_) => return Some(Ok(status)),
                Err(_) if self.retries => {}
                Err(_) => return Some(Err(Refusal::APPROVAL_ALREADY_EXECUTED)),
            }
        }
    }

    fn for_each(&self, _: &mut dyn FnMut(Uuid, Record)) {}
}

/// Without competitors, a consumer must not be refused as if it had lost a race.
fn weak_exchange() -> Result<(), Failed> {
    let standing =
        ApprovalState { status: Status::Approved, expires_at: Timestamp(100), digest: Digest([7; 32]) };
    let alone = |retries| {
        let value = AtomicU64::new(packed(Status::Approved, Timestamp(1)));
        let weak = Weak { word: Spurious { value, has_failed: AtomicBool::new(false) }, standing, retries };
        consume(&weak, Uuid::nil(), Guards::ALL, standing.digest, Timestamp(10))
    };
    if alone(true) != Ok(()) {
        return Err("with a retry it succeeds".into());
    }
    if alone(false) != Err(Refusal::APPROVAL_ALREADY_EXECUTED) {
        return Err("without one the failure passes for a lost race".into());
    }
    Ok(())
}
