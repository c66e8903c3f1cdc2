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
samples=(cli/samples/*.jpg)
sent=0

# Free ports; every original travels, so that every frame is measured.
export CLOUD_PORT=0 EDGE_PORT=0 ORIGINALS_SHARE=1

finish() {
    local status=$?
    trap - EXIT
    if [ "$status" -ne 0 ]; then
        echo "deploy/test.sh: FAILED; the services' last words:" >&2
        "${compose[@]}" ps >&2 || true
        "${compose[@]}" logs --no-color --tail=40 >&2 || true
    fi
    timeout 120 "${compose[@]}" down --volumes --remove-orphans --timeout 20 > /dev/null 2>&1 || status=1
    local left
    left="$(left_of "$project")"
    if [ -n "$left" ]; then
        echo "deploy/test.sh: not removed: $left" >&2
        status=1
    fi
    [ "$status" -ne 0 ] || echo "deploy/test.sh: passed in $SECONDS s"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

# Where a container's port is published; fails if that is not on the loopback interface.
address() { # CONTAINER PORT
    docker port "$1" "$2/tcp" | grep '^127\.0\.0\.1:'
}

cloud() { # PATH
    curl --fail --silent --show-error --max-time 20 "http://$(address "$(containers cloud)" 8090)$1"
}

post() { # EDGE CONTAINER
    local image="${samples[$((sent % ${#samples[@]}))]}" answer
    answer="$(curl --silent --show-error --max-time 60 --output /dev/null --write-out '%{http_code}' \
        --header 'content-type: image/jpeg' --data-binary "@$image" \
        "http://$(address "$1" 8080)/v1/frames?camera=test&task=both")"
    [ "$answer" = 202 ] || fail "the edge answered $answer to $image"
    sent=$((sent + 1))
}

# All frames sent so far are there, each once, rebuilt, labelled and measured.
all_measured() {
    local good all
    all="$(cloud '/api/v1/frames?camera=test&limit=500')" || return 1
    good="$(jq '[.frames[] | select(.state == "decoded" and .label != null and .quality.psnr_db > 10) | .id]
        | unique | length' <<< "$all")"
    [ "$good" -eq "$sent" ] && [ "$(jq '.frames | length' <<< "$all")" -eq "$sent" ]
}

demo_seen() {
    # Not the newest one: on a slow machine that one always waits.
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
# Compose hands the volumes of an old container to its successors.
"${compose[@]}" rm --stop --force edge > /dev/null 2>&1
timeout 180 "${compose[@]}" up -d --no-build --scale edge=2 cloud edge > /dev/null 2>&1
within 60 healthy edge 2
for id in $(containers edge); do post "$id"; done
within 180 all_measured

step "the demo's camera"
timeout 180 "${compose[@]}" up -d --no-build --scale edge=2 > /dev/null 2>&1
within 180 demo_seen
step "removing"
