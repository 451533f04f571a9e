//! Connections over TLS: each `sslmode`, against a server that takes no other connections over the network.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::Command,
    sync::Arc,
};

use countersign::store::{Operations, postgres::PostgresStore};
use countersign_testkit::{Cluster, Fsync, unused_port};

use super::{admin, ids, on, options, own_cluster};
use crate::postgres::new_schema;

/// An authority, and a certificate of its for `localhost`, but for no address.
fn make_certificates(folder: &Path, authority: &str) {
    let run = |arguments: &str| {
        let made = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output();
        let made = made.expect("there is openssl");
        assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
    };
    let key = |name: &str| format!("-newkey rsa:2048 -nodes -keyout {name}.key -subj /CN={name}");
    let is_authority = "-addext basicConstraints=critical,CA:TRUE";
    run(&format!("req -x509 -days 2 {} {is_authority} -out {authority}.crt", key(authority)));
    let name = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    run(&format!("req {} {name} -out server.csr", key("server")));
    let signed_by = format!("-CA {authority}.crt -CAkey {authority}.key -CAcreateserial");
    run(&format!("x509 -req -days 2 -in server.csr -copy_extensions copy {signed_by} -out server.crt"));
}

pub(super) async fn a_connection_is_encrypted_and_verified_as_sslmode_says(_: Arc<Cluster>) {
    let cluster = own_cluster(Fsync::Off).await;
    let port = unused_port();
    let data = cluster.socket_directory().join("data");
    make_certificates(&data, "other");
    make_certificates(&data, "ours");
    let owner = fs::metadata(&data).expect("it is there");
    chown(data.join("server.key"), Some(owner.uid()), Some(owner.gid())).expect("it is ours");
    let rules = "hostssl all all localhost trust\nhostssl all all 127.0.0.1/32 trust\nlocal all all trust\n";
    fs::write(data.join("pg_hba.conf"), rules).expect("it is ours");
    let mut settings =
        fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("it is ours");
    writeln!(settings, "ssl = on\nlisten_addresses = '127.0.0.1'\nport = {port}").expect("it is ours");
    on(&cluster, Cluster::stop).await;
    on(&cluster, Cluster::start_again).await;

    let schema = new_schema();
    let over_the_socket = format!("{}&port={port}", cluster.url());
    let client = admin(&over_the_socket, "public").await;
    let encrypted = async |url: &str| {
        let store =
            PostgresStore::connect(url, ids(), &options(&schema)).await.map_err(|error| error.to_string())?;
        store.is_ready().await.expect("it answers");
        let ours = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE application_name = 'countersign'";
        let row = client.query_one(ours, &[]).await.expect("the server answers");
        drop(store);
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'countersign'";
        while client.query_one(gone, &[]).await.expect("the server answers").get::<_, i64>(0) > 0 {
            tokio::task::yield_now().await;
        }
        Ok::<bool, String>(row.get(0))
    };
    let at = |host: &str, parameters: &str| {
        let (user, data) = (cluster.user(), data.display());
        let parameters = parameters.replace("OURS", &format!("{data}/ours.crt"));
        let parameters = parameters.replace("OTHER", &format!("{data}/other.crt"));
        format!("postgres://{user}@{host}:{port}/postgres?{parameters}")
    };
    for parameters in [
        "application_name=countersign",
        "sslmode=allow",
        "sslmode=prefer",
        "sslmode=require",
        "sslmode=require&sslrootcert=OURS",
        "sslmode=verify-ca&sslrootcert=OURS",
    ] {
        assert_eq!(encrypted(&at("127.0.0.1", parameters)).await, Ok(true), "{parameters}");
    }
    let verified = "sslmode=verify-full&sslrootcert=OURS";
    assert_eq!(encrypted(&at("localhost", verified)).await, Ok(true));
    for (host, parameters, why) in [
        ("127.0.0.1", "sslmode=disable", "no encryption"),
        ("127.0.0.1", verified, "not valid for name"),
        ("localhost", "sslmode=require&sslrootcert=OTHER", "certificate"),
        ("localhost", "sslmode=verify-ca&sslrootcert=OTHER", "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=OTHER", "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=system", "certificate"),
        ("localhost", "sslmode=verify-full&sslrootcert=/no/file", "/no/file"),
    ] {
        let refused = encrypted(&at(host, parameters)).await.expect_err(parameters);
        assert!(refused.contains(why), "{parameters}: {refused}");
    }
    let socket = format!("{over_the_socket}&sslmode=verify-full&sslrootcert=system");
    assert_eq!(encrypted(&socket).await, Ok(false), "a socket is never encrypted");
}
