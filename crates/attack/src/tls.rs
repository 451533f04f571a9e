//! The settings of encrypted connections: to the service under attack, and to its database.

use std::{io, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// The certificates that a connection accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'a> {
    /// Any.
    Unverified,
    /// Those in this file, and those that they have issued.
    File(&'a Path),
    /// Those that the system trusts.
    System,
}

/// # Errors
/// The trusted certificates cannot be read.
pub(crate) fn client_config(trust: Trust<'_>) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let trusted = match trust {
        Trust::Unverified => None,
        Trust::File(file) => Some(read(file)?),
        Trust::System => Some(rustls_native_certs::load_native_certs().certs),
    };
    let authorities = trusted.as_ref().map(|trusted| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        builder.build().map_err(|_| io::Error::other("there is no trusted certificate (name one with `ca`)"))
    });
    let listed = trusted.clone().unwrap_or_default();
    let verifier =
        Verifier { provider: Arc::clone(&provider), listed, authorities: authorities.transpose()? };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn read(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let unreadable = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
    if certificates.is_empty() { Err(unreadable(&"it contains no certificate")) } else { Ok(certificates) }
}

/// Accepts a listed certificate for every name: a self-signed one often has no address. Any other has to be
/// issued by an authority.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    listed: Vec<CertificateDer<'static>>,
    /// `None`: every certificate is accepted. The signatures must still be right.
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.authorities {
            Some(authorities) if !self.listed.contains(certificate) => {
                authorities.verify_server_cert(certificate, intermediates, name, ocsp_response, now)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
