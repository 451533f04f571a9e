//! Links by mail: over SMTP, or as `.eml` files in a folder.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Body, Mailbox, MultiPart, MultiPartKind, SinglePart, header::ContentTransferEncoding},
};

use super::{NotSent, Notification};

/// Sender of mails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// Reads `countersign <gate@example.com>`; `None` when it is no address.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// True for a valid mail address.
pub fn is_address(text: &str) -> bool {
    text.parse::<lettre::Address>().is_ok()
}

/// Mails as files: `ID.eml`, by the approval's id, and `ID-2.eml` and so on for further approvers. A repeat is the same file.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    sender: Sender,
}

impl Folder {
    /// Creates the folder if necessary, and checks that files can be written to it.
    ///
    /// # Errors
    /// The folder cannot be created, or written to.
    pub fn open(path: impl Into<PathBuf>, sender: Sender) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        let probe = path.join(".countersign-probe");
        std::fs::write(&probe, b"")?;
        std::fs::remove_file(&probe)?;
        Ok(Self { path, sender })
    }

    /// File of the first approver's mail about this approval, once sent.
    pub fn file(&self, approval: uuid::Uuid) -> PathBuf {
        self.path.join(format!("{approval}.eml"))
    }

    pub(super) async fn send(&self, notification: &Notification) -> Result<(), NotSent> {
        let mail = mail(notification, &self.sender)?.formatted();
        // Another process may be writing the same mail.
        let half = self.path.join(format!(".{}.{}.half", notification.approval, std::process::id()));
        let file = self.path.join(format!("{}.eml", notification.id()));
        let written = tokio::task::spawn_blocking(move || write_whole(&file, &half, &mail)).await;
        written
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map_err(|error| NotSent::because(&error, notification))
    }
}

/// Writes the file atomically: a reader of the folder sees all of it or none.
fn write_whole(file: &Path, half: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    // The link in it is for the operator alone.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut writing = options.open(half)?;
    writing.write_all(content)?;
    writing.sync_all()?;
    std::fs::rename(half, file)
}

/// A mail server.
#[derive(Clone)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    sender: Sender,
}

impl Smtp {
    /// Connects by address: `smtps://user:password@mail.example.com`, `smtp://…?tls=required` for STARTTLS, or, where
    /// links may be read on the way, `smtp://…?tls=none`.
    ///
    /// # Errors
    /// The address is invalid, or is `smtp://` without `tls`. The error does not repeat the address, which may contain
    /// a password.
    pub fn connect(url: &str, sender: Sender) -> Result<Self, NoSuchServer> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let is_plain = query.split('&').any(|word| word == "tls=none");
        let says_so = is_plain || query.split('&').any(|word| word == "tls=required");
        if address.starts_with("smtp://") && !says_so {
            return Err(NoSuchServer);
        }
        // The library has no word for it.
        let url = if is_plain { address } else { url };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| NoSuchServer)?;
        let transport = builder.timeout(Some(Duration::from_secs(10))).build();
        Ok(Self { transport, sender })
    }

    pub(super) async fn send(&self, notification: &Notification) -> Result<(), NotSent> {
        let mail = mail(notification, &self.sender)?;
        match self.transport.send(mail).await {
            Ok(_) => Ok(()),
            Err(error) => Err(NotSent::because(&WithSources(&error), notification)),
        }
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// Invalid address of a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchServer;

/// An error with what caused it.
struct WithSources<'a>(&'a dyn std::error::Error);

impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Deterministic: a repeat has the same bytes and the same Message-ID.
fn mail(notification: &Notification, sender: &Sender) -> Result<Message, NotSent> {
    let id = notification.id();
    let mut builder = Message::builder()
        .from(sender.0.clone())
        .date(UNIX_EPOCH + Duration::from_millis(notification.created_at.0))
        .message_id(Some(format!("<approval-{id}@{}>", sender.0.email.domain())))
        .subject(notification.subject());
    for recipient in &notification.recipients {
        let recipient: Mailbox = recipient.parse().map_err(|error| NotSent::because(&error, notification))?;
        builder = builder.to(recipient);
    }
    let body = MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        .boundary(format!("countersign-{}", notification.approval.simple()))
        .singlepart(SinglePart::plain(legible(notification.text())))
        .singlepart(SinglePart::html(legible(notification.html())));
    builder.multipart(body).map_err(|error| NotSent::because(&error, notification))
}

/// The text as it is, where mail allows that. A link that is broken over two lines can only be read by a mail program,
/// and files are read by people and scripts, too.
fn legible(text: String) -> Body {
    const LONGEST_LINE: usize = 998;
    if !text.is_ascii() || text.lines().any(|line| line.len() > LONGEST_LINE) {
        return Body::new(text);
    }
    let lines = text.lines().flat_map(|line| [line, "\r\n"]);
    Body::dangerous_pre_encoded(lines.collect::<String>().into_bytes(), ContentTransferEncoding::SevenBit)
}
