#!/usr/bin/env bash
# The same tests with the official images, where their registries can be reached: with this machine's Docker engine, in
# volumes and networks of the tests' own (project `mare-test`). Nothing else may have the ports of docker-compose.yml,
# or the containers' names. Chrome or Chromium must be installed.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

fail() { printf 'official: %s\n' "$1" >&2; exit 2; }

[ "$(id -u)" = 0 ] || fail "run this as root: it kills containers' processes from outside."
docker info >/dev/null 2>&1 || fail "no Docker engine answers: run installs/install_docker.sh first."
./mare --version >/dev/null  # makes the Python environment
for name in $(sed -n 's/^ *container_name: //p' docker-compose.yml); do
    ! docker container inspect "$name" >/dev/null 2>&1 \
        || fail "a container $name is there already: docker compose down keeps its data, and the tests need its name."
done
for port in 9092 8082 8083 9200 5601 3306 8080 8888 20001 9108; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || fail "port $port is taken on this machine: stop what listens there."
done
exec ./mare test --compose -- --official "$@"
