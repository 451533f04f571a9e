#!/usr/bin/env bash
# Installs what the services in crates/attack/tests need: Node and Python from Debian's packages, and pinned packages from npm
# and PyPI. Prints the assignments that let the services find them, for `eval "$(scripts/attack-services.sh)"`.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
python3 -c 'import venv, ensurepip' 2> /dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >&2
fi

python=(psycopg[binary]==3.3.9 psycopg_pool==3.3.3 Django==5.2.19 django-oauth-toolkit==3.4.1 gunicorn==27.0.1)
node=(pg@8.23.1 oidc-provider@9.13.3)
folder=$PWD/target/attack-services
wanted="${python[*]} ${node[*]}"
if [ "$(cat "$folder/installed" 2> /dev/null)" != "$wanted" ]; then
    mkdir -p "$folder"
    python3 -m venv "$folder" >&2
    "$folder/bin/pip" install --quiet --disable-pip-version-check "${python[@]}" >&2
    npm install --prefix "$folder" --no-audit --no-fund --silent "${node[@]}" >&2
    echo "$wanted" > "$folder/installed"
fi
echo "export PATH='$folder/bin':\"\$PATH\""
echo "export NODE_PATH='$folder/node_modules'"
