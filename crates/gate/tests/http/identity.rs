//! Whose bearer tokens are accepted: those of earlier secrets, and those of an identity provider.

use std::{fs, sync::Arc, time::Duration};

use countersign_gate::http::{IdentityProvider, IdentitySettings, mint};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::{
    gate::{Gate, OPENS, SECRET, claims},
    signer::Signer,
};

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "countersign";

async fn status(gate: &Gate, token: &str) -> u16 {
    let answer = gate.get(&format!("/api/v1/stacks/{}", gate.slug), &format!("Bearer {token}")).await;
    answer.status.as_u16()
}

#[tokio::test]
async fn a_token_of_an_earlier_secret_is_good_until_that_secret_is_removed() {
    let (old, older) = (b"the secret before this one".to_vec(), b"and the one before that".to_vec());
    let rotated = Gate::with(|parts| parts.earlier_secrets = vec![old.clone(), older.clone()]);
    for secret in [SECRET, &old, &older] {
        assert_eq!(status(&rotated, &mint(secret, &claims())).await, 200);
        // The id of the key is a hint, and proves nothing.
        let header = Header { kid: Some("of another program".to_owned()), ..Header::new(Algorithm::HS256) };
        let named = encode(&header, &claims(), &EncodingKey::from_secret(secret)).expect("a token");
        assert_eq!(status(&rotated, &named).await, 200);
    }
    assert_eq!(status(&rotated, &mint(b"none of them", &claims())).await, 401);
    let current = Gate::new();
    assert_eq!(status(&current, &mint(SECRET, &claims())).await, 200);
    assert_eq!(status(&current, &mint(&old, &claims())).await, 401);
    let header = jsonwebtoken::decode_header(mint(SECRET, &claims())).expect("a token");
    assert_ne!(header.kid, jsonwebtoken::decode_header(mint(&old, &claims())).expect("a token").kid);
}

fn issued(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = serde_json::to_value(claims()).expect("JSON");
    claims["iss"] = json!(ISSUER);
    claims["aud"] = json!(AUDIENCE);
    change(&mut claims);
    claims
}

#[tokio::test]
async fn a_token_of_the_identity_provider_needs_its_key_its_issuer_and_this_audience() {
    let folder = tempfile::tempdir().expect("a folder");
    let (rsa, ec) = (Signer::rsa(folder.path(), "one"), Signer::ec(folder.path(), "two"));
    let file = folder.path().join("jwks.json");
    let publish = |keys: &[Value]| fs::write(&file, json!({ "keys": keys }).to_string()).expect("a file");
    // A kind of key that is not known here is no reason to refuse the others.
    publish(&[json!({ "kty": "post-quantum", "kid": "three" }), rsa.public(), ec.public()]);
    let settings = || IdentitySettings {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks: file.display().to_string(),
    };
    let provider = Arc::new(IdentityProvider::open(settings()).expect("it has keys"));
    let gate = Gate::with(|parts| parts.identity = Some(Arc::clone(&provider)));
    assert_eq!(status(&gate, &mint(SECRET, &claims())).await, 200, "its own tokens are still good");
    for signer in [&rsa, &ec] {
        assert_eq!(status(&gate, &signer.sign(&issued(|_| ()))).await, 200, "{}", signer.id);
        assert_eq!(
            status(&gate, &signer.sign(&issued(|claims| claims["aud"] = json!([AUDIENCE, "b"])))).await,
            200
        );
        let now_s = OPENS.0 / 1000;
        let ahead = issued(|claims| claims["nbf"] = json!(now_s + 60));
        assert_eq!(status(&gate, &signer.sign(&ahead)).await, 200, "its clock is ahead");
        let bad = [
            issued(|claims| claims["iss"] = json!("https://id.example.org")),
            issued(|claims| claims["aud"] = json!("another")),
            issued(|claims| drop(claims.as_object_mut().expect("an object").remove("iss"))),
            issued(|claims| drop(claims.as_object_mut().expect("an object").remove("aud"))),
            issued(|claims| drop(claims.as_object_mut().expect("an object").remove("exp"))),
            issued(|claims| claims["exp"] = json!(now_s)),
            issued(|claims| claims["nbf"] = json!(now_s + 61)),
        ];
        for claims in &bad {
            assert_eq!(status(&gate, &signer.sign(claims)).await, 401, "{claims}");
        }
        for id in [None, Some("three"), Some("unknown")] {
            assert_eq!(status(&gate, &signer.sign_as(id, &issued(|_| ()))).await, 401, "{id:?}");
        }
    }
    assert_eq!(status(&gate, &rsa.sign_as(Some("two"), &issued(|_| ()))).await, 401, "another key's id");
    // A public key is no secret: HS256 is verified with the server's alone.
    let public = serde_json::to_vec(&rsa.public()).expect("JSON");
    for secret in [&public[..], rsa.public()["n"].as_str().expect("text").as_bytes()] {
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
        let forged = encode(&header, &issued(|_| ()), &EncodingKey::from_secret(secret)).expect("a token");
        assert_eq!(status(&gate, &forged).await, 401);
    }
    assert_eq!(status(&Gate::new(), &rsa.sign(&issued(|_| ()))).await, 401, "no provider is configured");

    publish(&[ec.public()]);
    provider.refresh().expect("it has a key");
    assert_eq!(status(&gate, &rsa.sign(&issued(|_| ()))).await, 401, "the key was withdrawn");
    assert_eq!(status(&gate, &ec.sign(&issued(|_| ()))).await, 200);
    fs::write(&file, "no JSON").expect("a file");
    assert!(provider.refresh().is_err());
    assert_eq!(status(&gate, &ec.sign(&issued(|_| ()))).await, 200, "the keys stay as they were");

    for (keys, why) in
        [(json!([]), "no key with a `kid`"), (json!([{ "kty": "oct", "k": "AA", "kid": "x" }]), "no key")]
    {
        publish(keys.as_array().expect("a list"));
        let refused = IdentityProvider::open(settings()).expect_err("it has no key").to_string();
        assert!(refused.contains(why), "{refused}");
    }
    for jwks in ["http://id.example.com/keys", "/no/file"] {
        let refused = IdentityProvider::open(IdentitySettings { jwks: jwks.to_owned(), ..settings() });
        assert!(refused.expect_err(jwks).to_string().contains(jwks));
    }
}

