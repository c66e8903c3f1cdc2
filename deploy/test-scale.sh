#!/usr/bin/env bash
# Brings compose.scale.yml up with a real Docker engine: frames in through the balancer, measured; an ingest process, a
# decode process and a NATS server killed; a third decode process; then everything is removed. PostgreSQL, NATS, HAProxy
# and the S3 server are the host's (Debian's packages and moto, .ci/engines), in images that behave as the official ones
# do, so no image registry is needed.
#
#     deploy/test-scale.sh FOLDER        binaries of the host, for example target/debug
#
# Exit codes: 0 passed, 1 failed, 77 there is no Docker engine, so nothing was tested.
set -euo pipefail
cd "$(dirname "$0")/.."
binaries="${1:?usage: $0 FOLDER}"

source deploy/test-lib.sh
tag=scale-test
project="patchwire-scale-test-$$"
compose+=(-f deploy/compose.scale.yml -p "$project")
export PATCHWIRE_TAG="$tag" CLOUD_PORT=0 UPLINK_PORT=0
export POSTGRES_IMAGE="patchwire/postgres:$tag" NATS_IMAGE="patchwire/nats:$tag" BALANCER_IMAGE="patchwire/haproxy:$tag"
export S3_IMAGE="patchwire/s3:$tag" S3_CLIENT_IMAGE="patchwire/s3-client:$tag"
context="$(mktemp -d)"
edge=

finish() {
    local status=$?
    trap - EXIT
    if [ -n "$edge" ]; then
        kill "$edge" 2> /dev/null || true
        wait "$edge" || true
    fi
    [ "$status" -eq 0 ] || tail -n 15 "$context/edge.log" >&2 || true
    take_down 15
    docker image ls --format '{{.Repository}}:{{.Tag}}' --filter "reference=patchwire/*:$tag" | xargs --no-run-if-empty docker image rm --force > /dev/null
    rm -rf "$context"
    verdict
}
trap finish EXIT
trap 'exit 1' INT TERM

# Prints the address of a service with one container.
at() { # SERVICE PORT
    address "$(containers "$1")" "$2"
}

post() { # COUNT
    for _ in $(seq "$1"); do post_frame "$edge_address" compress; done
}

all_measured() {
    measured "$(at web 8090)" true
}

step "images"
deploy/build-local.sh "$tag" "$binaries" > /dev/null 2>&1
postgres="$(ls -d /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)"
mkdir -p "$context/root/etc" "$context/root/tmp"
chmod 1777 "$context/root/tmp"
cat > "$context/root/etc/passwd" << 'EOF'
root:x:0:0:root:/root:/bin/sh
postgres:x:70:70:postgres:/var/lib/postgresql:/bin/sh
EOF
ln -s usr/bin usr/sbin usr/lib usr/lib64 "$context/root/"
# The packages, what they need, and moto, without documentation.
packages=(dash coreutils sed grep curl nats-server haproxy "postgresql-$(basename "$(dirname "$postgres")")" python3)
apt-cache depends --recurse --installed --no-recommends --no-suggests --no-enhances --no-conflicts --no-breaks --no-replaces \
    "${packages[@]}" | grep '^[a-z0-9]' | sort -u \
    | { xargs dpkg-query --show --showformat '${db:Status-Abbrev} ${binary:Package}\n' 2> /dev/null || true; } \
    | awk '$1 == "ii" { print $2 }' | xargs dpkg --listfiles \
    | grep -vE '^/usr/share/(doc|man|info|locale)|diverted|^/(etc/passwd|bin|sbin|lib|lib64|\.)$' \
    | sed -E 's,^/(bin|sbin|lib|lib64)/,usr/\1/,; s,^/,,' | sort -u > "$context/files"
tar --create --file "$context/root.tar" --no-recursion --ignore-failed-read --directory / --files-from "$context/files" 2> /dev/null
tar --append --file "$context/root.tar" --owner 0 --group 0 --transform 's,^target/engines,opt/engines,' --exclude __pycache__ target/engines/lib
tar --append --file "$context/root.tar" --owner 0 --group 0 --directory "$context/root" etc/passwd tmp bin sbin lib lib64
docker import "$context/root.tar" "patchwire/engines:$tag" > /dev/null
rm "$context/root.tar"

mkdir "$context/engines"
cat > "$context/engines/postgres" << 'EOF'
#!/bin/sh -e
data=/var/lib/postgresql/data
if [ ! -e $data/PG_VERSION ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --pgdata=$data
    echo "host all all all scram-sha-256" >> $data/pg_hba.conf
    pg_ctl --pgdata=$data --options="-c listen_addresses= -k /tmp" --wait start
    createdb --host=/tmp --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --pgdata=$data --mode=fast --wait stop
fi
exec postgres -D $data -c listen_addresses=* -k /tmp
EOF
cat > "$context/engines/mc" << 'EOF'
#!/bin/sh -e
# mc alias set NAME ADDRESS KEY SECRET; mc mb --ignore-existing NAME/BUCKET
case "$1" in
alias) echo "$4" > /tmp/address ;;
mb) curl --fail --silent --show-error --request PUT "$(cat /tmp/address)/${3#*/}" ;;
esac
EOF
cat > "$context/engines/s3" << 'EOF'
#!/bin/sh -e
exec python3 -m moto.server -H 0.0.0.0 -p 9000
EOF
chmod 755 "$context/engines"/*
cat > "$context/engines/Dockerfile" << EOF
FROM patchwire/engines:$tag AS engine
ENV PATH=$postgres:/opt/engines/bin:/usr/bin:/usr/sbin
COPY mc s3 postgres /opt/engines/bin/
FROM engine AS nats
ENTRYPOINT ["nats-server"]
FROM engine AS haproxy
USER 99:99
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
FROM engine AS s3
ENV PYTHONPATH=/opt/engines/lib/python3.11/site-packages
ENTRYPOINT ["s3"]
FROM engine AS s3-client
FROM engine AS postgres
RUN ["install", "-d", "-o", "70", "-g", "70", "-m", "700", "/var/lib/postgresql/data"]
USER 70:70
ENTRYPOINT ["/opt/engines/bin/postgres"]
EOF
for image in nats haproxy s3 s3-client postgres; do
    docker build --quiet --target "$image" --tag "patchwire/$image:$tag" "$context/engines" > /dev/null 2>&1
done

step "up"
"${compose[@]}" config --quiet
timeout 300 "${compose[@]}" up -d > /dev/null
within 120 healthy ingest 2
within 120 healthy decode 2
within 120 healthy web 1

step "an edge node, eight frames through the balancer"
"$binaries/edge-node" --http-listen 127.0.0.1:0 --spool "$context/spool.sqlite" \
    --set "uplink.endpoint=http://$(at balancer 50051)" --set originals_share=1 \
    > "$context/edge.out" 2> "$context/edge.log" &
edge=$!
within 60 grep --quiet listening "$context/edge.out"
edge_address="$(sed -n 's/.*http=\([^ ]*\).*/\1/p' "$context/edge.out")"
post 8
within 180 all_measured

step "one ingest and one decode process killed, frames go on"
for service in ingest decode; do
    docker kill "$(containers "$service" | head -n 1)" > /dev/null
done
post 8
within 180 all_measured

step "a NATS server killed, frames go on"
docker kill "$(containers nats-2)" > /dev/null
post 4
within 180 all_measured

step "three decode processes"
timeout 180 "${compose[@]}" up -d --scale decode=3 > /dev/null 2>&1
within 120 healthy decode 3
post 4
within 180 all_measured
step "removing"
