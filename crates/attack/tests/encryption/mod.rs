//! Servers with encryption.

use std::{path::Path, sync::Arc};

use countersign_testkit::certificate;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// The certificate of a server that an authority has issued, and one that the server has issued itself.
pub(crate) fn certificates(folder: &Path) {
    certificate(folder, "authority", None);
    certificate(folder, "server", Some("authority"));
    certificate(folder, "alone", None);
}

/// Accepts connections with this certificate, for these protocols.
pub(crate) fn acceptor(folder: &Path, name: &str, protocols: &[&str]) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
