#!/usr/bin/env bash
# A Docker engine for the tests alone, beside any that the machine has: its own socket, images, volumes and network.
# The stand-ins carry the names of official images, so they must not get into an engine that somebody uses.
#
#   engine.sh packages         Docker, Compose and buildx from Debian's packages, where they are not there yet
#   engine.sh start builds     for building: in the machine's network, whose rules and bridges it leaves alone
#   engine.sh start apart      for running: in a network of its own, which has no way out of this machine. Nothing can
#                              be reached from there, and every port is free, whatever else runs on the machine
#   engine.sh enter COMMAND …  runs a command in that network, with this engine as `docker`'s
#   engine.sh stop             stops the engine; images stay for the next time
#   engine.sh clean            takes away the images too
#
# For root on Debian. COMPOSE_TEST_DIR (default: .mare/compose) is where everything is kept.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
work=${COMPOSE_TEST_DIR:-$root/.mare/compose}
mkdir -p "$work"
work=$(readlink -f "$work")
pid_file=$work/dockerd.pid
export DEBIAN_FRONTEND=noninteractive DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/client

say() { printf '[engine] %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Bookworm's own Docker is too old for this compose file, and its Compose too: these packages alone come from the suite
# after it, through lists of our own. The machine's apt configuration stays as it is.
suite=trixie
apt() {
    apt-get -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/apt/sources" \
        -o Acquire::Languages=none -o APT::Default-Release=bookworm -o DPkg::Lock::Timeout=600 "$@"
}

packages() {
    if command -v dockerd mmdebstrap iptables ip >/dev/null \
        && docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; then
        say "$(dockerd --version | cut -d, -f1), $(docker compose version): there already"
        return
    fi
    # shellcheck disable=SC1091  # the system's own file
    [ "$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")" = bookworm ] \
        || fail "only Debian bookworm's packages are known to work here: install Docker, its compose and buildx plugins, mmdebstrap and iptables yourself."
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/sources"
    local sources=/etc/apt/sources.list.d/debian.sources kind=sources
    [ -e "$sources" ] || { sources=/etc/apt/sources.list; kind=list; }
    cp "$sources" "$work/apt/sources/bookworm.$kind"
    sed "s/bookworm/$suite/g" "$sources" > "$work/apt/sources/$suite.$kind"
    apt update -qq
    # docker.io starts a service when it is installed, unless a policy forbids it.
    local policy=/usr/sbin/policy-rc.d ours=
    [ -e $policy ] || { ours=1; printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; }
    apt install -y -q --no-install-recommends docker.io/$suite containerd/$suite docker-cli/$suite \
        docker-compose/$suite docker-buildx/$suite iptables iproute2 mmdebstrap > "$work/packages.log" 2>&1 \
        || { [ -z "$ours" ] || rm -f $policy; tail -n 5 "$work/packages.log" >&2; fail "apt-get failed: $work/packages.log"; }
    [ -z "$ours" ] || rm -f $policy
    say "$(dockerd --version | cut -d, -f1), $(docker compose version): installed"
}

running() { [ -s "$pid_file" ] && [ "$(cat "/proc/$(cat "$pid_file")/comm" 2>/dev/null)" = dockerd ]; }

start() {
    local place=$1 driver before=() network=()
    stop
    case $place in
        builds) network=(--bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false) ;;
        # Forwarding and Docker's rules are this network's own, and end with it. The machine's containerd, where one
        # runs, is in the machine's network: hidden, so that dockerd starts its own.
        apart) before=(unshare --net --mount -- sh -c \
            'mkdir -p /run/containerd && mount -t tmpfs none /run/containerd && ip link set lo up && exec "$@"' sh) ;;
        *) fail "start builds, or start apart" ;;
    esac
    # The plain driver last: it copies whole images, but works where folders can't be laid over each other.
    for driver in overlay2 vfs; do
        # A session of its own: Ctrl-C at the tests must not reach it before they took their containers away.
        setsid "${before[@]}" dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" \
            --pidfile "$pid_file" --containerd-namespace mare-tests --containerd-plugins-namespace mare-tests-plugins \
            --storage-driver $driver --shutdown-timeout 20 "${network[@]}" > "$work/dockerd.log" 2>&1 < /dev/null &
        local process=$!
        for _ in $(seq 120); do
            docker info >/dev/null 2>&1 && { say "started: $place, pid $(cat "$pid_file"), $driver"; return; }
            kill -0 $process 2>/dev/null || break
            sleep 0.5
        done
        say "dockerd does not start with $driver: $(grep -v level=info "$work/dockerd.log" | tail -n 1)"
        stop
    done
    fail "dockerd does not start: $work/dockerd.log"
}

stop() {
    if running; then
        local process
        process=$(cat "$pid_file")
        # It would wait a minute for those that may take one to stop.
        docker ps --quiet | xargs --no-run-if-empty docker kill >/dev/null 2>&1 || true
        kill "$process"
        for _ in $(seq 120); do [ -e "/proc/$process" ] || break; sleep 0.5; done
        [ ! -e "/proc/$process" ] || fail "dockerd $process does not end: $work/dockerd.log"
        say "stopped"
    fi
    rm -f "$pid_file"
}

enter() {
    running || fail "no engine of the tests runs: engine.sh start apart"
    exec nsenter --net="/proc/$(cat "$pid_file")/ns/net" -- "$@"
}

[ "$(id -u)" = 0 ] || fail "the tests' own Docker engine needs root."
case ${1:-} in
    packages | stop) "$1" ;;
    start) start "${2:-}" ;;
    enter) shift; enter "$@" ;;
    clean) stop; rm -rf "$work" ;;
    *) sed -n '2,14p' "$0"; exit 2 ;;
esac
