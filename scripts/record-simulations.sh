#!/usr/bin/env bash
# Records again what seeds come to, after a change that is meant to change it: how soon what is known to be bad is found, the
# shrunk failures that are kept, and the long run. Half an hour of two cores at most; each part can be asked for by itself:
# scripts/record-simulations.sh detection failures run
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release -p countersign-cli
countersign=$PWD/target/release/countersign
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

detection() {
  "$countersign" simulate detection > "$new/detection.md"
  mv "$new/detection.md" benches/results/simulate-detection.md
}

# Only those that are kept are renewed: another one is added by hand, and counted in tests/simulation/failures.rs.
failures() {
  for flow in consume-first twin-consume-first consume-last lease-unfenced; do
    "$countersign" simulate "$flow" --seeds 0..10000 --failures "$new" > /dev/null
  done
  for failure in tests/simulation/failures/atomic-commit-keyed-*.json; do
    mutant=$(sed -n 's/^  "mutant": "\(.*\)",$/\1/p' "$failure")
    # It ends with 1, because something is found.
    "$countersign" simulate --mutant "$mutant" --seeds 0..10000 --failures "$new" > /dev/null || [ $? = 1 ]
  done
  for failure in tests/simulation/failures/*.json; do
    mv "$new/$(basename "$failure")" "$failure"
  done
}

run() {
  "$countersign" simulate --seeds 0..1000000 --trace-digest 0..20000 --format json > "$new/run.json"
  mv "$new/run.json" benches/results/simulate-atomic-commit.json
}

for part in "${@:-detection failures run}"; do
  for one in $part; do "$one"; done
done
