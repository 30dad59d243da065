#!/bin/sh
# Formats the data folder once, as Kafka's quick start does, and runs the broker with the mounted file.
# The image's own entry point, which makes a configuration of environment variables, is not used.
set -eu
configuration=/etc/mare/kafka.properties
tools=/opt/kafka/bin

if [ ! -e /var/lib/kafka/data/meta.properties ]; then
    cluster=$("$tools/kafka-storage.sh" random-uuid | tail -n 1)
    "$tools/kafka-storage.sh" format --cluster-id "$cluster" --config "$configuration"
fi
exec "$tools/kafka-server-start.sh" "$configuration"
