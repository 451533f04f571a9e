//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), for the proxy's own connection.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const HASH_LEN: usize = 32;
/// More would be a way to keep the client busy; PostgreSQL's default is 4,096.
const MOST_ITERATIONS: u32 = 10_000_000;

/// An exchange that has begun.
pub(super) struct Exchange {
    first_bare: String,
    nonce: String,
}

/// The client's last message, and what the server has to answer to prove that it knows the password.
pub(super) struct Final {
    pub(super) message: String,
    pub(super) expected: String,
}

impl Exchange {
    /// Begins with a nonce that must be fresh.
    pub(super) fn new(nonce: [u8; 18]) -> Self {
        let nonce = BASE64_STANDARD.encode(nonce);
        // PostgreSQL takes the user from the startup message.
        Self { first_bare: format!("n=,r={nonce}"), nonce }
    }

    pub(super) fn first_message(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// Answers the server's challenge; none when it is malformed.
    pub(super) fn answer(&self, challenge: &str, password: &str) -> Option<Final> {
        let (mut nonce, mut salt, mut iterations) = (None, None, None);
        for attribute in challenge.split(',') {
            match attribute.split_once('=')? {
                ("r", value) => nonce = Some(value),
                ("s", value) => salt = Some(BASE64_STANDARD.decode(value).ok()?),
                ("i", value) => iterations = value.parse::<u32>().ok(),
                _ => {}
            }
        }
        let (nonce, salt) = (nonce?, salt?);
        let iterations = iterations.filter(|count| (1..=MOST_ITERATIONS).contains(count))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return None;
        }
        let without_proof = format!("c=biws,r={nonce}");
        let authenticated = format!("{},{challenge},{without_proof}", self.first_bare);
        let salted = salted_password(password, &salt, iterations)?;
        let client_key = hmac(&salted, b"Client Key")?;
        let stored_key: [u8; HASH_LEN] = Sha256::digest(client_key).into();
        let signature = hmac(&stored_key, authenticated.as_bytes())?;
        let proof: Vec<_> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        let server_key = hmac(&salted, b"Server Key")?;
        let expected = hmac(&server_key, authenticated.as_bytes())?;
        Some(Final {
            message: format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            expected: format!("v={}", BASE64_STANDARD.encode(expected)),
        })
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Option<[u8; HASH_LEN]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(message);
    Some(mac.finalize().into_bytes().into())
}

/// PBKDF2 with one block.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Option<[u8; HASH_LEN]> {
    let keyed = Hmac::<Sha256>::new_from_slice(password.as_bytes()).ok()?;
    let round = |message: &[&[u8]]| -> [u8; HASH_LEN] {
        let mut mac = keyed.clone();
        message.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut last = round(&[salt, &1u32.to_be_bytes()]);
    let mut folded = last;
    for _ in 1..iterations {
        last = round(&[&last]);
        folded.iter_mut().zip(last).for_each(|(byte, other)| *byte ^= other);
    }
    Some(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let nonce = "rOprNGfwEbeRWgbNEkqO";
        let exchange = Exchange { first_bare: format!("n=user,r={nonce}"), nonce: nonce.to_owned() };
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = exchange.answer(challenge, "pencil").unwrap();
        assert_eq!(
            answer.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(answer.expected, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_server_that_does_not_continue_the_nonce_is_refused() {
        let exchange = Exchange::new([7; 18]);
        let same = format!("r={},s=AAAA,i=1", exchange.nonce);
        assert!(exchange.answer(&same, "pencil").is_none());
        assert!(exchange.answer("r=other,s=AAAA,i=1", "pencil").is_none());
        let endless = format!("r={}x,s=AAAA,i=4000000000", exchange.nonce);
        assert!(exchange.answer(&endless, "pencil").is_none());
    }
}
