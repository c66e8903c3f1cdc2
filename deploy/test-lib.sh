# What the tests of the Compose files share; they source it. `$project` is the Compose project that is looked at.

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

# Prints what is left of a project.
left_of() { # PROJECT
    docker ps --all --quiet --filter "label=com.docker.compose.project=$1"
    docker volume ls --quiet --filter "label=com.docker.compose.project=$1"
    docker network ls --quiet --filter "label=com.docker.compose.project=$1"
}
