//! The service process: start, readiness, kill and restart. Only processes started here are killed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

use crate::{
    client::{self, Endpoint, Outcome, Wire},
    clock::Clock,
    safety::Stop,
    target::Service,
    template::{Escape, Values},
};

/// A service that this process started, in a separate process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    group: Option<Pid>,
    address: SocketAddr,
    log: PathBuf,
    /// Where its output begins in the log.
    begin: u64,
}

impl Running {
    /// Starts the service, and waits until it is ready. Its output goes to the file `log`.
    ///
    /// # Errors
    /// The service cannot be started, ended, or was not ready in time.
    pub async fn start(
        service: &Service,
        folder: &Path,
        endpoint: &Endpoint,
        authority: &str,
        values: &Values,
        log: &Path,
        clock: Clock,
    ) -> Result<Self, Stop> {
        let bad = |what: String| Stop::BadInput(what);
        let address = endpoint.address();
        let filled = |template: &crate::template::Template| {
            template.fill(values, Escape::None).map_err(|error| bad(format!("[service]: {error}")))
        };
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Err(bad(format!(
                "{address} is in use: stop the service, so that it can be started here"
            )));
        }
        let words = service.start.iter().map(filled).collect::<Result<Vec<_>, _>>()?;
        let Some((program, arguments)) = words.split_first() else {
            return Err(bad("[service]: `start` is empty".into()));
        };
        let open = || std::fs::File::options().create(true).append(true).open(log);
        let file = |error: std::io::Error| bad(format!("cannot write {}: {error}", log.display()));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        let output = open().map_err(file)?;
        let begin = output.metadata().map_or(0, |log| log.len());
        command.stdout(output).stderr(open().map_err(file)?);
        command.process_group(0).kill_on_drop(true);
        for (name, value) in &service.env {
            command.env(name, filled(value)?);
        }
        let child = command.spawn().map_err(|error| bad(format!("cannot start {program}: {error}")))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut running = Self { child, group, address, log: log.to_owned(), begin };
        running.wait_until_ready(service, endpoint, authority, values, clock).await?;
        Ok(running)
    }

    async fn wait_until_ready(
        &mut self,
        service: &Service,
        endpoint: &Endpoint,
        authority: &str,
        values: &Values,
        clock: Clock,
    ) -> Result<(), Stop> {
        let ready = service.ready.as_ref().map(|path| path.fill(values, Escape::Url));
        let path = ready.transpose().map_err(|error| Stop::BadInput(format!("[service]: {error}")))?;
        let wire = path.map(|path| Wire::new("GET", &path, authority, &[], None));
        let deadline = clock.elapsed() + service.ready_within;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let told = self.last_lines();
                return Err(Stop::BadInput(format!(
                    "the service ended before it was ready ({status})\n{told}"
                )));
            }
            let is_ready = match &wire {
                Some(wire) => {
                    let sent = client::send(endpoint, wire, Duration::from_secs(2), clock).await;
                    matches!(sent.outcome, Outcome::Answered(answer) if (200..300).contains(&answer.status))
                }
                None => tokio::net::TcpStream::connect(self.address).await.is_ok(),
            };
            if is_ready {
                return Ok(());
            }
            if clock.elapsed() > deadline {
                let within = service.ready_within.as_millis();
                return Err(Stop::BadInput(format!(
                    "the service is not ready within {within} ms\n{}",
                    self.last_lines()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of its output.
    fn last_lines(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let own = usize::try_from(self.begin).ok().and_then(|begin| bytes.get(begin..)).unwrap_or_default();
        let text = String::from_utf8_lossy(own);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// True if the process has ended, or does so within this time.
    pub(crate) async fn ends_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.child.wait()).await.is_ok()
    }

    /// How the process ended, and the line of its output that says why; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let output = self.last_lines();
        let lines = || output.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let why = lines().find(|line| line.contains("rror")).or_else(|| lines().next());
        Some(why.map_or_else(|| status.to_string(), |why| format!("{status}, {why}")))
    }

    /// Kills the process group, and waits until the process has ended and its port is free.
    pub async fn kill(&mut self) {
        const POLLS: u32 = 2_000;
        if let (Ok(None), Some(group)) = (self.child.try_wait(), self.group) {
            // The process has not been waited for, so its id cannot belong to another one.
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
        drop(self.child.wait().await);
        self.group = None;
        // The listener may belong to a child of the process, which dies a moment later and is not ours to wait for.
        for _ in 0..POLLS {
            if tokio::net::TcpStream::connect(self.address).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(None), Some(group)) = (self.child.try_wait(), self.group) {
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_names_the_line_with_its_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let log = folder.path().join("log");
            let script =
                "echo Error: connection lost; echo '    at a line'; echo; echo Node.js; read line; exit 7";
            let mut child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(std::fs::File::create(&log).unwrap())
                .spawn()
                .unwrap();
            let held = child.stdin.take();
            let address = ([127, 0, 0, 1], 1).into();
            let mut running = Running { child, group: None, address, log, begin: 0 };
            assert!(!running.ends_within(Duration::from_millis(1)).await);
            assert_eq!(running.ended(), None);
            drop(held);
            assert!(running.ends_within(Duration::from_secs(60)).await);
            assert_eq!(running.ended().as_deref(), Some("exit status: 7, Error: connection lost"));
        });
    }
}
