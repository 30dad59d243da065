#!/usr/bin/env bash
# Writes .env for `docker compose`: random passwords, Kibana's keys, and the profiles that are on. Never overwrites one.
# With MARE_MARIADB__HOST (and __PORT, __DATABASE, __USER, __PASSWORD) in the environment, that server is the
# transactional store, and no MariaDB of ours is started.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
target=${1:-$root/.env}

fail() { printf 'make_env: %s\n' "$1" >&2; exit 2; }

# Letters and digits only: nothing that a shell, a URL or an SQL text would take for anything else.
random() {
    local text=''
    while [ "${#text}" -lt "$1" ]; do
        text+=$(head -c 256 /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9')
    done
    printf '%s' "${text:0:$1}"
}

# A single-quoted value is taken as it stands, by Compose and by the local mode.
given() {
    local name=$1 value=${!1:-}
    [ -n "$value" ] || return 0
    case $value in *"'"*|*$'\n'*) fail "$name has a quote or a line break in it: .env can't hold that." ;; esac
    printf "%s='%s'\n" "$name" "$value"
}

[ ! -e "$target" ] && [ ! -L "$target" ] || fail "$target is there already, and its passwords are in use: nothing was changed."
if [ -n "${MARE_MARIADB__HOST:-}" ] && [ -z "${MARE_MARIADB__PASSWORD:-}" ]; then
    fail "MARE_MARIADB__HOST names a server of yours: give its account's password in MARE_MARIADB__PASSWORD."
fi

# mktemp makes it readable for its owner alone.
draft=$(mktemp "$target.XXXXXX")
trap 'rm -f "$draft"' EXIT
{
    cat <<'TEXT'
# Written by installs/make_env.sh. To change a password, edit it here and run `docker compose up -d`.
# Every MARE_… variable of .env.example can be added.

TEXT
    for name in HOST PORT DATABASE USER; do given "MARE_MARIADB__$name"; done
    cat <<TEXT
# Services that can be left out: demo (two emulated buoys), mariadb (off where MARE_MARIADB__HOST above names yours).
COMPOSE_PROFILES=demo,\${MARE_MARIADB__HOST:-mariadb}

# MariaDB: our programs' account (mare), and the one for reading in phpMyAdmin (reader).
TEXT
    if [ -n "${MARE_MARIADB__PASSWORD:-}" ]; then
        given MARE_MARIADB__PASSWORD
    else
        printf 'MARE_MARIADB__PASSWORD=%s\n' "$(random 24)"
    fi
    cat <<TEXT
MARIADB_READER_PASSWORD=$(random 24)
# Signs phpMyAdmin's login cookie; 32 characters.
PHPMYADMIN_SECRET=$(random 32)

# Elasticsearch: elastic may do everything, mare is our programs', observer looks at Kibana, kibana_system is Kibana's.
ELASTIC_PASSWORD=$(random 24)
MARE_ELASTICSEARCH__USER=mare
MARE_ELASTICSEARCH__PASSWORD=$(random 24)
OBSERVER_PASSWORD=$(random 24)
KIBANA_SYSTEM_PASSWORD=$(random 24)

# Kibana's keys. With another KIBANA_OBJECTS_KEY it could not read its rules any more.
KIBANA_SECURITY_KEY=$(random 32)
KIBANA_OBJECTS_KEY=$(random 32)
KIBANA_REPORTING_KEY=$(random 32)

# Opens Jupyter.
JUPYTER_TOKEN=$(random 32)
TEXT
} > "$draft"
# A link and not a move: it fails where somebody else has made the file meanwhile.
ln "$draft" "$target" 2>/dev/null || fail "$target can't be made, or came to be meanwhile: nothing was changed."

# Containers run as account 1000, and these folders are theirs to write into.
if [ "$target" = "$root/.env" ] && [ "$(uname -s)" = Linux ]; then
    for folder in jobs notebooks backups/elasticsearch; do
        [ "$(stat -c %u "$root/$folder")" = 1000 ] || chown 1000 "$root/$folder" 2>/dev/null \
            || printf 'make_env: containers can not write into %s: sudo chown 1000 %s\n' "$folder/" "$root/$folder" >&2
    done
fi

value() { sed -n "s/^$1=//p" "$target" | tr -d "'"; }
cat <<TEXT
Wrote $target. Now: docker compose up -d

  Kibana           http://127.0.0.1:5601    observer / $(value OBSERVER_PASSWORD)
  Elasticsearch    http://127.0.0.1:9200    mare / $(value MARE_ELASTICSEARCH__PASSWORD)
TEXT
if [ -z "${MARE_MARIADB__HOST:-}" ]; then
    cat <<TEXT
  phpMyAdmin       http://127.0.0.1:8080    reader / $(value MARIADB_READER_PASSWORD)
  MariaDB          127.0.0.1:3306           mare / $(value MARE_MARIADB__PASSWORD)
TEXT
else
    printf '  phpMyAdmin       http://127.0.0.1:8080    an account of %s\n' "$MARE_MARIADB__HOST"
fi
cat <<TEXT
  Jupyter          http://127.0.0.1:8888/lab?token=$(value JUPYTER_TOKEN)
  Kafka Connect    http://127.0.0.1:8083
  Kafka over REST  http://127.0.0.1:8082/topics
  Kafka            127.0.0.1:9092
  Gateway          port 20001/udp, on every address of this machine
TEXT
