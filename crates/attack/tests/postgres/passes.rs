//! Traffic through the proxy, compared with a direct connection.

use std::{fs, process::Stdio, time::Duration};
use std::{io::Write, os::unix::fs::MetadataExt};

use countersign_attack::proxy::{Parameter, Proxy};
use countersign_testkit::Installation;
use countersign_testkit::{Cluster, Fsync, certificate, unused_port};
use tokio::{io::AsyncWriteExt, process::Command};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::{block_on, proxy};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn both(url: &str) -> (Client, Client, Proxy) {
    let proxy = proxy(url).await;
    (connect(url).await, connect(&proxy.url()).await, proxy)
}

/// Prepared statements, pipelined ones, several in a simple query, errors, and large results.
pub(crate) fn unchanged(url: &str) {
    block_on(async {
        let (direct, proxied, _proxy) = both(url).await;
        let mut seen = Vec::new();
        for client in [&direct, &proxied] {
            let add = client.prepare("SELECT $1::int4 + $2::int4").await.unwrap();
            let mut results = Vec::new();
            for number in 0..3i32 {
                results.push(client.query_one(&add, &[&number, &7i32]).await.unwrap().get::<_, i32>(0));
            }
            let (one, two, three) = tokio::join!(
                client.query_one(&add, &[&1i32, &1i32]),
                client.query_one("SELECT 1/($1::int4 - $1::int4)", &[&1i32]),
                client.query_one(&add, &[&2i32, &2i32]),
            );
            results.extend([one.unwrap().get::<_, i32>(0), three.unwrap().get::<_, i32>(0)]);
            let failed = two.unwrap_err().code().map(|code| code.code().to_owned());
            let several = client.simple_query("SELECT 1; SELECT 2; SELECT 3").await.unwrap().len();
            let large = "SELECT repeat('x', 1000) FROM generate_series(1, 20000)";
            let rows = client.query(large, &[]).await.unwrap().len();
            seen.push((results, failed, several, rows));
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0].1.as_deref(), Some("22012"));
    });
}

/// With psql, which is what loads and dumps tables.
pub(crate) fn copy(url: &str) {
    block_on(async {
        let proxy = proxy(url).await;
        let rows: String = (0..1000).map(|number| format!("{number}\n")).collect();
        let script =
            format!("CREATE TEMPORARY TABLE n (n int);\nCOPY n FROM STDIN;\n{rows}\\.\nCOPY n TO STDOUT;\n");
        let mut psql = Command::new(Installation::find().unwrap().program("psql"))
            .args(["--no-psqlrc", "--quiet", &proxy.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = psql.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).await.unwrap();
        drop(stdin);
        let output = psql.wait_with_output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), rows);
    });
}

pub(crate) fn notifications(url: &str) {
    block_on(async {
        let proxy = proxy(url).await;
        let (listener, mut connection) = tokio_postgres::connect(&proxy.url(), NoTls).await.unwrap();
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(notification) = message {
                    sender.send(notification.payload().to_owned()).unwrap();
                }
            }
        });
        listener.batch_execute("LISTEN cards").await.unwrap();
        connect(url).await.batch_execute("NOTIFY cards, 'used'").await.unwrap();
        let payload = tokio::time::timeout(Duration::from_secs(5), heard.recv()).await.unwrap();
        assert_eq!(payload.as_deref(), Some("used"));
    });
}

pub(crate) fn cancel(url: &str) {
    block_on(async {
        let (_, client, _proxy) = both(url).await;
        let token = client.cancel_token();
        let sleep = client.query("SELECT pg_sleep(60)", &[]);
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            token.cancel_query(NoTls).await.unwrap();
        };
        let (slept, ()) = tokio::join!(sleep, cancel);
        assert_eq!(slept.unwrap_err().code().map(|code| code.code().to_owned()).as_deref(), Some("57014"));
    });
}

pub(crate) fn scram(url: &str) {
    block_on(async {
        let direct = connect(url).await;
        direct
            .batch_execute("DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'p@ss'")
            .await
            .unwrap();
        let file: String = direct.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
        let rules = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("local all guarded scram-sha-256\n{rules}")).unwrap();
        direct.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let guarded = |password: &str| url.replace("countersign@", &format!("guarded:{password}@"));
        // The signal travels on its own.
        while tokio_postgres::connect(&guarded("wrong"), NoTls).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut right = proxy(&guarded("p%40ss")).await;
        connect(&right.url()).await.simple_query("SELECT 1").await.unwrap();
        let rows = right.monitor().await.unwrap().query("SELECT current_user").await.unwrap();
        assert_eq!(rows, [[Some("guarded".to_owned())]]);
        let mut wrong = proxy(&guarded("wrong")).await;
        assert!(tokio_postgres::connect(&wrong.url(), NoTls).await.is_err());
        let error = wrong.monitor().await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("28P01") && !error.contains("wrong"), "{error}");
        fs::write(&file, rules).unwrap();
        direct.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    });
}

