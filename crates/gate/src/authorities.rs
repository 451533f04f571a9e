//! The certificate authorities by which other servers are verified.

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The system's authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. Where there are none, Mozilla's, which are
/// compiled in.
pub(crate) fn trusted() -> TlsConfig {
    let system = rustls_native_certs::load_native_certs().certs;
    let roots = match system.is_empty() {
        true => RootCerts::WebPki,
        false => system.iter().map(|one| Certificate::from_der(one).to_owned()).into(),
    };
    TlsConfig::builder().root_certs(roots).build()
}
