//! Frames and fields of PostgreSQL's protocol, version 3: just enough to know what passes by.

use std::io;

/// The largest message that is accepted: that of PostgreSQL.
const MAX_MESSAGE: usize = 1 << 30;

pub(super) const SSL_REQUEST: u32 = 80_877_103;
pub(super) const GSSENC_REQUEST: u32 = 80_877_104;
pub(super) const CANCEL_REQUEST: u32 = 80_877_102;

/// A message: its type and its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
    /// Its length on the wire.
    pub(super) len: usize,
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The first message, if it is there completely.
pub(super) fn first_message(bytes: &[u8]) -> io::Result<Option<Message<'_>>> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    let Some(length) = length(rest)? else { return Ok(None) };
    Ok(rest.get(4..length).map(|body| Message { kind: *kind, body, len: length + 1 }))
}

/// The first message of a connection, which has no type, if it is there completely: its code, and its length.
pub(super) fn startup_message(bytes: &[u8]) -> io::Result<Option<(u32, usize)>> {
    const LONGEST: usize = 10_000;
    let Some(length) = length(bytes)? else { return Ok(None) };
    if !(8..=LONGEST).contains(&length) {
        return Err(invalid(format!("a first message of {length} bytes; is this PostgreSQL's protocol?")));
    }
    if bytes.len() < length {
        return Ok(None);
    }
    Ok(Fields(&bytes[4..length]).u32().map(|code| (code, length)))
}

fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(length) = Fields(bytes).u32() else { return Ok(None) };
    match usize::try_from(length) {
        Ok(length @ 4..MAX_MESSAGE) => Ok(Some(length)),
        _ => Err(invalid(format!("a message of {length} bytes; is this PostgreSQL's protocol?"))),
    }
}

/// Reads fields off the front; nothing when they are not there.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

/// Appends a message whose body the function writes.
pub(super) fn write_message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    write_untyped(out, body);
}

/// Appends a message without a type.
pub(super) fn write_untyped(out: &mut Vec<u8>, body: &[u8]) {
    // Bodies are the proxy's own, and short.
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(body);
}

/// The code and the message of an error.
pub(super) fn error_fields(body: &[u8]) -> (String, String) {
    let mut fields = Fields(body);
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(kind @ 1..) = fields.u8() {
        let Some(text) = fields.string() else { break };
        match kind {
            b'C' => code = text,
            b'M' => message = text,
            _ => {}
        }
    }
    (code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_only_when_it_is_complete() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, b'Q', b"SELECT 1\0");
        for end in 0..bytes.len() {
            assert!(first_message(&bytes[..end]).unwrap().is_none(), "{end}");
        }
        let message = first_message(&bytes).unwrap().unwrap();
        assert_eq!((message.kind, message.body, message.len), (b'Q', &b"SELECT 1\0"[..], bytes.len()));
    }

    #[test]
    fn absurd_lengths_are_refused() {
        assert!(first_message(&[b'Q', 0, 0, 0, 3]).is_err());
        assert!(first_message(&[b'Q', 0xff, 0xff, 0xff, 0xff]).is_err());
        // TLS without a request for it.
        assert!(startup_message(&[0x16, 3, 1, 2, 0, 1, 0, 1]).is_err());
    }
}
