#!/usr/bin/env bash
# Installs Docker Engine with the compose plugin on Debian and Ubuntu, from Docker's own repository, by the steps of
# its documentation ("Install using the apt repository"). Says what it runs before it runs it. Does nothing where both
# are there already.
set -euo pipefail

# Docker's repository, as its documentation gives it; nowhere else in this project.
repository=https://download.docker.com/linux
release=${OS_RELEASE_FILE:-/etc/os-release}

say() { printf 'install_docker: %s\n' "$1"; }
run() { say "running: $*"; "$@"; }
refuse() { say "$1 See \"Install Docker Engine\" at docs.docker.com/engine/install; the compose plugin must be 2.20.2 or newer."; exit 2; }

if docker --version >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
    say "$(docker --version), $(docker compose version): installed already; nothing to do."
    exit 0
fi

[ "$(uname -s)" = Linux ] || refuse "This is $(uname -s), not Debian or Ubuntu."
[ -r "$release" ] || refuse "This system does not say what it is."
# shellcheck disable=SC1090  # the system's own file
. "$release"
case ${ID:-} in
    debian) codename=${VERSION_CODENAME:-} ;;
    ubuntu) codename=${UBUNTU_CODENAME:-${VERSION_CODENAME:-}} ;;
    *) refuse "This is ${PRETTY_NAME:-another system}, not Debian or Ubuntu." ;;
esac
[ -n "$codename" ] || refuse "This release of ${ID} has no code name."

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "run this as root, since there is no sudo."; exit 2; }
    as_root=(sudo)
fi

for package in docker.io docker-compose docker-doc podman-docker containerd runc; do
    if dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
        say "package $package of the distribution is in the way of Docker's own: remove it with"
        say "  ${as_root[*]} apt-get remove $package"
        say "and run this again. (Images and volumes in /var/lib/docker stay.)"
        exit 2
    fi
done

run "${as_root[@]}" apt-get update
run "${as_root[@]}" apt-get install -y ca-certificates curl
run "${as_root[@]}" install -m 0755 -d /etc/apt/keyrings
run "${as_root[@]}" curl -fsSL "$repository/$ID/gpg" -o /etc/apt/keyrings/docker.asc
run "${as_root[@]}" chmod a+r /etc/apt/keyrings/docker.asc
source="deb [arch=$(dpkg --print-architecture) signed-by=/etc/apt/keyrings/docker.asc] $repository/$ID $codename stable"
say "writing /etc/apt/sources.list.d/docker.list: $source"
printf '%s\n' "$source" | "${as_root[@]}" tee /etc/apt/sources.list.d/docker.list >/dev/null
run "${as_root[@]}" apt-get update
run "${as_root[@]}" apt-get install -y docker-ce docker-ce-cli containerd.io docker-buildx-plugin docker-compose-plugin

say "done: $(docker --version), $(docker compose version)"
if [ "$(id -u)" -ne 0 ]; then
    say "to use docker without sudo: sudo usermod -aG docker $USER, and log in again (that account is then as good as root)."
fi
