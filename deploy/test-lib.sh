# Sourced by the tests of the Compose files. `$project` is the Compose project under test.

samples=(cli/samples/*.jpg)
sent=0

if ! timeout 20 docker info > /dev/null 2>&1; then
    echo "$0: NOT TESTED: no Docker engine answers (docker info fails)" >&2
    exit 77
fi
if docker compose version > /dev/null 2>&1; then
    compose=(docker compose)
else
    compose=(docker-compose)
fi

step() {
    echo "[$SECONDS s] $*"
}

fail() {
    echo "$0: $*" >&2
    exit 1
}

# within SECONDS COMMAND...: tries the command until it succeeds.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "in vain: $*"
        sleep 0.5
    done
}

containers() { # SERVICE
    docker ps --quiet --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"
}

healthy() { # SERVICE COUNT
    local id count=0
    for id in $(containers "$1"); do
        [ "$(docker inspect --format '{{.State.Health.Status}}' "$id")" = healthy ] || return 1
        count=$((count + 1))
    done
    [ "$count" -eq "$2" ]
}

# Fails unless a service's container has no root, no capability, no writable root, and limits.
hardened() { # SERVICE
    docker inspect "$(containers "$1")" | jq --exit-status '.[0] | .Config.User == "65532:65532"
        and .HostConfig.ReadonlyRootfs and .HostConfig.CapDrop == ["ALL"]
        and .HostConfig.Memory > 0 and .HostConfig.NanoCpus > 0
        and (.HostConfig.SecurityOpt | index("no-new-privileges:true") != null)' > /dev/null || fail "$1 is not hardened"
}

# Prints the remains of a project.
left_of() { # PROJECT
    docker ps --all --quiet --filter "label=com.docker.compose.project=$1"
    docker volume ls --quiet --filter "label=com.docker.compose.project=$1"
    docker network ls --quiet --filter "label=com.docker.compose.project=$1"
}

# Prints the address at which a container's port is published; fails if it is not on the loopback interface.
address() { # CONTAINER PORT
    docker port "$1" "$2/tcp" | grep '^127\.0\.0\.1:'
}

get() { # ADDRESS PATH
    curl --fail --silent --show-error --max-time 20 "http://$1$2"
}

# Posts the next sample; the edge node must answer 202.
post_frame() { # ADDRESS TASK
    local image="${samples[$((sent % ${#samples[@]}))]}" answer
    answer="$(curl --silent --show-error --max-time 60 --output /dev/null --write-out '%{http_code}' \
        --header 'content-type: image/jpeg' --data-binary "@$image" "http://$1/v1/frames?camera=test&task=$2")"
    [ "$answer" = 202 ] || fail "the edge answered $answer to $image"
    sent=$((sent + 1))
}

# Whether all frames sent so far are there, each once, rebuilt and measured, and meet a further condition of jq.
measured() { # ADDRESS CONDITION
    local all
    all="$(get "$1" '/api/v1/frames?camera=test&limit=500')" || return 1
    jq --exit-status --argjson sent "$sent" "(.frames | length) == \$sent
        and ([.frames[] | select(.state == \"decoded\" and .quality.psnr_db > 10 and $2) | .id] | unique | length) == \$sent" \
        <<< "$all" > /dev/null
}

# Prints the services' last lines if the test failed, and removes the project. Sets `status` to 1 if that fails.
take_down() { # LINES
    if [ "$status" -ne 0 ]; then
        echo "$0: FAILED; the last lines of the services:" >&2
        "${compose[@]}" ps >&2 || true
        "${compose[@]}" logs --no-color --tail="$1" >&2 || true
    fi
    timeout 120 "${compose[@]}" down --volumes --remove-orphans --timeout 20 > /dev/null 2>&1 || status=1
}

# Says that the test passed, if it did, and ends.
verdict() {
    [ "$status" -ne 0 ] || echo "$0: passed in $SECONDS s"
    exit "$status"
}
