#!/usr/bin/env bash
# Installs what the tests need in addition to the Rust toolchain: PostgreSQL, sqlite3, Chromium, spin and z3 from Debian's
# packages, schemathesis and selenium from PyPI, tla-checker from crates.io. Prints the folder that has the programs of the last two.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
[ -n "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || missing+=(postgresql)
command -v pgbench > /dev/null || missing+=(postgresql-contrib)
command -v sqlite3 > /dev/null || missing+=(sqlite3)
command -v chromium > /dev/null || missing+=(chromium)
command -v chromedriver > /dev/null || missing+=(chromium-driver)
command -v valgrind > /dev/null || missing+=(valgrind)
command -v spin > /dev/null || missing+=(spin)
command -v z3 > /dev/null || missing+=(z3)
command -v jq > /dev/null || missing+=(jq)
python3 -c 'import venv, ensurepip' 2> /dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >&2
fi
tools=target/ci-tools
if [ ! -x "$tools/bin/schemathesis" ] || [ ! -d "$tools"/lib/python3*/site-packages/selenium ]; then
    python3 -m venv "$tools" >&2
    "$tools/bin/pip" install --quiet schemathesis==4.32.5 selenium==4.51.0 >&2
fi
# Its own profile optimises across all of its crates, which takes minutes and saves none here.
[ -x "$tools/bin/tla" ] || CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --root "$tools" --version 0.24.11 tla-checker >&2
echo "$PWD/$tools/bin"
