//! The log, on standard error: for people, or a line of JSON for each event.

use std::{
    io::{self, IsTerminal},
    panic,
};

use countersign_gate::log_writer::LogWriter;
use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use countersign_terminal::BadInput;

/// The filter without RUST_LOG.
const DEFAULT: &str = "info";

/// From now on events are logged, panics too. What cannot be written is lost, and counted by the writer.
pub(crate) fn begin(format: LogFormat) -> Result<LogWriter, BadInput> {
    let writer = LogWriter::start(io::stderr()).map_err(|error| {
        BadInput::plain(
            &format!("the log's thread could not be started: {error}"),
            "are there too many already?",
        )
    })?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer.clone())
        .with_ansi(colours)
        // Otherwise it reports its own failure on standard error, and panics.
        .log_internal_errors(false);
    // An existing subscriber stays.
    let _ = match format {
        LogFormat::Human => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    // The standard hook writes to standard error itself, and waits for its reader.
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        let why = panicked.payload_as_str().unwrap_or_default();
        tracing::error!(place, "panicked: {why}");
    }));
    Ok(writer)
}
