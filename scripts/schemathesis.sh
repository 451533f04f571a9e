#!/usr/bin/env bash
# Asks the running service everything that its own description allows, and a lot that it does not: no 500, and no answer
# that is not documented. Needs schemathesis (PyPI) on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

examples="${1:-40}"
# COUNTERSIGN_PROGRAMS names a folder with built programs.
[ -n "${COUNTERSIGN_PROGRAMS:-}" ] || cargo build --quiet --package countersign-gate
binary="${COUNTERSIGN_PROGRAMS:-${CARGO_TARGET_DIR:-target}/debug}/countersign-gate"
home=$(mktemp -d)
secret="a secret for the schemathesis run, long enough"
"$binary" serve --store "sqlite:$home/gate.db" --listen 127.0.0.1:0 --secret "$secret" --mail-dir "$home/mail" \
    > "$home/out" 2> "$home/log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$home"' EXIT
until grep -q '^listening on ' "$home/out"; do
    kill -0 "$server" || { cat "$home/log"; exit 1; }
    read -r -t 0.1 < <(:) || true
done
address=$(sed -n 's/^listening on //p' "$home/out")
token=$("$binary" token --secret "$secret" --team 0a0a0a0a-0000-4000-8000-000000000001 --email dev@example.com --admin)
schemathesis run "$address/openapi.json" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance \
    --max-examples "$examples" --seed 1 --workers 2 --request-timeout 10 --suppress-health-check all
kill -0 "$server" || { echo "the service has died:"; tail -20 "$home/log"; exit 1; }
if grep -n panicked "$home/log"; then exit 1; fi
