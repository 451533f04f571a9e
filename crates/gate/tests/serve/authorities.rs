//! Other servers over TLS: verified by the system's authorities, to which an operator can add one.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use countersign_testkit::certificate;
use serde_json::json;

use crate::{
    process::{Server, Workplace, eventually},
    promote::{requested, shop},
    signer::Signer,
};

/// `openssl s_server`, whose certificate `authority.crt` has issued. It is killed when it is dropped.
struct Https {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Https {
    fn start(workplace: &Workplace, arguments: &[&str]) -> Self {
        let folder = workplace.path(".");
        certificate(&folder, "authority", None);
        certificate(&folder, "server", Some("authority"));
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert", "server.crt", "-key", "server.key"]);
        command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("openssl is installed");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut https = Self { child, input, output, address: String::new() };
        let listens = https.line_with("ACCEPT ");
        https.address = listens.trim_start_matches("ACCEPT ").trim().to_owned();
        https
    }

    fn line_with(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).expect("text"), 0, "it has ended");
        }
        line
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server trusts this authority.
fn trusting(workplace: &Workplace, config: &str) -> Server {
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", "memory", "--config", config];
    let mut gate = workplace.gate(&args);
    gate.env("SSL_CERT_FILE", workplace.path("authority.crt"));
    Server::start(gate)
}

#[test]
fn keys_come_over_https_from_a_server_that_is_trusted() {
    let workplace = Workplace::new();
    let https = Https::start(&workplace, &["-WWW"]);
    let signer = Signer::ec(&workplace.path("."), "one");
    workplace.write("jwks.json", &json!({ "keys": [signer.public()] }).to_string());
    let jwks = format!("https://{}/jwks.json", https.address);
    let config =
        format!("[identity]\nissuer = \"https://id.example.com\"\naudience = \"gate\"\njwks = \"{jwks}\"\n");
    let config = workplace.write("gate.toml", &config);
    let refused = workplace.refusal(&["--store", "memory", "--config", &config]);
    assert!(refused.contains(&jwks) && refused.contains("UnknownIssuer"), "{refused}");
    assert_eq!(trusting(&workplace, &config).status_of_token_by(&signer), 404, "the token is accepted");
}

#[test]
fn links_go_to_a_webhook_that_is_trusted() {
    let workplace = Workplace::new();
    let mut https = Https::start(&workplace, &[]);
    let config = format!(
        "[notifier]\nwebhook = \"https://{}/hook\"\nwebhook_secret = \"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"\n",
        https.address
    );
    let config = workplace.write("gate.toml", &config);
    let server = trusting(&workplace, &config);
    https.input.write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it is taken");
    let approval = requested(&server, &shop(&server));
    let sent = "\nnotices_total{outcome=\"sent\"} 1\n";
    eventually(|| server.metrics().contains(sent).then_some(()));
    https.line_with(&approval);
}
