#!/usr/bin/env bash
# Counts the instructions that a try takes, by contender; fails where one passes its limit.
# Needs valgrind and jq. Installs the runner in the version of the lock file, beside the build.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
tools="${GUNGRAUN_ROOT:-$target/tools}"
version=$(sed -n '/^name = "gungraun-runner"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
if [ "$("$tools/bin/gungraun-runner" --version 2>/dev/null | cut -d ' ' -f 2)" != "$version" ]; then
    cargo install gungraun-runner --version "=$version" --locked --root "$tools"
fi
GUNGRAUN_RUNNER=$(realpath "$tools/bin/gungraun-runner")
export GUNGRAUN_RUNNER

# The limits are in the benchmark, and it is the benchmark that fails.
failed=0
cargo bench --bench consume_instructions -- --output-format=json > "$target/consume-instructions.json" || failed=$?
# Contender, kind of try, instructions a try: a thousand are counted together.
jq -r 'select(.function_name)
    | [(.id | gsub("_"; "-")), .function_name,
       ([.profiles[].data.total.metrics.Ir.values.new | numbers][0] / 1000 | tostring)] | join(" ")' \
    "$target/consume-instructions.json" | tee "$target/consume-instructions.txt"
exit "$failed"
