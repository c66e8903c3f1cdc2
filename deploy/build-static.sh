#!/usr/bin/env bash
# Builds static release binaries on this machine, for this machine's processor, and prints their folder.
# Needs rustup and a C compiler for musl (Debian: apt-get install musl-tools).
#
#     deploy/build-static.sh BINARY...
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
    echo "usage: $0 BINARY..." >&2
    exit 64
fi

target="$(uname -m)-unknown-linux-musl"
for tool in rustup musl-gcc; do
    if ! command -v "$tool" > /dev/null; then
        echo "$0: $tool is missing; needed are rustup (https://rustup.rs) and musl-gcc" \
            "(Debian: apt-get install musl-tools)" >&2
        exit 69
    fi
done
rustup target add "$target" >&2
packages=()
for binary in "$@"; do
    packages+=(-p "$binary")
done
cargo build --release --locked --bins --target "$target" "${packages[@]}" >&2

folder="${CARGO_TARGET_DIR:-target}/$target/release"
for binary in "$@"; do
    # Has an interpreter: would ask for a libc that is not there.
    if readelf --program-headers "$folder/$binary" | grep -q INTERP; then
        echo "$0: $folder/$binary is not static" >&2
        exit 1
    fi
done
echo "$folder"
