//! Everything that this thread has logged, at all levels.
//!
//! One subscriber for the whole process, before the first event: tracing caches its interest in a callsite for every
//! thread.

use std::{
    cell::RefCell,
    io::{self, Write},
    sync::Once,
};

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the current thread.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on everything is kept.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(|| Log)
            .with_ansi(false)
            .init();
    });
}

/// All of it so far.
pub(crate) fn of_this_thread() -> String {
    LOG.with_borrow(|log| String::from_utf8(log.clone()).expect("text"))
}
