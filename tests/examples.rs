//! The examples run, and print what their first lines promise.

use std::{env, path::PathBuf, process::Command};

/// The output of an example. `cargo test` builds all of them before it runs this test.
fn output(name: &str) -> String {
    let test = env::current_exe().expect("a test has a path");
    let built = test.parent().and_then(|deps| deps.parent()).expect("it is in target/…/deps");
    let example: PathBuf = built.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    let ran = Command::new(&example).output().unwrap_or_else(|error| {
        panic!("cannot run {}: {error} (build it with cargo build --examples)", example.display())
    });
    assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("it prints text")
}

#[test]
fn a_coupon_pays_out_once() {
    assert_eq!(output("coupon"), "pay out 10 €\nrefused: 409 approval_not_approved\n");
}

#[test]
fn the_route_answers_200_and_then_409() {
    let expected = "POST /coupons/…/redeem: 200 OK\nPOST /coupons/…/redeem: 409 Conflict\n";
    assert_eq!(output("axum_route"), expected);
}

#[test]
fn a_refused_preflight_leaves_the_coupon_usable() {
    let printed = output("preflight");
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        lines[0].starts_with("not built: the step `preflight` lists \"412 basket_too_small\""),
        "{printed}"
    );
    assert_eq!(lines[1..], ["20 €: 412 basket_too_small", "60 €: pay out 10 €"]);
}

#[test]
fn two_callers_succeed_under_check_then_act_only() {
    let printed = output("two_callers");
    assert!(printed.starts_with("conditional update: 5 states"), "{printed}");
    assert!(printed.contains("check-then-act: both callers succeed"), "{printed}");
}
