//! A connection to the service, plain or encrypted, with a cork: the bytes that are to be released are kept until then.

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use super::Protocol;
use crate::tls::{Trust, client_config};

/// The address of a service, and how its connections are encrypted.
#[derive(Clone, Debug)]
pub struct Endpoint {
    address: SocketAddr,
    encryption: Option<Encryption>,
}

#[derive(Clone)]
struct Encryption {
    http1: TlsConnector,
    http2: TlsConnector,
    name: ServerName<'static>,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encryption({:?})", self.name)
    }
}

/// Without encryption.
impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address, encryption: None }
    }
}

impl Endpoint {
    /// With encryption. `ca`: a file with the certificate of the service, or of its issuer; without it those that the
    /// system trusts.
    ///
    /// # Errors
    /// The file has no certificate, or `host` is no name.
    pub fn encrypted(address: SocketAddr, host: &str, ca: Option<&Path>) -> io::Result<Self> {
        let config = client_config(ca.map_or(Trust::System, Trust::File))?;
        let connector = |protocol: &str| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.into()];
            TlsConnector::from(Arc::new(config))
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let encryption = Encryption { http1: connector("http/1.1"), http2: connector("h2"), name };
        Ok(Self { address, encryption: Some(encryption) })
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.encryption.is_some() { "https" } else { "http" }
    }

    pub(super) async fn connect(&self, protocol: Protocol) -> io::Result<Transport> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        stream.set_zero_linger()?;
        let corked = Corked { stream, cork: Cork::default() };
        let Some(encryption) = &self.encryption else { return Ok(Transport::Plain(corked)) };
        let connector = match protocol {
            Protocol::Http1 => &encryption.http1,
            Protocol::Http2 => &encryption.http2,
        };
        let stream = connector.connect(encryption.name.clone(), corked).await?;
        let agreed = stream.get_ref().1.alpn_protocol();
        if protocol == Protocol::Http2 && agreed != Some(b"h2") {
            return Err(io::Error::other("the service does not offer HTTP/2 (ALPN)"));
        }
        Ok(Transport::Encrypted(Box::new(stream)))
    }
}

/// A connection.
pub(super) enum Transport {
    Plain(Corked),
    Encrypted(Box<TlsStream<Corked>>),
}

impl Transport {
    fn corked(&self) -> &Corked {
        match self {
            Self::Plain(corked) => corked,
            Self::Encrypted(stream) => stream.get_ref().0,
        }
    }

    pub(super) fn cork(&self) -> Cork {
        self.corked().cork.clone()
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.corked().stream
    }

    /// The form of these bytes on the wire. They are not written.
    pub(super) async fn sealed(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let cork = self.cork();
        cork.close();
        let written = self.write_all(bytes).await;
        let flushed = self.flush().await;
        let kept = cork.open();
        written.and(flushed)?;
        Ok(kept.sealed)
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut (dyn Both + '_)> {
        match self.get_mut() {
            Self::Plain(corked) => Pin::new(corked),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()),
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Both for S {}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(context, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().inner().poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.corked().cork.keep(|kept| kept.plain.extend_from_slice(&bytes[..count]));
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

/// While it is closed, what is written is kept.
#[derive(Clone, Default)]
pub(super) struct Cork(Arc<Mutex<Option<Kept>>>);

#[derive(Default)]
pub(super) struct Kept {
    /// Before encryption.
    pub(super) plain: Vec<u8>,
    /// As it goes over the wire.
    pub(super) sealed: Vec<u8>,
}

impl Cork {
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept::default());
    }

    pub(super) fn open(&self) -> Kept {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// False while it is open.
    fn keep(&self, add: impl FnOnce(&mut Kept)) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_mut().map(add).is_some()
    }
}

pub(super) struct Corked {
    stream: TcpStream,
    cork: Cork,
}

impl AsyncWrite for Corked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.cork.keep(|kept| kept.sealed.extend_from_slice(bytes)) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Corked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
