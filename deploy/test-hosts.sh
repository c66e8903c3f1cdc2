#!/usr/bin/env bash
# Starts a clean clone with a real Docker engine. First `docker compose up` compiles and starts compose.yml. Then it
# starts the two hosts, compose.cloud.yml and compose.edge.yml, on networks of their own, with the files that
# `patchwire provision` made. Frames come in over TLS with a token and from an RTSP camera, and are seen in the cloud;
# strangers are refused at each port. Everything is removed again.
#
#     deploy/test-hosts.sh FOLDER        binaries of the host, for example target/debug
#
# No registry is needed, and no release build: in place of the toolchain's image there is one whose `cargo build`
# returns FOLDER's binaries, and the images begin with the host's libraries. The rest of Dockerfile is unchanged. Needs
# curl, jq, readelf, ffmpeg. Exit codes: 0 passed, 1 failed, 77 there is no Docker engine, so nothing was tested.
set -euo pipefail
cd "$(dirname "$0")/.."
binaries="${1:?usage: $0 FOLDER}"

source deploy/test-lib.sh
tag=hosts-test
name="patchwire-hosts-test-$$"
work="$(mktemp -d)"
secrets="$work/secrets"
camera=
project="$name-one"
export PATCHWIRE_TAG="$tag" RUST_IMAGE="patchwire/rust:$tag" BASE_IMAGE="patchwire/base:$tag" EDGE_IMAGE=edge-node-video
export CLOUD_PORT=0 EDGE_PORT=0 UPLINK_PORT=0 ORIGINALS_SHARE=1 PATCHWIRE_SECRETS="$secrets" NODE=edge-1
export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1

# Newer Docker clients build with a plugin that Debian's package lacks; the client's own builder needs none.
if ! docker buildx version > /dev/null 2>&1 && [ -x /usr/bin/docker ]; then
    export PATH="/usr/bin:$PATH"
fi

one() { timeout 300 "${compose[@]}" -f deploy/compose.yml -p "$name-one" "$@"; }
cloud() { timeout 300 "${compose[@]}" -f deploy/compose.cloud.yml -p "$name-cloud" "$@"; }
edge() { timeout 300 "${compose[@]}" -f deploy/compose.edge.yml -f "$work/names.yml" -p "$name-edge" "$@"; }
stranger() {
    NODE=edge-2 PATCHWIRE_SECRETS="$work/strange" timeout 300 "${compose[@]}" -f deploy/compose.edge.yml -f "$work/names.yml" \
        -p "$name-stranger" "$@"
}
# run COMMAND...: prints the command's output if it fails.
run() {
    "$@" > "$work/said" 2>&1 || fail "$*: $(tail -n 40 "$work/said")"
}
all="one cloud edge stranger"

