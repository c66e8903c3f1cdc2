#!/usr/bin/env bash
# Packs the static edge node for machines without Docker: binary, systemd unit, commented configuration, INSTALL.md.
# Needs what build-static.sh needs. Prints the file's path.
#
#     deploy/tarball.sh [FOLDER]        (default: target); with PROCESSOR=aarch64 for that processor
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-target}"

binaries="$(deploy/build-static.sh edge-node)"
version="$(cargo pkgid --package edge-node)"
name="patchwire-edge-node-${version##*[@#]}-${PROCESSOR:-$(uname -m)}-linux"
staging="$(mktemp -d)"
trap 'rm -rf "$staging"' EXIT
mkdir "$staging/$name"
install -m 755 "$binaries/edge-node" "$staging/$name"
install -m 644 deploy/edge-node.service deploy/INSTALL.md "$staging/$name"
install -m 644 edge-node/edge-node.example.toml "$staging/$name/edge-node.toml"

mkdir -p "$folder"
tar --create --directory "$staging" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 "$name" \
    | gzip -9 --no-name > "$folder/$name.tar.gz"
echo "$folder/$name.tar.gz"
