//! A deploy by a command: no shell, its plan on standard input, a separate process group, the end of its output kept.

use std::{
    env, io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    process::{Child, Command},
};
use tracing::info;

use super::{
    Plan, locked,
    run::{Cancelled, Ended},
};
use crate::{http::Metrics, instance::system_clock::Secret};

/// The variable that names the approval to the command. A repeat of a deploy has the same one.
pub const APPROVAL_ID_VARIABLE: &str = "COUNTERSIGN_APPROVAL_ID";

/// The variable with the fencing number of the deploy: larger than that of every earlier deploy for its target.
pub const FENCE_VARIABLE: &str = "COUNTERSIGN_FENCE";

/// Prefix of the server's own variables. One may contain its secret, so commands get none of them.
const OWN_VARIABLES: &str = "COUNTERSIGN_";

/// A command, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, and its arguments as they are: no shell looks at them.
    pub argv: Vec<String>,
    /// After this long it is ended, and has failed.
    pub timeout: Duration,
    /// Time between the request to end and the kill.
    pub time_to_clean_up: Duration,
    /// User of the command; `None` for the server's own.
    pub user: Option<User>,
    /// The server's secrets, removed from its output.
    pub secrets: Vec<Secret>,
}

/// A user, and the group that it has first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
}

/// Time limit for reading output after the command has ended while another process still holds its pipe.
const TIME_TO_DRAIN: Duration = Duration::from_millis(500);

/// The end of the output of a command that was given up.
const GIVEN_UP: &str = "\nended because it was given up\n";

/// Size of the output to keep.
const KEPT: usize = 64 * 1024;

/// Additional output held while it runs, so that a secret across the cut is found whole.
const BEFORE_THE_CUT: usize = 4 * 1024;

impl CommandLine {
    /// Runs to completion; `None` after a cancellation. After a timeout, a cancellation, and when it is given up its process
    /// group is killed.
    ///
    /// # Errors
    /// The command could not be started: nothing was launched.
    pub(super) async fn run(
        &self,
        plan: &Plan,
        cancelled: &mut Cancelled,
        given_up: impl Future<Output = ()>,
        metrics: &Metrics,
    ) -> Result<Option<Ended>, NotStarted> {
        let approval = plan.approval_id;
        let (child, output) = self.start(plan).map_err(NotStarted)?;
        let mut group = Group::of(child);
        metrics.launched();
        info!(%approval, "the deploy command runs");
        let (status, note) = tokio::select! {
            status = group.leader.wait() => (status, ""),
            () = tokio::time::sleep(self.timeout) => (group.end(self.time_to_clean_up).await, "\nended after its timeout\n"),
            () = given_up => (group.end(self.time_to_clean_up).await, GIVEN_UP),
            () = cancelled.wait() => {
                let _ = group.end(self.time_to_clean_up).await;
                return Ok(None);
            }
        };
        group.is_over = true;
        let output = output.finish(note, &self.secrets).await;
        let exit_code = status.ok().filter(|_| note.is_empty()).and_then(|status| status.code());
        Ok(Some(Ended { exit_code, output, is_given_up: note == GIVEN_UP }))
    }

    fn start(&self, plan: &Plan) -> io::Result<(Child, Output)> {
        let [program, arguments @ ..] = &self.argv[..] else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
        };
        // One pipe for both, to keep the order of the output.
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with(OWN_VARIABLES) {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .envs(self.user.map(|_| ("HOME", "/")))
            .env(APPROVAL_ID_VARIABLE, plan.approval_id.to_string())
            .env(FENCE_VARIABLE, plan.fence.unwrap_or_default().to_string())
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let document = plan.to_json();
            // A command need not read it.
            tokio::spawn(async move { stdin.write_all(&document).await });
        }
        Ok((child, Output::read(reader)))
    }
}

/// The command could not be started: out of file descriptors or processes, or the program is missing.
#[derive(Debug)]
pub(super) struct NotStarted(pub(super) io::Error);

/// A command with all that it has started, and that has not left its process group.
struct Group {
    leader: Child,
    id: Option<Pid>,
    is_over: bool,
}

impl Group {
    fn of(leader: Child) -> Self {
        let id = leader.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { leader, id, is_over: false }
    }

    /// Asks it to end, and after this time kills it.
    async fn end(&mut self, time_to_clean_up: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(time_to_clean_up, self.leader.wait()).await;
        self.signal(Signal::KILL);
        self.is_over = true;
        self.leader.wait().await
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // The process may have ended already.
            let _ = kill_process_group(id, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            self.signal(Signal::KILL);
        }
    }
}

/// The output of a running command.
struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Output {
    fn read(mut pipe: pipe::Receiver) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let mut chunk = vec![0; 8 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
                let mut kept = locked(&into);
                kept.extend_from_slice(&chunk[..length]);
                if kept.len() > 2 * KEPT {
                    let cut = kept.len() - KEPT - BEFORE_THE_CUT;
                    kept.drain(..cut);
                }
            }
        });
        Self { kept, reading }
    }

    /// The last of it, with this note at its end.
    async fn finish(mut self, note: &str, secrets: &[Secret]) -> String {
        let _ = tokio::time::timeout(TIME_TO_DRAIN, &mut self.reading).await;
        self.reading.abort();
        let mut kept = std::mem::take(&mut *locked(&self.kept));
        kept.extend_from_slice(note.as_bytes());
        last_of(&secrets.iter().fold(kept, |kept, secret| without(&kept, secret.as_bytes())))
    }
}

/// The bytes without the secret, wherever it is in them.
fn without(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    const IN_ITS_PLACE: &[u8] = b"[secret]";
    let (mut rest, mut clean) = (bytes, Vec::with_capacity(bytes.len()));
    if secret.is_empty() {
        return bytes.to_vec();
    }
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(IN_ITS_PLACE);
        rest = &rest[at + secret.len()..];
    }
    clean.extend_from_slice(rest);
    clean
}

/// The last bytes, as text: invalid UTF-8 is replaced, and a cut character is left out.
fn last_of(bytes: &[u8]) -> String {
    let mut from = bytes.len().saturating_sub(KEPT);
    if from > 0 {
        let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        from += bytes[from..].iter().take(3).take_while(|byte| continues(byte)).count();
    }
    // A text in a database cannot have this one.
    String::from_utf8_lossy(&bytes[from..]).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_an_output_is_kept_and_no_character_is_cut() {
        let long = "ä".repeat(KEPT);
        let kept = last_of(long.as_bytes());
        assert_eq!((kept.len(), kept.replace('ä', "")), (KEPT, String::new()));
        let odd = format!("{long}!");
        let kept = last_of(odd.as_bytes());
        assert_eq!((kept.len(), kept.replace('ä', "")), (KEPT - 1, "!".to_owned()));
    }

    #[test]
    fn what_is_no_text_is_shown_as_what_it_is_not() {
        assert_eq!(last_of(b"a\xffb\0"), "a\u{fffd}b\u{fffd}");
    }
}