finish() {
    local status=$? one_of left=
    trap - EXIT
    [ -z "$camera" ] || kill "$camera" 2> /dev/null || true
    for one_of in $all; do
        if [ "$status" -ne 0 ]; then
            echo "$0: FAILED; the last words of $one_of:" >&2
            "$one_of" logs --no-color --tail=20 >&2 || true
        fi
    done
    for one_of in $all; do
        "$one_of" down --volumes --remove-orphans --timeout 20 > /dev/null 2>&1 || status=1
        left="$left$(left_of "$name-$one_of")"
    done
    if [ -n "$left" ]; then
        echo "$0: not removed: $left" >&2
        status=1
    fi
    docker image ls --format '{{.Repository}}:{{.Tag}}' --filter "reference=patchwire/*:$tag" | xargs --no-run-if-empty docker image rm --force > /dev/null
    rm -rf "$work"
    [ "$status" -ne 0 ] || echo "$0: passed in $SECONDS s"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM
# For `finish`, if something fails before these are set.
echo 'services: {edge: {}}' > "$work/names.yml"

step "a toolchain that hands out $binaries"
tools=(bash env uname dirname mkdir cp sed readelf sh)
mkdir -p "$work/rust/usr/local/bin" "$work/rust/prebuilt"
cp "$binaries"/{edge-node,cloud-decoder,patchwire} "$work/rust/prebuilt"
for stand_in in apt-get dpkg musl-gcc; do
    printf '#!/bin/sh\n' > "$work/rust/usr/local/bin/$stand_in"
done
cat > "$work/rust/usr/local/bin/rustup" << 'END'
#!/bin/sh
[ "$*" = "target add $(uname -m)-unknown-linux-musl" ]
END
# Succeeds only in a complete workspace, and only for the expected package and target.
cat > "$work/rust/usr/local/bin/cargo" << 'END'
#!/bin/bash -e
target="$(uname -m)-unknown-linux-musl"
[ "$*" = "build --release --locked --bins --target $target -p edge-node -p cloud-decoder -p patchwire" ]
for member in $(sed -n '/^members/,/]/s/.*"\(.*\)".*/\1/p' Cargo.toml); do
    [ -e "$member/Cargo.toml" ] || { echo "cargo: $member is not in the context" >&2; exit 101; }
done
mkdir -p "target/$target/release"
cp /prebuilt/* "target/$target/release"
END
# FOLDER's binaries are not static; for ffmpeg the output is real.
cat > "$work/rust/usr/local/bin/readelf" << 'END'
#!/bin/sh
case "$*" in target/*) ;; *target/*release*) ;; *) exec /usr/bin/readelf "$@" ;; esac
END
chmod -R a+rX "$work/rust"
chmod a+x "$work"/rust/usr/local/bin/*
libraries() { # BINARY...
    ldd "$@" | awk 'NF > 1 && $(NF - 1) ~ "^/" { print $(NF - 1) }' | sort -u
}
{
    for tool in "${tools[@]}" ffmpeg; do echo "/usr/bin/$tool"; done
    libraries /usr/bin/{bash,readelf,ffmpeg} /usr/bin/{cp,sed}
    ls /usr/share/doc/ffmpeg/copyright /etc/ssl/certs/ca-certificates.crt
} | sed 's,^/,,' | sort -u > "$work/files"
tar --create --dereference --file "$work/rust.tar" --directory / --files-from "$work/files"
tar --append --file "$work/rust.tar" --directory "$work/rust" .
ln -s usr/bin "$work/bin"
tar --append --file "$work/rust.tar" --directory "$work" bin
docker import "$work/rust.tar" "$RUST_IMAGE" > /dev/null
libraries "$binaries"/{edge-node,cloud-decoder,patchwire} | sed 's,^/,,' \
    | tar --create --dereference --directory / --files-from - | docker import - "$BASE_IMAGE" > /dev/null
rm "$work/rust.tar"

step "one command builds and starts, from what is in the repository"
run one up -d
within 60 healthy cloud 1
within 60 healthy edge 1
run one down --volumes --timeout 20

step "folders of two hosts, made in a container"
provision() { # FOLDER ARGUMENT...
    docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$work:/secrets" --entrypoint /patchwire \
        "patchwire/camera:$tag" provision "/secrets/$1" --cloud cloud.example "${@:2}" > /dev/null
}
run one --profile demo build camera
provision secrets

step "the cloud"
project="$name-cloud"
run cloud up -d
within 60 healthy cloud 1
hardened cloud
port() { # SERVICE PORT
    docker port "$(containers "$1")" "$2/tcp" | sed -n 's/^0\.0\.0\.0://p'
}
dashboard="$(port cloud 8090)"
uplink="$(port cloud 50051)"
ask_cloud() { # PATH [CURL ARGUMENT...]
    curl --silent --show-error --max-time 20 --cacert "$secrets/ca.pem" --resolve "cloud.example:$dashboard:127.0.0.1" \
        "https://cloud.example:$dashboard$1" "${@:2}"
}
as_viewer=(--fail --header "authorization: Bearer $(cat "$secrets/cloud.viewer.token")")

step "the edge, with an RTSP camera"
ffmpeg -nostdin -loglevel error -f lavfi -i testsrc=size=64x64:rate=10 -t 20 -c:v mpeg2video -f mpegts "$work/video.ts"
python3 deploy/rtsp-camera.py "$work/video.ts" > "$work/camera" &
camera=$!
within 20 [ -s "$work/camera" ]
provision secrets --node edge-1=gate.example --uplink-port "$uplink"
cat >> "$secrets/edge-1/edge-node.toml" << END

[[sources]]
camera = "dock"
url = "rtsp://camera.example:$(cat "$work/camera")/live"
rate = 1.0
END
cat > "$work/names.yml" << 'END'
services: {edge: {extra_hosts: ["cloud.example:host-gateway", "camera.example:host-gateway"]}}
END
project="$name-edge"
run edge up -d
within 60 healthy edge 1
hardened edge
edge_port="$(port edge 8080)"
ask_edge() { # PATH [CURL ARGUMENT...]
    curl --silent --show-error --max-time 20 --cacert "$secrets/ca.pem" --resolve "gate.example:$edge_port:127.0.0.1" \
        "https://gate.example:$edge_port$1" "${@:2}"
}
post=(--output /dev/null --write-out '%{http_code}' --header 'content-type: image/jpeg' --data-binary @cli/samples/lake.jpg)

step "a frame over TLS with its token, and frames of the RTSP camera, on the cloud's dashboard"
answer="$(ask_edge '/v1/frames?camera=gate&task=both' "${post[@]}" --header "authorization: Bearer $(cat "$secrets/edge-1.camera.token")")"
[ "$answer" = 202 ] || fail "the edge answered $answer"
seen() { # CAMERA
    ask_cloud "/api/v1/frames?camera=$1&state=decoded&limit=1" "${as_viewer[@]}" \
        | jq --exit-status '.frames | length == 1 and .[0].node == "edge-1"' > /dev/null
}
within 120 seen gate
within 90 seen dock

step "strangers at the doors of HTTP"
refused() { # WHO EXPECTED ANSWER
    [ "$3" = "$2" ] || fail "$1 was answered $3, not $2"
}
status=(--output /dev/null --write-out '%{http_code}')
refused "a camera without a token" 401 "$(ask_edge '/v1/frames?camera=gate' "${post[@]}")"
refused "a camera with a viewer's token" 403 \
    "$(ask_edge '/v1/frames?camera=gate' "${post[@]}" --header "authorization: Bearer $(cat "$secrets/edge-1.viewer.token")")"
refused "a viewer without a token" 401 "$(ask_cloud /api/v1/frames "${status[@]}")"
refused "a viewer with a camera's token" 401 \
    "$(ask_cloud /api/v1/frames "${status[@]}" --header "authorization: Bearer $(cat "$secrets/edge-1.camera.token")")"
! curl --silent --max-time 20 "http://127.0.0.1:$dashboard/livez" || fail "the cloud answers without TLS"
# Credentials that were provisioned for others are refused here.
provision strange --node edge-2 --uplink-port "$uplink"
refused "a camera with another site's token" 401 \
    "$(ask_edge '/v1/frames?camera=gate' "${post[@]}" --header "authorization: Bearer $(cat "$work/strange/edge-2.camera.token")")"

step "an edge with a stranger's certificate, then one with a stranger's token"
# The stranger has all public data: the address and the authority's certificate.
cp "$secrets/ca.pem" "$work/strange/edge-2/ca.pem"
sed -i 's/^\[uplink\]/&\nbackoff_max_ms = 500/' "$work/strange/edge-2/edge-node.toml"
provision secrets --node edge-2 --uplink-port "$uplink"
their_token="$(cat "$work/strange/edge-2/uplink.token")"
cp "$secrets/edge-2/uplink.token" "$work/strange/edge-2/uplink.token"
project="$name-stranger"
run stranger up -d
within 60 healthy edge 1
strange_port="$(port edge 8080)"
ask_stranger() { # PATH [CURL ARGUMENT...]
    curl --silent --show-error --max-time 20 --insecure "https://127.0.0.1:$strange_port$1" "${@:2}"
}
answer="$(ask_stranger '/v1/frames?camera=strange' "${post[@]}" --header "authorization: Bearer $(cat "$work/strange/edge-2.camera.token")")"
refused "the stranger's own camera" 202 "$answer"
link() { # JQ
    ask_stranger /v1/status --fail --header "authorization: Bearer $(cat "$work/strange/edge-2.viewer.token")" \
        | jq --exit-status ".uplink | $1"  > /dev/null
}
within 60 link '(.connected | not) and (.last_error | test("uplink.tls.cert"))'
cp "$secrets/edge-2"/edge-2.{pem,key} "$work/strange/edge-2/"
echo "$their_token" > "$work/strange/edge-2/uplink.token"
within 60 link '(.connected | not) and (.last_error | test("token"))'
ask_cloud '/api/v1/frames?camera=strange' "${as_viewer[@]}" | jq --exit-status '.frames == []' > /dev/null \
    || fail "a stranger's frame came in"

step "the same edge with both of its own"
cp "$secrets/edge-2/uplink.token" "$work/strange/edge-2/uplink.token"
within 60 link '.connected'
step "removing"
