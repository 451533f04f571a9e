//! How a connection to the server is encrypted: the parameters of libpq's, and what each asks of the certificate.
//!
//! | `sslmode` | encrypted | certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `allow` | where the server refuses a connection without | not verified |
//! | `prefer` (default) | where the server can | not verified |
//! | `require` | yes | verified by `sslrootcert` where that file exists |
//! | `verify-ca` | yes | signed by an authority of `sslrootcert` |
//! | `verify-full` | yes | the same, and for this host's name |
//!
//! `sslrootcert=system` stands for the system's authorities, and needs `verify-full`. A Unix socket is never encrypted.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Client, Config, Error as ServerError,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::{OpenError, connection::IoDriver};

/// A server, and how a connection to it is encrypted.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    /// `sslmode=allow`: the connection that is tried when the server refuses the first one.
    encrypted: Option<Config>,
}

/// The `sslmode`, with libpq's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The parameters of a URL that the driver does not know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameters {
    mode: Option<String>,
    roots: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Server {
    /// Reads a URL. The rest of the configuration is the caller's to change.
    pub(super) fn parse(url: &str, change: impl FnOnce(&mut Config)) -> Result<Self, OpenError> {
        let (url, parameters) = parameters_of(url);
        let mut config: Config = url.parse().map_err(OpenError::Url)?;
        let mode = match &parameters.mode {
            Some(name) => Mode::parse(name)?,
            // A text of `key=value` pairs, in which the driver has read it.
            None => match config.get_ssl_mode() {
                SslMode::Disable => Mode::Disable,
                SslMode::Require => Mode::Require,
                _ => Mode::Prefer,
            },
        };
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        let hosts = config.get_hosts();
        let mode = if !hosts.is_empty() && hosts.iter().all(is_socket) { Mode::Disable } else { mode };
        change(&mut config);
        config.ssl_mode(match mode {
            Mode::Disable | Mode::Allow => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        let encrypted = (mode == Mode::Allow).then(|| {
            let mut config = config.clone();
            config.ssl_mode(SslMode::Require);
            config
        });
        let tls = MakeRustlsConnect::new(client_config(mode, &parameters)?);
        Ok(Self { config, tls, encrypted })
    }

    /// A new connection. It makes progress while the link is polled.
    pub(super) async fn connect(&self) -> Result<(Client, IoDriver), ServerError> {
        let connected = self.config.connect(self.tls.clone()).await;
        let connected = match (connected, &self.encrypted) {
            (Err(error), Some(encrypted)) if error.as_db_error().is_some() => {
                encrypted.connect(self.tls.clone()).await
            }
            (connected, _) => connected,
        };
        connected.map(|(client, connection)| (client, Box::pin(connection) as IoDriver))
    }
}

impl Mode {
    fn parse(name: &str) -> Result<Self, OpenError> {
        Ok(match name {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            other => {
                return Err(OpenError::Tls(format!(
                    "sslmode={other} is none of disable, allow, prefer, require, verify-ca, verify-full"
                )));
            }
        })
    }
}

/// Takes the parameters of a URL that are about encryption; the driver reads the rest.
fn parameters_of(url: &str) -> (String, Parameters) {
    let mut parameters = Parameters::default();
    let Some((before, query)) = url.split_once('?').filter(|_| url.contains("://")) else {
        return (url.to_owned(), parameters);
    };
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let kept = match name {
            "sslmode" => &mut parameters.mode,
            "sslrootcert" => &mut parameters.roots,
            "sslcert" => &mut parameters.certificate,
            "sslkey" => &mut parameters.key,
            _ => {
                rest.push(pair);
                continue;
            }
        };
        *kept = Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
    }
    let url = if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    (url, parameters)
}

fn client_config(mode: Mode, parameters: &Parameters) -> Result<ClientConfig, OpenError> {
    let provider = Arc::new(ring::default_provider());
    let invalid = |error: &dyn fmt::Display| OpenError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, roots(mode, parameters)?) {
        (Mode::Require | Mode::VerifyCa | Mode::VerifyFull, Some(roots)) => {
            let signer =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
            let signer = signer.map_err(|error| invalid(&error))?;
            if mode == Mode::VerifyFull {
                signer
            } else {
                Arc::new(Lenient { signer: Some(signer), provider })
            }
        }
        _ => Arc::new(Lenient { signer: None, provider }),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    if mode == Mode::Disable {
        return Ok(builder.with_no_client_auth());
    }
    let default = |name| default_file(name).filter(|file| file.exists());
    let named = |name: &Option<String>, file| name.as_ref().map(PathBuf::from).or_else(|| default(file));
    match (named(&parameters.certificate, "postgresql.crt"), named(&parameters.key, "postgresql.key")) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(&certificate)?;
            let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable(&key, &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| invalid(&error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) => Err(OpenError::Tls("sslcert is set and sslkey is not".to_owned())),
        (None, Some(_)) => Err(OpenError::Tls("sslkey is set and sslcert is not".to_owned())),
    }
}

/// The authorities whose certificates are accepted; none where no certificate is verified.
fn roots(mode: Mode, parameters: &Parameters) -> Result<Option<RootCertStore>, OpenError> {
    const MISSING: &str = "it needs a file of certificates to verify the server's by: set sslrootcert=FILE or \
                           sslrootcert=system";
    let mut roots = RootCertStore::empty();
    if mode == Mode::Disable {
        return Ok(None);
    }
    if parameters.roots.as_deref() == Some("system") {
        if mode != Mode::VerifyFull {
            return Err(OpenError::Tls("sslrootcert=system needs sslmode=verify-full".to_owned()));
        }
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(OpenError::Tls("sslrootcert=system: the system has no certificates".to_owned()));
        }
        return Ok(Some(roots));
    }
    let file = parameters.roots.as_ref().map(PathBuf::from).or_else(|| default_file("root.crt"));
    let verifies = matches!(mode, Mode::VerifyCa | Mode::VerifyFull);
    match file {
        Some(file) if verifies || (mode == Mode::Require && file.exists()) => {
            for certificate in certificates(&file)? {
                roots.add(certificate).map_err(|error| unreadable(&file, &error))?;
            }
            Ok(Some(roots))
        }
        None if verifies => Err(OpenError::Tls(MISSING.to_owned())),
        _ => Ok(None),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| unreadable(file, &error))?;
    if certificates.is_empty() {
        return Err(unreadable(file, &"it has no certificate"));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, error: &dyn fmt::Display) -> OpenError {
    OpenError::Tls(format!("{}: {error}", file.display()))
}

/// A file that libpq reads where a parameter names none.
fn default_file(name: &str) -> Option<PathBuf> {
    env::var_os("HOME").map(|home| PathBuf::from(home).join(".postgresql").join(name))
}

/// Verifies less of a certificate than rustls does; its owner must still have its key.
#[derive(Debug)]
struct Lenient {
    /// Verifies who signed the certificate; its judgement on the name is ignored. `None`: any certificate is accepted.
    signer: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(signer) = &self.signer else { return Ok(ServerCertVerified::assertion()) };
        match signer.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            // The name is verified last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_given_what_is_not_about_encryption() {
        let (url, parameters) = parameters_of(
            "postgres://me@db/gate?application_name=x&sslmode=verify-full&sslrootcert=%2Froot%20ca&options=-c",
        );
        assert_eq!(url, "postgres://me@db/gate?application_name=x&options=-c");
        let (mode, roots) = (Some("verify-full".to_owned()), Some("/root ca".to_owned()));
        assert_eq!(parameters, Parameters { mode, roots, ..Parameters::default() });
        assert_eq!(parameters_of("host=db sslmode=require").0, "host=db sslmode=require");
    }

    #[test]
    fn what_cannot_be_verified_is_refused_with_what_to_set() {
        let refused = |url| match Server::parse(url, |_| ()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{url}: it is accepted"),
        };
        assert!(refused("postgres://me@db?sslmode=verify").contains("verify-ca"));
        assert!(refused("postgres://me@db?sslmode=require&sslrootcert=system").contains("verify-full"));
        assert!(refused("postgres://me@db?sslmode=verify-ca&sslrootcert=/no/file").contains("/no/file"));
        assert!(refused("postgres://me@db?sslmode=require&sslcert=/no/file").contains("sslkey"));
    }
}
