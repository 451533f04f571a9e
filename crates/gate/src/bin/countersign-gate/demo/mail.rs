//! Reads the demo's own mail: headers that tell something, and the text with the link.

/// A mail's text part, with the headers above it.
pub(super) struct Notification<'m> {
    headers: Vec<&'m str>,
    text: Vec<&'m str>,
}

impl<'m> Notification<'m> {
    /// `None` for a mail that the notifier did not write.
    pub(super) fn read(mail: &'m str) -> Option<Self> {
        const SHOWN: [&str; 3] = ["From:", "To:", "Subject:"];
        let (head, body) = mail.split_once("\r\n\r\n")?;
        let headers = head.lines().filter(|line| SHOWN.iter().any(|name| line.starts_with(name))).collect();
        let part = body.split("\r\n\r\n--").next()?;
        let (_, text) = part.split_once("\r\n\r\n")?;
        Some(Self { headers, text: text.lines().collect() })
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &'m str> {
        let blank = std::iter::once("");
        self.headers.iter().copied().chain(blank).chain(self.text.iter().copied())
    }

    pub(super) fn link(&self) -> Option<String> {
        self.text.iter().find(|line| line.contains("/approve/")).map(|link| link.trim().to_owned())
    }
}
