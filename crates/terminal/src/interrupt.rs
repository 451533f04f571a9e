//! Ctrl-C: the first one stops the work, whose results are printed; a second one ends the process.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{consts::SIGINT, flag};

use crate::Exit;

static HAPPENED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C is remembered, and makes what is returned true. Where it cannot be caught, it ends the process as
/// always.
pub fn catch() -> Arc<AtomicBool> {
    let happened = HAPPENED.get_or_init(Default::default);
    // In this order: the first handler runs first, and is armed by the second.
    let code = Exit::Interrupted as i32;
    if flag::register_conditional_shutdown(SIGINT, code, Arc::clone(happened)).is_ok() {
        let _ = flag::register(SIGINT, Arc::clone(happened));
    }
    Arc::clone(happened)
}

/// True if Ctrl-C was pressed since [`catch`].
pub fn happened() -> bool {
    HAPPENED.get().is_some_and(|happened| happened.load(Ordering::Relaxed))
}
