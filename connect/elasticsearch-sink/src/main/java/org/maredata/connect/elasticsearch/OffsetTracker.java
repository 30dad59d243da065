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
    /** One delivered record. */
    static final class Position {
        private final SinkRecord record;
        private final Delivered delivered;
        private boolean settled;

        private Position(SinkRecord record, Delivered delivered) {
            this.record = record;
            this.delivered = delivered;
        }

        /** Kept for the dead letters. */
        SinkRecord record() {
            return record;
        }

        /** True once the partition has gone to another task, which will get the record again. */
        boolean isLost() {
            return delivered.lost;
        }
    }

    /** What came of one partition since it was opened, from the oldest record on that isn't settled. */
    private static final class Delivered {
        private final TopicPartition partition;
        private final Deque<Position> positions = new ArrayDeque<>();
        private int unsettled;
        private boolean lost;

        private Delivered(TopicPartition partition) {
            this.partition = partition;
        }

        private boolean isOf(SinkRecord record) {
            return partition.partition() == record.originalKafkaPartition() && partition.topic().equals(record.originalTopic());
        }
    }

    private final Map<TopicPartition, Delivered> partitions = new HashMap<>();
    /** Records come in runs of one partition. */
    private Delivered last;
    private int unsettled;

    /** To be called for every record in the order of delivery. */
    Position add(SinkRecord record) {
        if (last == null || !last.isOf(record)) {
            // The original ones: a transform may have renamed the topic, and offsets are committed for Kafka's.
            last = partitions.computeIfAbsent(new TopicPartition(record.originalTopic(), record.originalKafkaPartition()),
                    Delivered::new);
        }
        Position position = new Position(record, last);
        last.positions.add(position);
        last.unsettled++;
        unsettled++;
        return position;
    }

    void settle(Position position) {
        Delivered delivered = position.delivered;
        if (position.settled || delivered.lost) {
            return;
        }
        position.settled = true;
        delivered.unsettled--;
        unsettled--;
        while (!delivered.positions.isEmpty() && delivered.positions.peek().settled) {
            delivered.positions.remove();
        }
    }

    /** How many records are neither settled nor lost. */
    int unsettled() {
        return unsettled;
    }

    /** When the oldest record that isn't settled was written to Kafka, in milliseconds since 1970; null if there is none. */
    Long oldest() {
        Long oldest = null;
        for (Delivered delivered : partitions.values()) {
            Position first = delivered.positions.peek();
            Long time = first == null ? null : first.record.timestamp();
            if (time != null && (oldest == null || time < oldest)) {
                oldest = time;
            }
        }
        return oldest;
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
            Delivered delivered = partitions.get(partition);
            return delivered == null || delivered.positions.isEmpty() ? end
                    : new OffsetAndMetadata(delivered.positions.peek().record.originalKafkaOffset());
        });
        return offsets;
    }

    /** Forgets partitions that another task reads from now on. */
    void drop(Collection<TopicPartition> dropped) {
        last = null;
        for (TopicPartition partition : dropped) {
            Delivered delivered = partitions.remove(partition);
            if (delivered != null) {
                delivered.lost = true;
                unsettled -= delivered.unsettled;
            }
        }
    }
}
