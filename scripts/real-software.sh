#!/usr/bin/env bash
# Attacks the authorization servers in crates/attack/tests/real, installed from PyPI and npm, and writes their reports to
# target/real-software. Starts a throwaway PostgreSQL. Fails if the violated properties are not the ones that are known.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PGHOST:-}" ]; then
    exec pg_virtualenv "scripts/$(basename "$0")" "$@"
fi

eval "$(scripts/attack-services.sh)"
# COUNTERSIGN_PROGRAMS names a folder with built programs.
[ -n "${COUNTERSIGN_PROGRAMS:-}" ] || cargo build --quiet --package countersign-cli --package countersign-attack
countersign=$(realpath "${COUNTERSIGN_PROGRAMS:-${CARGO_TARGET_DIR:-target}/debug}/countersign")
reports=$PWD/target/real-software
mkdir -p "$reports"
export PYTHONDONTWRITEBYTECODE=1

new_database() {
    psql --quiet --command "create database $1" postgres
    export DATABASE_URL="postgres://$PGUSER:$PGPASSWORD@127.0.0.1:$PGPORT/$1"
}

attack() {
    local name=$1 file=$2 known=$3 exit=0 found
    shift 3
    "$countersign" attack "crates/attack/tests/real/$file" --failures "$reports" "$@" | tee "$reports/$name.txt" || exit=$?
    # The lines of the table that begin with the sign of a violation.
    found=$(awk '$1 == "✗" { print $2 }' "$reports/$name.txt" | paste --serial --delimiters=' ')
    echo "$name: exit code $exit, violated: ${found:-nothing}"
    if [ "$exit" -ne "$([ -z "$known" ]; echo $?)" ] || [ "$found" != "$known" ]; then
        echo "$name: expected, violated: ${known:-nothing}" >&2
        return 1
    fi
}

jq -r '"oidc-provider \(.version)"' "$NODE_PATH/oidc-provider/package.json"
echo "Node $(node --version)"
# With a database in its environment it would not keep its state in memory.
unset DATABASE_URL
attack oidc-provider-memory oidc_provider/memory.toml "" "$@"
new_database oidc
attack oidc-provider-postgres oidc_provider/postgres.toml "S2 S3 L1" "$@"

new_database oauth_toolkit
python3 -m pip list --disable-pip-version-check 2> /dev/null | grep -iE '^(django|django-oauth-toolkit|oauthlib|psycopg|gunicorn) '
(
    cd crates/attack/tests/real/django_oauth_toolkit
    export DJANGO_SETTINGS_MODULE=settings PYTHONPATH=.
    django-admin migrate --verbosity 0
    django-admin createapplication --client-id shop --name shop --redirect-uris http://127.0.0.1/callback \
        --skip-authorization public authorization-code > /dev/null
)
attack django-oauth-toolkit django_oauth_toolkit/target.toml "S2 S3 S5" "$@"
