//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), for the proxy's own connection.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

const HASH_LEN: usize = 32;
const BLOCK_LEN: usize = 64;
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

    /// Answers the server's challenge; `None` when it is malformed.
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
        let salted = salted_password(password, &salt, iterations);
        let client_key = hmac(&salted, b"Client Key");
        let stored_key: [u8; HASH_LEN] = Sha256::digest(client_key).into();
        let signature = hmac(&stored_key, authenticated.as_bytes());
        let proof: Vec<_> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        let server_key = hmac(&salted, b"Server Key");
        let expected = hmac(&server_key, authenticated.as_bytes());
        Some(Final {
            message: format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            expected: format!("v={}", BASE64_STANDARD.encode(expected)),
        })
    }
}

/// HMAC-SHA-256 (RFC 2104) with a key that is used more than once.
struct Keyed {
    inner: Sha256,
    outer: Sha256,
}

impl Keyed {
    fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK_LEN];
        let hashed: [u8; HASH_LEN] = Sha256::digest(key).into();
        let key = if key.len() > BLOCK_LEN { &hashed[..] } else { key };
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte = *key);
        let padded = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    fn mac(&self, message: &[u8]) -> [u8; HASH_LEN] {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; HASH_LEN] {
    Keyed::new(key).mac(message)
}

/// PBKDF2 with one block.
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; HASH_LEN] {
    let keyed = Keyed::new(password.as_bytes());
    let mut last = keyed.mac(&[salt, &1u32.to_be_bytes()].concat());
    let mut folded = last;
    for _ in 1..iterations {
        last = keyed.mac(&last);
        folded.iter_mut().zip(last).for_each(|(byte, other)| *byte ^= other);
    }
    folded
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

    /// Test cases 2 and 6 of RFC 4231: a short key, and one that is longer than a block.
    #[test]
    fn hmac_agrees_with_the_rfc() {
        let hex = |bytes: [u8; HASH_LEN]| bytes.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(
            hex(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
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
