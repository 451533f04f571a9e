#!/usr/bin/env bash
# Runs the one strategy that has `unsafe` under Miri, with many seeds: use after free, leaks, data races.
# Needs nightly with miri: rustup toolchain install nightly --component miri,rust-src
set -euo pipefail
cd "$(dirname "$0")/.."

export MIRIFLAGS="-Zmiri-many-seeds=0..${SEEDS:-32} -Zmiri-disable-isolation"
cargo +nightly miri test -p countersign-tests --test miri
