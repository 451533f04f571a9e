#!/usr/bin/env bash
# Packages every crate that is published, from a clean clone of the last commit, and looks for what a package must have.
#
# The packages are not compiled here, which takes minutes. In place of that, every file that a package includes by a
# relative path has to be in it.
set -euo pipefail
cd "$(dirname "$0")/.."

clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet --no-hardlinks . "$clone/countersign"
cd "$clone/countersign"

published=(countersign countersign-models countersign-terminal countersign-contract countersign-attack countersign-cli countersign-gate)
cargo package --quiet --no-verify --target-dir "$clone/target" --workspace \
    --exclude countersign-bench --exclude countersign-testkit --exclude countersign-tests

status=0
for crate in "${published[@]}"; do
    tar -xzf "$clone"/target/package/"$crate"-[0-9]*.crate -C "$clone"
    root=$(echo "$clone/$crate"-[0-9]*)
    # A file that was included by its path, but lies outside of the package.
    while IFS=: read -r file path; do
        if [ ! -e "$(dirname "$file")/$path" ]; then
            echo "$crate: ${file#"$root"/} includes $path, which is not in the package" >&2
            status=1
        fi
    done < <(grep -rHoE 'include_(str|bytes)!\("[^"]+"\)' --include='*.rs' "$root/src" | sed -E 's/include_(str|bytes)!\("([^"]+)"\)/\2/')
    if grep -q '^path = "\.\./' "$root/Cargo.toml"; then
        echo "$crate: its manifest has a path that leaves the package" >&2
        status=1
    fi
    echo "$crate: $(find "$root" -type f | wc -l) files"
done
# The links of the README lead to files of the package.
root=$(echo "$clone"/countersign-[0-9]*)
while read -r link; do
    [ -e "$root/$link" ] || { echo "countersign: the README links to $link, which is not in the package" >&2; status=1; }
done < <(grep -oE '\]\([^)#:]+\)' "$root/README.md" | tr -d '](' | tr -d ')')
exit "$status"
