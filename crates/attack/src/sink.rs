//! The address at which effects arrive: counts the requests to `{sink_url}` of each object.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// A running sink.
#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    counts: Counts,
    accept: AbortHandle,
}

impl Sink {
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counts = Counts::default();
        let shared = Arc::clone(&counts);
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, counts, accept: accept.abort_handle() })
    }

    pub(crate) fn url(&self, object: &str) -> String {
        format!("http://{}/{object}", self.address)
    }

    pub(crate) fn count(&self, object: &str) -> u64 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(object).copied().unwrap_or(0)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Counts one request, and closes the connection.
async fn serve(mut stream: TcpStream, counts: Counts) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (path, missing) = loop {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(head)) => {
                let length = request
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                    .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok())
                    .unwrap_or(0);
                let path = request.path.unwrap_or_default().to_owned();
                break (path, (head + length).saturating_sub(bytes.len()));
            }
            Ok(httparse::Status::Partial) if bytes.len() < 1 << 16 => {}
            _ => return Ok(()),
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let mut rest = stream.split().0.take(missing as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    let object = path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default().to_owned();
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(object).or_default() += 1;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await
}
