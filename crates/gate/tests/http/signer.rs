//! A key of an identity provider, made with openssl.

use std::{fs, path::Path, process::Command};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::Value;

/// A key of the provider's, with its public half.
pub(crate) struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    pub(crate) id: &'static str,
}

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output();
    let made = made.expect("there is openssl");
    assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

impl Signer {
    pub(crate) fn rsa(folder: &Path, id: &'static str) -> Self {
        openssl(folder, "genrsa -out rsa.pem 2048");
        openssl(folder, "rsa -in rsa.pem -traditional -outform DER -out rsa.der");
        let key = EncodingKey::from_rsa_der(&fs::read(folder.join("rsa.der")).expect("a key"));
        Self { algorithm: Algorithm::RS256, key, id }
    }

    pub(crate) fn ec(folder: &Path, id: &'static str) -> Self {
        openssl(folder, "ecparam -genkey -noout -name prime256v1 -out ec.pem");
        openssl(folder, "pkcs8 -topk8 -nocrypt -in ec.pem -outform DER -out ec.der");
        let key = EncodingKey::from_ec_der(&fs::read(folder.join("ec.der")).expect("a key"));
        Self { algorithm: Algorithm::ES256, key, id }
    }

    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).expect("JSON")
    }

    pub(crate) fn sign_as(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).expect("a token")
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(self.id), claims)
    }
}
