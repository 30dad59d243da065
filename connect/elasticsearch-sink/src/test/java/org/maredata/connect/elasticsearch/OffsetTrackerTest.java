package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;

class OffsetTrackerTest {
    private static TopicPartition partition(int number) {
        return new TopicPartition(TaskHarness.TOPIC, number);
    }

    /** Against a model: an offset may be committed if no record before it is unsettled. */
    @Test
    void inWhateverOrderRecordsAreSettledNoneIsPassedOver() {
        for (int seed = 0; seed < 200; seed++) {
            Random random = new Random(seed);
            OffsetTracker tracker = new OffsetTracker();
            Map<TopicPartition, OffsetAndMetadata> consumed = new HashMap<>();
            Map<Integer, TreeSet<Long>> unsettled = new TreeMap<>();
            List<OffsetTracker.Position> positions = new ArrayList<>();
            List<long[]> names = new ArrayList<>();
            long[] next = new long[3];
            for (int step = 0; step < 300; step++) {
                int p = random.nextInt(3);
                if (random.nextInt(40) == 0) {
                    // What was delivered until now may be settled later all the same.
                    tracker.drop(List.of(partition(p)));
                    unsettled.remove(p);
                    consumed.remove(partition(p));
                } else if (random.nextBoolean()) {
                    // Offsets have gaps: transactions, compaction, filters.
                    next[p] += 1 + random.nextInt(3);
                    positions.add(tracker.add(TaskHarness.record(p, next[p], "")));
                    names.add(new long[] {p, next[p]});
                    unsettled.computeIfAbsent(p, x -> new TreeSet<>()).add(next[p]);
                    consumed.put(partition(p), new OffsetAndMetadata(next[p] + 1));
                } else if (!positions.isEmpty()) {
                    int i = random.nextInt(positions.size());
                    tracker.settle(positions.get(i));
                    unsettled.getOrDefault((int) names.get(i)[0], new TreeSet<>()).remove(names.get(i)[1]);
                }
                Map<TopicPartition, OffsetAndMetadata> expected = new HashMap<>(consumed);
                unsettled.forEach((number, offsets) -> {
                    if (!offsets.isEmpty()) {
                        expected.put(partition(number), new OffsetAndMetadata(offsets.first()));
                    }
                });
                assertEquals(expected, tracker.committable(consumed));
                assertEquals(unsettled.values().stream().mapToInt(TreeSet::size).sum(), tracker.unsettled());
            }
        }
    }

    @Test
    void aLostRecordCountsForNothingEvenIfItIsSettledLater() {
        OffsetTracker tracker = new OffsetTracker();
        OffsetTracker.Position before = tracker.add(TaskHarness.reading(4, "a"));
        tracker.drop(List.of(partition(0), partition(1)));
        assertTrue(before.isLost());
        assertEquals(0, tracker.unsettled());
        OffsetTracker.Position again = tracker.add(TaskHarness.reading(4, "a"));
        tracker.settle(before);
        assertEquals(1, tracker.unsettled());
        Map<TopicPartition, OffsetAndMetadata> consumed = Map.of(partition(0), new OffsetAndMetadata(5));
        assertEquals(4, tracker.committable(consumed).get(partition(0)).offset());
        tracker.settle(again);
        assertEquals(consumed, tracker.committable(consumed));
    }

    @Test
    void theOldestRecordOfAllPartitionsCounts() {
        OffsetTracker tracker = new OffsetTracker();
        assertNull(tracker.oldest());
        List<OffsetTracker.Position> positions = new ArrayList<>();
        for (Long time : Arrays.asList(null, 30L, 10L, 20L)) {
            positions.add(tracker.add(new SinkRecord(TaskHarness.TOPIC, positions.size(), null, null, null, "", 0, time,
                    time == null ? TimestampType.NO_TIMESTAMP_TYPE : TimestampType.CREATE_TIME)));
        }
        assertEquals(10, tracker.oldest());
        tracker.settle(positions.get(2));
        assertEquals(20, tracker.oldest());
        tracker.drop(List.of(partition(3)));
        assertEquals(30, tracker.oldest());
        tracker.settle(positions.get(1));
        assertNull(tracker.oldest());
    }
}
