#!/bin/bash
# kafka-run-class.sh [-name NAME] CLASS ARGUMENT …: with the variables of Kafka's own script that the compose file uses.
[ "$1" != -name ] || shift 2
# Compiled quickly rather than well, since tests start engines often.
# shellcheck disable=SC2086  # several options each
exec java -XX:TieredStopAtLevel=1 ${KAFKA_HEAP_OPTS--Xmx256M} ${KAFKA_JVM_PERFORMANCE_OPTS--Djava.awt.headless=true} \
    -Dkafka.logs.dir="${LOG_DIR:-/opt/kafka/logs}" $KAFKA_LOG4J_OPTS $KAFKA_OPTS -cp "/opt/kafka/libs/*" "$@"
