//! Encryption between the proxy and the database.

use std::{io, path::Path, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    upstream::Transport,
    wire::{self, SSL_REQUEST},
};
use crate::tls::{Trust, client_config};

/// Asks the database for encryption and begins it. Without roots the certificate is not verified: `sslmode=require`.
pub(super) async fn encrypt(
    host: &str,
    mut stream: TcpStream,
    roots: Option<&Path>,
) -> io::Result<Box<dyn Transport>> {
    let mut request = Vec::new();
    wire::write_untyped(&mut request, &SSL_REQUEST.to_be_bytes());
    stream.write_all(&request).await?;
    if stream.read_u8().await? != b'S' {
        return Err(io::Error::other("the database refuses encryption (use sslmode=disable)"));
    }
    let config = client_config(roots.map_or(Trust::Unverified, Trust::File))?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let encrypted = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(Box::new(encrypted))
}
