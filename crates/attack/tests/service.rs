//! The service is started in a process group of its own, and only that group is killed.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use countersign_attack::{
    Clock,
    safety::Stop,
    service::Running,
    target::Service,
    template::{Template, Values},
};
use countersign_testkit::unused_port;

/// A shell that starts the server as its child.
fn service(script: &str, ready: Option<&str>) -> Service {
    Service {
        start: ["sh", "-c", script].map(Template::literal).to_vec(),
        env: Vec::new(),
        ready: ready.map(Template::literal),
        ready_within: Duration::from_secs(20),
        lease: Duration::from_secs(1),
    }
}

async fn start(service: &Service, address: SocketAddr, folder: &std::path::Path) -> Result<Running, Stop> {
    let authority = address.to_string();
    let log = folder.join("log");
    Running::start(service, folder, &address.into(), &authority, &Values::new(), &log, Clock::start()).await
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_kill_ends_what_was_started_with_its_children_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], unused_port()).into();
    let mut bystander = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let script = format!("python3 -m http.server {} --bind 127.0.0.1 & wait", address.port());
    run(async {
        let mut running = start(&service(&script, Some("/")), address, folder.path()).await.unwrap();
        assert!(TcpStream::connect(address).is_ok());
        running.kill().await;
        assert!(TcpStream::connect(address).is_err());
    });
    assert!(bystander.try_wait().unwrap().is_none(), "another process was killed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn a_service_that_ends_or_whose_port_is_taken_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], unused_port()).into();
    run(async {
        let ended =
            start(&service("echo no database; exit 3", None), address, folder.path()).await.unwrap_err();
        assert!(ended.to_string().contains("no database"), "{ended}");
        let taken = TcpListener::bind(address).unwrap();
        let error = start(&service("sleep 5", None), address, folder.path()).await.unwrap_err();
        assert!(error.to_string().contains("is in use"), "{error}");
        drop(taken);
    });
}
