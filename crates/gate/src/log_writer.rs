//! The log's way out of the process: bounded, lossy, and never in the way of what is logged.
//!
//! Loops and requests hand their lines to a queue, and one thread writes them. A line is lost when the queue is full, as
//! with a reader that stalls, or when it cannot be written, as on a full disk. Lost lines are counted.

use std::{
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

use crate::legible::legible_log;

/// Lines that may wait. With lines of the usual length these are a few hundred KiB.
const QUEUE: usize = 2048;

/// The longest line that is taken, in bytes.
const LONGEST: usize = 64 * 1024;

/// Counts the lines that were lost.
pub type Lost = Counter<u64, AtomicU64>;

/// Takes lines and never blocks. A copy writes to the same log.
#[derive(Clone, Debug)]
pub struct LogWriter {
    lines: SyncSender<Vec<u8>>,
    progress: Arc<Progress>,
    lost: Lost,
}

#[derive(Debug, Default)]
struct Progress {
    taken: AtomicU64,
    done: AtomicU64,
}

impl LogWriter {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(QUEUE);
        let writer = Self { lines, progress: Arc::default(), lost: Lost::default() };
        let (progress, lost) = (Arc::clone(&writer.progress), writer.lost.clone());
        thread::Builder::new()
            .name("countersign-log".to_owned())
            .spawn(move || write(sink, &waiting, &progress, &lost))?;
        Ok(writer)
    }

    /// The counter of lost lines.
    pub fn lost(&self) -> Lost {
        self.lost.clone()
    }

    /// Waits until everything that was taken has been written, at most this long.
    pub fn flush_within(&self, longest: Duration) {
        const STEP: Duration = Duration::from_millis(2);
        let until = self.progress.taken.load(Ordering::SeqCst);
        let mut waited = Duration::ZERO;
        while self.progress.done.load(Ordering::SeqCst) < until && waited < longest {
            thread::sleep(STEP);
            waited += STEP;
        }
    }
}

/// Writes what comes. What cannot be written is lost, and the next line is tried again.
fn write(mut sink: impl Write, lines: &Receiver<Vec<u8>>, progress: &Progress, lost: &Lost) {
    while let Ok(line) = lines.recv() {
        let written = catch_unwind(AssertUnwindSafe(|| sink.write_all(&line).and_then(|()| sink.flush())));
        if !matches!(written, Ok(Ok(()))) {
            lost.inc();
        }
        progress.done.fetch_add(1, Ordering::SeqCst);
    }
}

impl Write for LogWriter {
    /// Takes a whole line, or loses it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.progress.taken.fetch_add(1, Ordering::SeqCst);
        let shown = || legible_log(&String::from_utf8_lossy(line)).into_owned().into_bytes();
        if line.len() > LONGEST || self.lines.try_send(shown()).is_err() {
            self.progress.done.fetch_add(1, Ordering::SeqCst);
            self.lost.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Fails this many times, once by a panic, and then stores its input.
    struct Full {
        fails: usize,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.fails > 0 {
                self.fails -= 1;
                assert!(self.fails > 0, "the last failure is a panic");
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.kept.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_what_comes_later_is_written() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let mut log = LogWriter::start(Full { fails: 3, kept: Arc::clone(&kept) }).expect("a thread");
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            log.write_all(line.as_bytes()).expect("it never fails");
        }
        log.flush_within(PATIENCE);
        assert_eq!((log.lost().get(), &**kept.lock().expect("not poisoned")), (3, &b"4\n"[..]));
    }

    #[test]
    fn characters_that_hide_or_reorder_text_are_marked() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let mut log = LogWriter::start(Full { fails: 0, kept: Arc::clone(&kept) }).expect("a thread");
        log.write_all("by=\u{202e}moc.elpmaxe@\u{9b}31m\n".as_bytes()).expect("it never fails");
        log.flush_within(PATIENCE);
        let kept = kept.lock().expect("not poisoned");
        assert_eq!(std::str::from_utf8(&kept), Ok("by=[U+202E]moc.elpmaxe@[U+009B]31m\n"));
    }

    /// Blocks until it is let go.
    struct Stalled(mpsc::Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_holds_up_nothing_and_takes_a_bounded_number_of_lines() {
        let (go_on, stalled) = mpsc::channel();
        let mut log = LogWriter::start(Stalled(stalled)).expect("a thread");
        let more = u64::try_from(QUEUE).expect("it fits") + 100;
        for _ in 0..more {
            log.write_all(b"line\n").expect("it never fails");
        }
        // The thread holds one line, if it has come to it.
        assert!((99..=100).contains(&log.lost().get()), "{}", log.lost().get());
        log.write_all(&vec![b'x'; LONGEST + 1]).expect("it never fails");
        drop(go_on);
        log.flush_within(PATIENCE);
        assert_eq!(log.progress.done.load(Ordering::SeqCst), more + 1);
    }
}
