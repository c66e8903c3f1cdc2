#!/bin/sh
# Copies /usr/bin/ffmpeg, the libraries that it needs and their licences into a folder, under the same paths, for an
# image that contains nothing else. Uses readelf (Debian: binutils), so that ffmpeg may be built for another processor.
#
#     [PROCESSOR=aarch64] deploy/ffmpeg.sh FOLDER
set -eu
out="${1:?usage: $0 FOLDER}"
case "${PROCESSOR:-$(uname -m)}" in
    x86_64 | amd64) triplet=x86_64-linux-gnu ;;
    aarch64 | arm64) triplet=aarch64-linux-gnu ;;
    *)
        echo "$0: PROCESSOR is '$PROCESSOR', not x86_64 (amd64) or aarch64 (arm64)" >&2
        exit 64
        ;;
esac
if ! [ -x /usr/bin/ffmpeg ]; then
    echo "$0: /usr/bin/ffmpeg is missing (Debian: apt-get install ffmpeg)" >&2
    exit 69
fi

# Debian's folders, then Fedora's.
folders="/lib/$triplet /usr/lib/$triplet /usr/lib/$triplet/blas /usr/lib/$triplet/lapack /usr/lib/$triplet/pulseaudio
    /usr/lib64 /usr/lib64/pulseaudio /usr/lib"
find_library() { # NAME
    for folder in $folders; do
        if [ -e "$folder/$1" ]; then
            echo "$folder/$1"
            return
        fi
    done
    echo "$0: the library $1 of ffmpeg is nowhere in" $folders >&2
    exit 1
}

# Each file is copied under the name that the loader looks for; libraries in folders of their own go to the loader's
# folder.
mkdir -p "$out/usr/bin" "$out/usr/lib/$triplet"
cp /usr/bin/ffmpeg "$out/usr/bin/"
left="$out/usr/bin/ffmpeg"
while [ -n "$left" ]; do
    next=
    for file in $left; do
        names="$(readelf --dynamic "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')"
        for name in $names; do
            copy="$out/usr/lib/$triplet/$name"
            case "$name" in ld-linux*) continue ;; esac # The loader, below.
            [ -e "$copy" ] && continue
            found="$(find_library "$name")"
            cp --dereference "$found" "$copy"
            next="$next $copy"
        done
    done
    left="$next"
done
loader="$(readelf --program-headers /usr/bin/ffmpeg | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')"
mkdir -p "$out$(dirname "$loader")"
cp --dereference "$loader" "$out$loader"
if [ -e /usr/share/doc/ffmpeg/copyright ]; then
    mkdir -p "$out/usr/share/doc/ffmpeg"
    cp --dereference /usr/share/doc/ffmpeg/copyright "$out/usr/share/doc/ffmpeg/"
fi
