//! One connection of the service: its start, and the loop that moves bytes both ways.

mod relay;

use std::io;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc::UnboundedReceiver,
};

use super::{Command, Shared, wire};
use relay::Relay;

/// Reading from one side pauses while this much waits to be written to the other.
const MOST_BUFFERED: usize = 16 << 20;

/// Space for one read.
const READ_BYTES: usize = 16 << 10;

/// Serves a connection until either side ends it or it is cut.
pub(super) async fn serve(
    id: u64,
    mut client: TcpStream,
    mut commands: UnboundedReceiver<Command>,
    shared: &Shared,
) -> io::Result<()> {
    let mut from_client = BytesMut::new();
    let length = loop {
        match wire::startup_message(&from_client)? {
            Some((wire::SSL_REQUEST | wire::GSSENC_REQUEST, length)) => {
                let _request = from_client.split_to(length);
                client.write_all(b"N").await?;
                continue;
            }
            Some((wire::CANCEL_REQUEST, length)) => return cancel(&from_client[..length], shared).await,
            Some((_, length)) => break length,
            None => {}
        }
        if client.read_buf(&mut from_client).await? == 0 {
            return Ok(());
        }
    };
    let mut upstream = match shared.upstream.connect().await {
        Ok(upstream) => upstream,
        Err(error) => {
            client.write_all(&refusal(&format!("cannot connect to {}: {error}", shared.upstream))).await?;
            return Err(error);
        }
    };
    upstream.write_all(&from_client.split_to(length)).await?;
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut server_reads, mut server_writes) = tokio::io::split(upstream);
    let mut relay = Relay::new(id, shared, from_client);
    relay.client_sent()?;
    loop {
        relay.from_server.reserve(READ_BYTES);
        relay.from_client.reserve(READ_BYTES);
        let writes_to_client = !relay.to_client.is_empty();
        let writes_to_server = !relay.to_server.is_empty();
        tokio::select! {
            command = commands.recv() => match command {
                None | Some(Command::Cut) => return Ok(()),
                Some(command) => relay.command(command),
            },
            read = server_reads.read_buf(&mut relay.from_server), if relay.to_client.len() < MOST_BUFFERED => {
                if read? == 0 {
                    return client_writes.write_all(&relay.to_client).await;
                }
                relay.server_sent()?;
            }
            read = client_reads.read_buf(&mut relay.from_client), if relay.may_receive(MOST_BUFFERED) => {
                if read? == 0 {
                    return server_writes.write_all(&relay.to_server).await;
                }
                relay.client_sent()?;
            }
            written = client_writes.write_buf(&mut relay.to_client), if writes_to_client => { written?; }
            written = server_writes.write_buf(&mut relay.to_server), if writes_to_server => {
                written?;
                server_writes.flush().await?;
            }
        }
    }
}

/// A cancel request travels on a connection of its own, which the database closes without an answer.
async fn cancel(request: &[u8], shared: &Shared) -> io::Result<()> {
    let mut upstream = shared.upstream.connect().await?;
    upstream.write_all(request).await?;
    upstream.flush().await?;
    let mut nothing = [0];
    upstream.read(&mut nothing).await.map(|_| ())
}

/// A fatal error in place of the database's first answer.
fn refusal(message: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', "08006"), (b'M', message)] {
        body.push(field);
        body.extend(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut bytes = Vec::new();
    wire::write_message(&mut bytes, b'E', &body);
    bytes
}
