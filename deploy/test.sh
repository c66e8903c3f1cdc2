#!/usr/bin/env bash
# Brings compose.yml up with a real Docker engine, under a project name and on ports of its own: frames in,
# frames measured, the cloud killed and back, two edges, the demo's camera; then everything is removed.
# Makes the images with build-local.sh, unless PATCHWIRE_TAG names some that exist. Needs curl and jq.
# Exit codes: 0 passed, 1 failed, 77 there is no Docker engine, so nothing was tested.
set -euo pipefail
cd "$(dirname "$0")/.."

source deploy/test-lib.sh
project="patchwire-test-$$-$RANDOM"
compose+=(-f deploy/compose.yml -p "$project" --profile demo)

# Free ports; every original travels, so that every frame is measured.
export CLOUD_PORT=0 EDGE_PORT=0 ORIGINALS_SHARE=1

finish() {
    local status=$? left
    trap - EXIT
    take_down 40
    left="$(left_of "$project")"
    if [ -n "$left" ]; then
        echo "$0: not removed: $left" >&2
        status=1
    fi
    verdict
}
trap finish EXIT
trap 'exit 1' INT TERM

cloud() { # PATH
    get "$(address "$(containers cloud)" 8090)" "$1"
}

post() { # EDGE CONTAINER
    post_frame "$(address "$1" 8080)" both
}

all_measured() {
    measured "$(address "$(containers cloud)" 8090)" '.label != null'
}

demo_seen() {
    # Not the newest frame, which always waits for a decoder on a slow machine.
    cloud '/api/v1/frames?camera=demo&state=decoded&limit=1' | jq --exit-status '.frames | length == 1' > /dev/null
}

if [ -z "${PATCHWIRE_TAG:-}" ]; then
    step "building images"
    export PATCHWIRE_TAG=test
    deploy/build-local.sh "$PATCHWIRE_TAG"
fi

step "every profile is well-formed"
"${compose[@]}" --profile observe config --quiet

step "up"
timeout 180 "${compose[@]}" up -d --no-build cloud edge > /dev/null
within 60 healthy cloud 1
within 60 healthy edge 1
hardened cloud
hardened edge

step "four frames through both services"
edge="$(containers edge)"
for _ in 1 2 3 4; do post "$edge"; done
within 180 all_measured

step "frames while the cloud is killed, and its return"
post "$edge"
"${compose[@]}" kill cloud > /dev/null 2>&1
post "$edge"
[ "$(docker inspect --format '{{.State.Running}}' "$edge")" = true ] || fail "the edge went down with the cloud"
docker exec "$edge" /edge-node healthcheck > /dev/null || fail "the edge is not ready without the cloud"
"${compose[@]}" start cloud > /dev/null 2>&1
within 60 healthy cloud 1
within 180 all_measured

step "containers made anew keep the volumes' frames"
"${compose[@]}" stop > /dev/null 2>&1
timeout 180 "${compose[@]}" up -d --no-build --force-recreate cloud edge > /dev/null 2>&1
within 60 healthy cloud 1
within 60 all_measured

step "two edges"
export EDGE_SPOOL=
# Compose passes the volumes of an old container to its successors.
"${compose[@]}" rm --stop --force edge > /dev/null 2>&1
timeout 180 "${compose[@]}" up -d --no-build --scale edge=2 cloud edge > /dev/null 2>&1
within 60 healthy edge 2
for id in $(containers edge); do post "$id"; done
within 180 all_measured

step "the demo's camera"
timeout 180 "${compose[@]}" up -d --no-build --scale edge=2 > /dev/null 2>&1
within 180 demo_seen
step "removing"
