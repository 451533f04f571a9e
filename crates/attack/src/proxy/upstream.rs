//! The database behind the proxy: its URL, and how to connect to it.

use std::{fmt, io, net::SocketAddr, path::PathBuf, str::FromStr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

const DEFAULT_PORT: u16 = 5432;

/// Both directions of a connection to the database.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The URL of a database: `postgres://user:password@host:port/database`.
///
/// `?host=/directory` names the directory of a Unix socket. Its `Debug` form hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    host: Host,
    port: u16,
    pub(super) tls: Tls,
    /// Parameters that the proxy does not interpret.
    parameters: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    SocketDirectory(PathBuf),
}

/// Encryption of the connection to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    /// Encrypted, without a look at the certificate: `sslmode=require`.
    Unverified,
    /// Encrypted; the certificate is verified by these roots: `sslmode=verify-full&sslrootcert=FILE`.
    Verified(PathBuf),
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({self})")
    }
}

impl fmt::Display for Upstream {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{}@{name}:{}/{}", self.user, self.port, self.database),
            Host::SocketDirectory(directory) => {
                write!(f, "{}@{}/{}", self.user, directory.display(), self.database)
            }
        }
    }
}

/// An error in a database URL, without the URL itself, which may contain a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUpstream(String);

impl fmt::Display for InvalidUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid database URL: {} (expected postgres://USER:PASSWORD@HOST:PORT/DATABASE)", self.0)
    }
}

impl std::error::Error for InvalidUpstream {}

fn invalid(message: impl Into<String>) -> InvalidUpstream {
    InvalidUpstream(message.into())
}

impl FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(url: &str) -> Result<Self, InvalidUpstream> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| invalid("it does not start with postgres://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (user, None),
        };
        let user = decode(user)?;
        let (name, port) = split_port(address)?;
        let mut upstream = Self {
            database: decode(database)?,
            host: Host::Name(if name.is_empty() { "127.0.0.1".into() } else { decode(name)? }),
            port,
            tls: Tls::Off,
            parameters: Vec::new(),
            user,
            password,
        };
        upstream.read_parameters(query)?;
        if upstream.user.is_empty() {
            return Err(invalid("it names no user"));
        }
        if upstream.database.is_empty() {
            upstream.database.clone_from(&upstream.user);
        }
        Ok(upstream)
    }
}

fn split_port(address: &str) -> Result<(&str, u16), InvalidUpstream> {
    // An IPv6 address is in brackets.
    let after_brackets = address.rfind(']').map_or(0, |end| end + 1);
    let (name, port) = match address[after_brackets..].split_once(':') {
        Some((before, port)) => (&address[..after_brackets + before.len()], Some(port)),
        None => (address, None),
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| invalid(format!("the port is `{port}`")))?,
        None => DEFAULT_PORT,
    };
    Ok((name.trim_start_matches('[').trim_end_matches(']'), port))
}

impl Upstream {
    fn read_parameters(&mut self, query: &str) -> Result<(), InvalidUpstream> {
        let mut mode = String::new();
        let mut roots = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match key {
                "host" if value.starts_with('/') => self.host = Host::SocketDirectory(value.into()),
                "host" => self.host = Host::Name(value),
                "port" => self.port = value.parse().map_err(|_| invalid(format!("the port is `{value}`")))?,
                "user" => self.user = value,
                "password" => self.password = Some(value),
                "sslmode" => mode = value,
                "sslrootcert" => roots = Some(PathBuf::from(value)),
                _ => self.parameters.push((key.to_owned(), value)),
            }
        }
        self.tls = match (mode.as_str(), roots) {
            ("" | "disable" | "allow" | "prefer", _) => Tls::Off,
            ("require", None) => Tls::Unverified,
            ("require" | "verify-ca" | "verify-full", Some(roots)) => Tls::Verified(roots),
            ("verify-ca" | "verify-full", None) => {
                return Err(invalid(format!("sslmode={mode} needs sslrootcert=FILE")));
            }
            (mode, _) => return Err(invalid(format!("unknown sslmode `{mode}`"))),
        };
        Ok(())
    }

    /// The same database at the proxy's address.
    pub(super) fn url_at(&self, address: SocketAddr) -> String {
        let password =
            self.password.as_ref().map(|password| format!(":{}", encode(password))).unwrap_or_default();
        let mut url = format!(
            "postgresql://{}{password}@{address}/{}?sslmode=disable",
            encode(&self.user),
            encode(&self.database)
        );
        for (key, value) in &self.parameters {
            url.push_str(&format!("&{key}={}", encode(value)));
        }
        url
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Transport>> {
        match &self.host {
            Host::Name(name) => {
                let stream = TcpStream::connect((name.as_str(), self.port)).await?;
                stream.set_nodelay(true)?;
                self.encrypt(name, stream).await
            }
            Host::SocketDirectory(directory) => {
                let socket = directory.join(format!(".s.PGSQL.{}", self.port));
                Ok(Box::new(UnixStream::connect(socket).await?))
            }
        }
    }

    async fn encrypt(&self, host: &str, stream: TcpStream) -> io::Result<Box<dyn Transport>> {
        match &self.tls {
            Tls::Off => Ok(Box::new(stream)),
            Tls::Unverified => super::tls::encrypt(host, stream, None).await,
            Tls::Verified(roots) => super::tls::encrypt(host, stream, Some(roots)).await,
        }
    }

    /// True if the connection to the database is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.tls != Tls::Off && matches!(self.host, Host::Name(_))
    }
}

fn decode(text: &str) -> Result<String, InvalidUpstream> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(invalid("a % is not followed by two hexadecimal digits"));
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Upstream {
        url.parse().unwrap()
    }

    #[test]
    fn a_url_is_taken_apart_and_put_together() {
        let upstream = parse("postgres://app:p%40ss@db.example:6000/shop?application_name=x");
        assert_eq!(upstream.to_string(), "app@db.example:6000/shop");
        assert_eq!(upstream.password.as_deref(), Some("p@ss"));
        let url = upstream.url_at("127.0.0.1:7".parse().unwrap());
        assert_eq!(url, "postgresql://app:p%40ss@127.0.0.1:7/shop?sslmode=disable&application_name=x");
        assert_eq!(parse("postgresql://app@[::1]:6000").to_string(), "app@::1:6000/app");
        assert_eq!(parse("postgresql://app@/shop?host=/run/pg").to_string(), "app@/run/pg/shop");
    }

    #[test]
    fn a_password_is_in_no_message() {
        assert!(!format!("{:?}", parse("postgres://app:secret@h/d")).contains("secret"));
        for url in ["mysql://app:secret@h/d", "postgres://app:secret@h:x/d", "postgres://:secret@h/d"] {
            let error = url.parse::<Upstream>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn verification_needs_roots() {
        assert!("postgres://a@h/d?sslmode=verify-full".parse::<Upstream>().is_err());
        assert_eq!(parse("postgres://a@h/d?sslmode=require").tls, Tls::Unverified);
        assert_eq!(parse("postgres://a@h/d?sslmode=prefer").tls, Tls::Off);
    }
}
