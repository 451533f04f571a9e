//! Certificates for servers that a test starts.

use std::{path::Path, process::Command};

/// Writes `NAME.crt` and `NAME.key` into the folder: a certificate for 127.0.0.1, issued by another one of the folder, or
/// else by itself.
///
/// # Panics
/// `openssl` is not installed, or fails.
pub fn certificate(folder: &Path, name: &str, issuer: Option<&str>) {
    let mut command = Command::new("openssl");
    command
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
    if let Some(issuer) = issuer {
        command.args(["-CA", &format!("{issuer}.crt"), "-CAkey", &format!("{issuer}.key")]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    }
    let made = command.current_dir(folder).output().expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
