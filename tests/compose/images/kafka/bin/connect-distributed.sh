#!/bin/bash
# shellcheck disable=SC2086  # two words
exec "$(dirname "$0")/kafka-run-class.sh" ${EXTRA_ARGS--name connectDistributed} \
    org.apache.kafka.connect.cli.ConnectDistributed "$@"
