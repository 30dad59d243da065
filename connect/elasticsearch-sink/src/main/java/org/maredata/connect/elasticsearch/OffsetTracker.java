package org.maredata.connect.elasticsearch;

import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.sink.SinkRecord;

/**
 * Knows which records are settled: acknowledged by Elasticsearch or confirmed as dead letters. An offset may be
 * committed when every record delivered before it is settled. Used by the task's thread only.
 */
final class OffsetTracker {
    /** One delivered record's place. */
    static final class Position {
        private final TopicPartition partition;
        private final long offset;
        private boolean settled;
        private boolean lost;

        private Position(TopicPartition partition, long offset) {
            this.partition = partition;
            this.offset = offset;
        }

        /** True once the partition has gone to another task, which will get the record again. */
        boolean isLost() {
            return lost;
        }
    }

    private final Map<TopicPartition, Deque<Position>> delivered = new HashMap<>();
    private int unsettled;

    /** To be called for every record in the order of delivery. */
    Position add(SinkRecord record) {
        // The original ones: a transform may have renamed the topic, and offsets are committed for Kafka's.
        TopicPartition partition = new TopicPartition(record.originalTopic(), record.originalKafkaPartition());
        Position position = new Position(partition, record.originalKafkaOffset());
        delivered.computeIfAbsent(partition, p -> new ArrayDeque<>()).add(position);
        unsettled++;
        return position;
    }

    void settle(Position position) {
        if (position.settled || position.lost) {
            return;
        }
        position.settled = true;
        unsettled--;
        Deque<Position> positions = delivered.get(position.partition);
        while (!positions.isEmpty() && positions.peek().settled) {
            positions.remove();
        }
    }

    /** How many records are neither settled nor lost. */
    int unsettled() {
        return unsettled;
    }

    /**
     * What may be committed.
     *
     * @param consumed how far Connect has read; all of it was delivered here, refused by a converter or
     *     filtered by a transform
     */
    Map<TopicPartition, OffsetAndMetadata> committable(Map<TopicPartition, OffsetAndMetadata> consumed) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>(consumed);
        offsets.replaceAll((partition, end) -> {
            Deque<Position> positions = delivered.get(partition);
            return positions == null || positions.isEmpty() ? end : new OffsetAndMetadata(positions.peek().offset);
        });
        return offsets;
    }

    /** Forgets partitions that another task reads from now on. */
    void drop(Collection<TopicPartition> partitions) {
        for (TopicPartition partition : partitions) {
            Deque<Position> positions = delivered.remove(partition);
            if (positions == null) {
                continue;
            }
            for (Position position : positions) {
                position.lost = true;
                unsettled -= position.settled ? 0 : 1;
            }
        }
    }
}
