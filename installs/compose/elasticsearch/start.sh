#!/bin/sh
# Runs Elasticsearch with the mounted files, and puts the password of `elastic` into a fresh keystore at each start, so
# that a changed .env and `docker compose up -d` change it. (`bootstrap.password` counts as long as nobody sets another
# one through the API: see "Built-in users" in Elasticsearch's documentation.)
# The image's own entry point, which makes settings of environment variables, is not used.
set -eu
home=/usr/share/elasticsearch
export ES_PATH_CONF=/run/mare/config ES_TMPDIR=/tmp

rm -rf "$ES_PATH_CONF"
mkdir -p "$ES_PATH_CONF" /run/mare/logs
cp /etc/mare/elasticsearch.yml /etc/mare/log4j2.properties "$ES_PATH_CONF"
# Its own file but for the garbage collector's log, which would go into the program's folder.
grep -v gc.log "$home/config/jvm.options" > "$ES_PATH_CONF/jvm.options"

"$home/bin/elasticsearch-keystore" create --silent
printf '%s' "$ELASTIC_PASSWORD" | "$home/bin/elasticsearch-keystore" add --silent --stdin bootstrap.password
unset ELASTIC_PASSWORD
cd "$home"
exec "$home/bin/elasticsearch"
