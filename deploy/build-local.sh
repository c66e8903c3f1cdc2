#!/usr/bin/env bash
# Makes the images of compose.yml without any image registry: static binaries built by the host, each copied
# into an image FROM scratch. Needs what build-static.sh needs, and Docker.
#
#     deploy/build-local.sh [TAG]        (default: local); with PROCESSOR=aarch64 for that processor
#     deploy/build-local.sh TAG FOLDER   from binaries that are in FOLDER, in seconds, for tests: the images have the
#                                        host's libraries that these need
#
# With EDGE_IMAGE=edge-node-video in the environment it also makes that image, with the host's ffmpeg.
set -euo pipefail
cd "$(dirname "$0")/.."
tag="${1:-local}"
docker version > /dev/null # Says so if no engine answers, before the long build.

binaries="${2:-$(deploy/build-static.sh edge-node cloud-decoder patchwire)}"
context="$(mktemp -d)"
trap 'rm -rf "$context"' EXIT
mkdir "$context/data" "$context/frames"
# Paths of the bundle in Debian and Fedora, and in distributions derived from them.
authorities="$(ls /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt 2> /dev/null | head -n 1)" || true
if [ -z "$authorities" ]; then
    echo "$0: this machine has no bundle of CA certificates (Debian: apt-get install ca-certificates)" >&2
    exit 69
fi
cp "$authorities" "$context/ca-certificates.crt"
cp "$binaries"/{edge-node,cloud-decoder,patchwire} "$context"
cp cli/samples/*.jpg "$context/frames"
chmod -R a+rX "$context"

base=scratch
if [ $# -ge 2 ]; then
    base="patchwire/base:$tag"
    ldd "$context"/{edge-node,cloud-decoder,patchwire} | awk 'NF > 1 && $(NF - 1) ~ "^/" { print substr($(NF - 1), 2) }' | sort -u \
        | tar --create --dereference --directory / --files-from - | docker import - "$base" > /dev/null
fi

# No cache, because the older builder would take layers of other processors from it.
platform=(--no-cache)
if [ -n "${PROCESSOR-}" ]; then
    platform+=(--platform "linux/$PROCESSOR")
fi
images=(cloud-decoder edge-node camera)
if [ "${EDGE_IMAGE-}" = edge-node-video ]; then
    deploy/ffmpeg.sh "$context/ffmpeg"
    images+=(edge-node-video)
fi
for image in "${images[@]}"; do
    docker build --quiet "${platform[@]}" --file deploy/local.Dockerfile --build-arg "BASE=$base" --target "$image" \
        --tag "patchwire/$image:$tag" "$context" > /dev/null
done
docker image ls --filter "reference=patchwire/*:$tag" --format '{{.Repository}}:{{.Tag}}  {{.Size}}'
