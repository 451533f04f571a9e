#!/usr/bin/env bash
# Counts the instructions that a consume takes, by strategy; fails where one passes its limit.
# Needs valgrind. Installs the runner in the version of the lock file, beside the build.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
version=$(sed -n '/^name = "gungraun-runner"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
tools="${GUNGRAUN_ROOT:-$PWD/$target/tools}"
if [ "$("$tools/bin/gungraun-runner" --version 2>/dev/null | awk '{print $2}')" != "$version" ]; then
    cargo install gungraun-runner --version "=$version" --locked --root "$tools"
fi
export GUNGRAUN_RUNNER="$tools/bin/gungraun-runner"

failed=0
cargo bench --bench consume_instructions -- --output-format=json "$@" > "$target/consume-instructions.json" || failed=$?
# Contender, kind of try, instructions a try.
jq -r 'select(.function_name) | [(.details // .id), .function_name] | @tsv' "$target/consume-instructions.json" | head -3
exit "$failed"
