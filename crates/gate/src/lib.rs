//! The approval gate as a server: the HTTP surface, and what one running instance is made of.
//!
//! - [`http`] translates requests into calls of the library, and outcomes into answers. It decides no rule.
//! - [`log_writer`] takes the log out of the process without ever holding it up.
//! - [`instance`] owns the real clock and randomness, the workers, the deployer and the notifier.

mod authorities;
mod difference;
pub mod http;
pub mod instance;
mod legible;
pub mod log_writer;