#[tokio::test]
async fn a_key_of_the_provider_that_is_for_another_purpose_verifies_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let signers = [Signer::rsa(folder.path(), "one"), Signer::ec(folder.path(), "two")];
    let signs = Signer::ec(folder.path(), "that signs");
    let file = folder.path().join("jwks.json");
    for (member, value, expected) in [
        ("use", "sig", 200),
        ("use", "enc", 401),
        ("use", "tls", 401),
        ("alg", "RSA-OAEP", 401),
        ("alg", "PS256", 401),
        ("alg", "HS256", 401),
    ] {
        let published = signers.each_ref().map(|signer| {
            let mut key = signer.public();
            key[member] = json!(value);
            key
        });
        let keys = json!({ "keys": [&published[0], &published[1], signs.public()] });
        fs::write(&file, keys.to_string()).expect("a file");
        let jwks = file.display().to_string();
        let settings = IdentitySettings { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), jwks };
        let provider = Arc::new(IdentityProvider::open(settings).expect("it has a key"));
        let gate = Gate::with(|parts| parts.identity = Some(provider));
        for signer in &signers {
            let answered = status(&gate, &signer.sign(&issued(|_| ()))).await;
            assert_eq!(answered, expected, "{member}: {value}, {}", signer.id);
        }
        assert_eq!(status(&gate, &signs.sign(&issued(|_| ()))).await, 200, "{member}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_the_provider_are_read_again_every_five_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Signer::ec(folder.path(), "old"), Signer::ec(folder.path(), "new"));
    let file = folder.path().join("jwks.json");
    let publish = |signer: &Signer| {
        fs::write(&file, json!({ "keys": [signer.public()] }).to_string()).expect("a file");
    };
    publish(&old);
    let jwks = file.display().to_string();
    let settings = IdentitySettings { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), jwks };
    let provider = Arc::new(IdentityProvider::open(settings).expect("it has a key"));
    let gate = Gate::with(|parts| parts.identity = Some(Arc::clone(&provider)));
    let good = async || {
        let token = issued(|_| ());
        (status(&gate, &old.sign(&token)).await, status(&gate, &new.sign(&token)).await)
    };
    tokio::spawn(provider.keep_fresh());
    publish(&new);
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(good().await, (200, 401));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(good().await, (401, 200));
    // After a failure, too.
    fs::write(&file, "no JSON").expect("a file");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(good().await, (401, 200));
    publish(&old);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(good().await, (200, 401));
}
