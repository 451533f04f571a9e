#!/usr/bin/env bash
# Attacks the authorization servers in crates/attack/tests/real, installed from PyPI and npm, and writes their reports to
# target/real-software. Starts a throwaway PostgreSQL. A violation is a result here, not a failure of the script.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PGHOST:-}" ]; then
    exec pg_virtualenv "scripts/$(basename "$0")" "$@"
fi

eval "$(scripts/attack-services.sh)"
cargo build --quiet --package countersign-cli
countersign=$PWD/target/debug/countersign
reports=$PWD/target/real-software
mkdir -p "$reports"
export PYTHONDONTWRITEBYTECODE=1

new_database() {
    psql --quiet --command "create database $1" postgres
    export DATABASE_URL="postgres://$PGUSER:$PGPASSWORD@127.0.0.1:$PGPORT/$1"
}

attack() {
    local name=$1 file=$2 exit=0
    shift 2
    "$countersign" attack "crates/attack/tests/real/$file" "$@" | tee "$reports/$name.txt" || exit=$?
    echo "$name: exit code $exit"
    [ "$exit" -le 1 ] || [ "$exit" -eq 3 ]
}

new_database oidc
jq -r '"oidc-provider \(.version)"' "$NODE_PATH/oidc-provider/package.json"
echo "Node $(node --version)"
attack oidc-provider-memory oidc_provider/memory.toml "$@"
attack oidc-provider-postgres oidc_provider/postgres.toml "$@"

new_database oauth_toolkit
python3 -m pip list --disable-pip-version-check 2> /dev/null | grep -iE '^(django|django-oauth-toolkit|oauthlib|psycopg|gunicorn) '
(
    cd crates/attack/tests/real/django_oauth_toolkit
    export DJANGO_SETTINGS_MODULE=settings PYTHONPATH=.
    django-admin migrate --verbosity 0
    django-admin createapplication --client-id shop --name shop --redirect-uris http://127.0.0.1/callback \
        --skip-authorization public authorization-code > /dev/null
)
attack django-oauth-toolkit django_oauth_toolkit/target.toml "$@"
