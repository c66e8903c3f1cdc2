#!/usr/bin/env bash
# Builds static release binaries on this machine and prints their folder: for this machine's processor, or for
# PROCESSOR, `x86_64` or `aarch64` (Docker's `amd64` and `arm64`). Needs rustup and a C compiler for musl: for this
# machine's processor musl-gcc (Debian: apt-get install musl-tools), for the other one cargo-zigbuild (pip install
# cargo-zigbuild ziglang).
#
#     [PROCESSOR=aarch64] deploy/build-static.sh BINARY...
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
    echo "usage: $0 BINARY..." >&2
    exit 64
fi

own="$(uname -m)"
processor="${PROCESSOR:-$own}"
case "$processor" in
    x86_64 | aarch64) ;;
    amd64) processor=x86_64 ;;
    arm64) processor=aarch64 ;;
    *)
        echo "$0: PROCESSOR is '$processor', not x86_64 (amd64) or aarch64 (arm64)" >&2
        exit 64
        ;;
esac
target="$processor-unknown-linux-musl"
need() { # COMMAND HOW-TO-GET-IT
    if ! command -v "$1" > /dev/null; then
        echo "$0: $1 is missing ($2)" >&2
        exit 69
    fi
}
need rustup https://rustup.rs
if [ "$processor" = "$own" ]; then
    need musl-gcc "Debian: apt-get install musl-tools"
    build=build
else
    need cargo-zigbuild "pip install cargo-zigbuild ziglang"
    build=zigbuild
fi
rustup target add "$target" >&2
packages=()
for binary in "$@"; do
    packages+=(-p "$binary")
done
cargo "$build" --release --locked --bins --target "$target" "${packages[@]}" >&2

folder="${CARGO_TARGET_DIR:-target}/$target/release"
for binary in "$@"; do
    # A binary with an interpreter would need a libc that is not there.
    if readelf --program-headers "$folder/$binary" | grep -q INTERP; then
        echo "$0: $folder/$binary is not static" >&2
        exit 1
    fi
done
echo "$folder"