/// With a password, too: the offer of a channel binding must not reach the service, whose side is not encrypted.
pub(crate) fn encrypted(_url: &str) {
    let cluster = Cluster::start(Fsync::Off).unwrap();
    let port = unused_port();
    block_on(async {
        let direct = connect(&cluster.url()).await;
        direct.batch_execute("CREATE ROLE sealed LOGIN PASSWORD 'p'").await.unwrap();
    });
    let data = cluster.socket_directory().join("data");
    let file = |name: &str| data.join(name).display().to_string();
    let append = |name: &str, text: String| {
        fs::OpenOptions::new()
            .append(true)
            .open(data.join(name))
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    fs::write(
        data.join("pg_hba.conf"),
        "hostssl all sealed 127.0.0.1/32 scram-sha-256\nlocal all all trust\n",
    )
    .unwrap();
    append("postgresql.conf", format!("ssl = on\nlisten_addresses = '127.0.0.1'\nport = {port}\n"));
    let owner = fs::metadata(&data).unwrap();
    for name in ["server", "other"] {
        certificate(&data, name, None);
    }
    std::os::unix::fs::chown(data.join("server.key"), Some(owner.uid()), Some(owner.gid())).unwrap();
    cluster.stop().unwrap();
    cluster.start_again().unwrap();
    block_on(async {
        let at = |parameters: &str| format!("postgres://sealed:p@127.0.0.1:{port}/postgres?{parameters}");
        let trusts = |name: &str| at(&format!("sslmode=verify-full&sslrootcert={}", file(name)));
        for url in [at("sslmode=require"), trusts("server.crt")] {
            let mut proxy = proxy(&url).await;
            let is_encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let row = connect(&proxy.url()).await.query_one(is_encrypted, &[]).await.unwrap();
            assert!(row.get::<_, bool>(0));
            let own = proxy.monitor().await.unwrap().query(is_encrypted).await.unwrap();
            assert_eq!(own, [[Some("t".to_owned())]]);
            // libpq takes the offer for an attack.
            let psql =
                Command::new(cluster.program("psql")).args([&proxy.url(), "-Atc", "SELECT 1"]).output().await;
            assert_eq!(psql.unwrap().stdout, b"1\n");
        }
        for url in [at("sslmode=disable"), trusts("other.crt")] {
            let mut proxy = proxy(&url).await;
            assert!(proxy.monitor().await.is_err());
            assert!(tokio_postgres::connect(&proxy.url(), NoTls).await.is_err());
        }
    });
}

pub(crate) fn recorded(url: &str) {
    block_on(async {
        let (_, client, mut proxy) = both(url).await;
        client.batch_execute("CREATE TEMPORARY TABLE numbers (n int8, t text)").await.unwrap();
        proxy.record();
        let insert = client.prepare("INSERT INTO numbers VALUES ($1, $2)").await.unwrap();
        client.execute(&insert, &[&5i64, &"five"]).await.unwrap();
        client.execute(&insert, &[&6i64, &None::<&str>]).await.unwrap();
        client.batch_execute("BEGIN").await.unwrap();
        client.execute("UPDATE numbers SET t = 'x'", &[]).await.unwrap();
        client.query("SELECT 1/0", &[]).await.unwrap_err();
        // An error arrives before its statement has ended; a rollback is answered after it.
        client.batch_execute("ROLLBACK").await.unwrap();
        let recorded = proxy.take_recording();
        let lines: Vec<_> = recorded
            .iter()
            .map(|unit| {
                let answer = unit.answer.as_ref().unwrap();
                format!("{} → {answer} {:?}", unit.statements[0], answer.transaction.unwrap())
            })
            .collect();
        assert_eq!(
            lines,
            [
                "INSERT INTO numbers VALUES ($1, $2)  -- $1 = '5', $2 = 'five' → INSERT 0 1 Idle",
                "INSERT INTO numbers VALUES ($1, $2)  -- $1 = '6', $2 = NULL → INSERT 0 1 Idle",
                "BEGIN → BEGIN Open",
                "UPDATE numbers SET t = 'x' → UPDATE 2 Open",
                "SELECT 1/0 → ERROR 22012: division by zero Failed",
                "ROLLBACK → ROLLBACK Idle",
            ]
        );
        assert_eq!(recorded[0].statements[0].parameters[0], Parameter::Text("5".to_owned()));
        assert_eq!(recorded[2].answer.as_ref().unwrap().results[0].rows, None);
    });
}

/// Poolers clear a connection before another client gets it.
pub(crate) fn forgotten(url: &str) {
    block_on(async {
        let (_, client, mut proxy) = both(url).await;
        for forget in ["DEALLOCATE ALL", "DISCARD ALL"] {
            let known = client.prepare("SELECT 1").await.unwrap();
            proxy.record();
            client.simple_query(forget).await.unwrap();
            client.query(&known, &[]).await.unwrap_err();
            let again = client.prepare("SELECT 2").await.unwrap();
            client.query(&again, &[]).await.unwrap();
            let recorded = proxy.take_recording();
            let texts: Vec<_> = recorded.iter().map(|unit| unit.statements[0].to_string()).collect();
            assert!(
                matches!(&texts[..], [first, second, third]
                    if first == forget && second.starts_with("EXECUTE \"s") && third == "SELECT 2"),
                "{texts:?}"
            );
            let refused = recorded[1].answer.as_ref().unwrap().error.as_ref().unwrap();
            assert_eq!(refused.code, "26000", "{refused}");
        }
    });
}
