//! Roles that are statements, with a service that has no database of its own.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
};

use countersign_attack::{
    campaign::{self, Options},
    target::{self, Target},
};
use tokio_postgres::NoTls;

use super::shop::TABLES;
use crate::block_on;

/// A service whose every object is used with success.
fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            // A client that hangs up ends its own connection only.
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let body = r#"{"code":"GIFT"}"#;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close", body.len());
            stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).ok();
        }
    });
    address
}

fn target(address: SocketAddr, url: &str, amount: u32) -> Target {
    let text = format!(
        r#"base_url = "http://{address}"
[arrange]
request = "GET /cards"
capture = {{ code = "$.code" }}
[use]
request = "GET /use/{{code}}"
[expire]
sql = "update cards set expires_at = now() where code = {{code}} and amount = {amount}"
[database]
upstream = "{url}"
"#
    );
    target::parse(text.as_bytes(), Path::new(".")).unwrap()
}

pub(crate) fn changes_no_row(url: &str) {
    block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = "INSERT INTO cards VALUES ('GIFT', 10, 'active', now() + interval '1 hour')";
        let tables = format!("DROP TABLE IF EXISTS cards, ledger, payouts, events; {TABLES}; {row}");
        client.batch_execute(&tables).await.unwrap();
    });
    let options = Options::default();
    let address = service();
    let fits = campaign::check(&target(address, url, 10), &options).unwrap();
    assert!(fits.iter().any(|line| line.role == "expire"), "{fits:?}");
    let wrong = target(address, url, 11);
    let checked = campaign::check(&wrong, &options).unwrap_err().to_string();
    assert!(checked.starts_with("[expire]: update cards"), "{checked}");
    assert!(checked.ends_with("it changed no row, of a fresh object"), "{checked}");
    assert_eq!(campaign::attack(&wrong, &options, &mut |_| {}).unwrap_err().to_string(), checked);
}
