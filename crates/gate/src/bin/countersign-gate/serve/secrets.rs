//! The secret: from a file, from systemd, or, for development, from the environment; and a process that shows it to none
//! of its commands.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path};

use countersign_gate::instance::system_clock::Secret;
use countersign_terminal::{BadInput, print_error};
use tracing::{dispatcher::has_been_set, warn};

use super::values;

/// The credential's name: `LoadCredential=countersign-secret:/etc/countersign/secret`.
const CREDENTIAL: &str = "countersign-secret";

/// The longest secret file, in bytes.
const LONGEST: u64 = 64 * 1024;

const READABLE_BY_ALL: u32 = 0o004;

/// The secret in this file, without the line break at its end.
pub(crate) fn from_file(path: &Path) -> Result<Secret, BadInput> {
    let refused = |why: &str| {
        BadInput::plain(
            &format!("the secret cannot be read from {}: {why}", path.display()),
            "expected a file with at least 32 random bytes as text: head -c 32 /dev/urandom | base64 > secret",
        )
    };
    let metadata = path.metadata().map_err(|error| refused(&error.to_string()))?;
    if metadata.permissions().mode() & READABLE_BY_ALL != 0 {
        let danger =
            format!("every user of this machine may read the secret in {} (chmod o-r)", path.display());
        // Standard error may block. Before the log begins, that delays only the start.
        if has_been_set() { warn!("{danger}") } else { print_error!("WARNING: {danger}") }
    }
    let length = metadata.len();
    if length > LONGEST {
        return Err(refused(&format!("it has {length} bytes, and {LONGEST} are the most")));
    }
    let text = fs::read_to_string(path).map_err(|error| refused(&error.to_string()))?;
    values::secret(text.trim_end_matches(['\r', '\n'])).map_err(|expected| refused(&expected))
}

/// The secret that systemd has put at this service's disposal, if it has.
pub(crate) fn from_systemd() -> Option<Result<Secret, BadInput>> {
    let path = Path::new(&env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
    path.exists().then(|| from_file(&path))
}

/// From now on no other process of the same user reads this one's environment or memory, and a crash leaves no core.
pub(crate) fn hide_process() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        print_error!("WARNING: other processes of this user can read this one's memory: {error}");
    }
}
