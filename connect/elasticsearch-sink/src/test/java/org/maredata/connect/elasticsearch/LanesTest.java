package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.maredata.connect.elasticsearch.FakeElasticsearch.error;
import static org.maredata.connect.elasticsearch.TaskHarness.json;
import static org.maredata.connect.elasticsearch.TaskHarness.reading;
import static org.maredata.connect.elasticsearch.TaskHarness.record;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Several bulks under way at once. */
class LanesTest {
    private final FakeElasticsearch elasticsearch = new FakeElasticsearch();
    private TaskHarness worker;

    @AfterEach
    void close() {
        if (worker != null) {
            worker.close();
        }
        elasticsearch.close();
    }

    @Test
    void severalBulksAreUnderWayAtOnceAndNoMoreThanAllowed() {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answersAlways(elasticsearch.after(answer, elasticsearch.items(doc -> null)));
        worker = new TaskHarness(elasticsearch.url(), true, "flight", "3", "batch.documents", "5");
        worker.put(LongStream.range(0, 100).mapToObj(i -> reading(i, "k" + i)).toList());
        worker.until(() -> elasticsearch.requests.size() == 3);
        worker.put();
        assertEquals(3, elasticsearch.requests.size());
        assertEquals(0, worker.committable(0));
        answer.countDown();
        worker.until(() -> worker.committable(0) == 100);
        assertEquals(100, elasticsearch.stored.size());
        assertTrue(elasticsearch.requests.stream().allMatch(docs -> docs.size() <= 5));
    }

    @Test
    void nothingIsCommittedBeyondTheSlowestBulk() {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answersAlways((exchange, docs) -> (docs.stream().anyMatch(doc -> doc.id().equals("k5"))
                ? elasticsearch.after(answer, elasticsearch.items(doc -> null)) : elasticsearch.items(doc -> null)).to(exchange, docs));
        worker = new TaskHarness(elasticsearch.url(), true, "flight", "4", "batch.documents", "1");
        worker.put(LongStream.range(0, 40).mapToObj(i -> reading(i, "k" + i)).toList());
        worker.until(() -> elasticsearch.stored.size() > 20);
        assertTrue(worker.committable(0) <= 5);
        answer.countDown();
        worker.until(() -> worker.committable(0) == 40);
    }

    /** Whatever fails, documents with one id never are in two requests at once, and the last one stays. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4, 5})
    void documentsWithOneIdStayInOrder(int seed) {
        Random random = new Random(seed);
        Set<String> underWay = ConcurrentHashMap.newKeySet();
        List<String> overlaps = new ArrayList<>();
        AtomicInteger together = new AtomicInteger();
        AtomicInteger mostTogether = new AtomicInteger();
        elasticsearch.answersAlways((exchange, docs) -> {
            Set<String> ids = docs.stream().map(FakeElasticsearch.Doc::id).collect(Collectors.toSet());
            ids.stream().filter(id -> !underWay.add(id)).forEach(overlaps::add);
            mostTogether.accumulateAndGet(together.incrementAndGet(), Math::max);
            int dice;
            synchronized (random) {
                dice = random.nextInt(12);
            }
            Thread.sleep(dice % 4);
            underWay.removeAll(ids);
            together.decrementAndGet();
            if (dice == 0) {
                elasticsearch.whole(503, "").to(exchange, docs);
            } else if (dice == 1) {
                elasticsearch.storesInSilence().to(exchange, docs);
            } else if (dice == 2 && docs.size() > 1) {
                elasticsearch.whole(413, "").to(exchange, docs);
            } else if (dice == 3) {
                elasticsearch.breaksOff("{\"errors\":false,\"items\":[").to(exchange, docs);
            } else {
                elasticsearch.items(doc -> {
                    synchronized (random) {
                        return random.nextInt(6) == 0 ? error(429, "busy", "x") : null;
                    }
                }).to(exchange, docs);
            }
        });
        worker = new TaskHarness(elasticsearch.url(), true, "flight", "4", "batch.documents", "10", "max.buffered.records", "150");
        Map<String, Long> last = new ConcurrentHashMap<>();
        Random ids = new Random(seed);
        long[] next = new long[2];
        for (int put = 0; put < 120; put++) {
            List<SinkRecord> records = new ArrayList<>();
            for (int i = ids.nextInt(20); i > 0; i--) {
                // An id decides the partition, as a key does.
                int number = ids.nextInt(30);
                long offset = next[number % 2]++;
                records.add(record(number % 2, offset, json("k" + number, offset)));
                last.put("k" + number, offset);
            }
            worker.put(records);
        }
        worker.until(() -> worker.committable(0) == next[0] && worker.committable(1) == next[1]);
        assertEquals(last.entrySet().stream().collect(Collectors.toMap(e -> "r/" + e.getKey(),
                e -> json(e.getKey(), e.getValue()))), elasticsearch.stored);
        assertEquals(List.of(), overlaps);
        assertTrue(mostTogether.get() > 1, "there would be nothing to see");
        assertEquals(List.of(), worker.deadLetters);
    }

    @Test
    void aFewDocumentsWaitForOthersButNotForLong() {
        worker = new TaskHarness(elasticsearch.url(), true, "linger.ms", "300");
        for (int i = 0; i < 10; i++) {
            worker.put(reading(i, "k" + i));
        }
        worker.until(() -> worker.committable(0) == 10);
        assertEquals(1, elasticsearch.requests.size());
    }

    @Test
    void oneIndexInTroubleDoesNotHoldUpTheOthers() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> doc.id().equals("stuck") ? error(503, "unavailable_shards_exception", "x") : null));
        worker = new TaskHarness(elasticsearch.url(), true, "flight", "1", "batch.documents", "10");
        worker.put(reading(0, "stuck"));
        worker.until(() -> elasticsearch.requests.size() == 2);
        worker.put(LongStream.range(1, 40).mapToObj(i -> reading(i, "k" + i)).toList());
        worker.until(() -> elasticsearch.stored.size() == 39);
        assertEquals(0, worker.committable(0));
    }

    @Test
    void afterARebalanceNothingIsLostAndNothingIsAhead() {
        Random random = new Random(9);
        elasticsearch.answersAlways((exchange, docs) -> {
            Thread.sleep(5);
            (elasticsearch.requests.size() % 3 == 0 ? elasticsearch.whole(503, "") : elasticsearch.items(doc -> null)).to(exchange, docs);
        });
        worker = new TaskHarness(elasticsearch.url(), true, "flight", "3", "batch.documents", "7");
        Set<String> expected = new HashSet<>();
        long committed = 0;
        for (int round = 0; round < 12; round++) {
            long first = committed;
            worker.consumed(0, first);
            List<SinkRecord> records = IntStream.range(0, 40).mapToObj(i -> reading(first + i, "k" + (first + i))).toList();
            records.forEach(record -> expected.add("r/k" + record.kafkaOffset()));
            worker.put(records);
            for (int i = random.nextInt(6); i > 0; i--) {
                worker.put();
            }
            // Connect commits what it is told, closes the partition, and reads from there when it comes back.
            committed = worker.committable(0);
            for (long offset = first; offset < committed; offset++) {
                assertTrue(elasticsearch.stored.containsKey("r/k" + offset), "committed before it was stored: " + offset);
            }
            worker.close(0);
            worker.open(0);
        }
        long from = committed;
        worker.consumed(0, from);
        List<SinkRecord> rest = expected.stream().map(name -> Long.valueOf(name.substring(3))).filter(offset -> offset >= from)
                .sorted().map(offset -> reading(offset, "k" + offset)).toList();
        worker.put(rest);
        worker.until(() -> worker.committable(0) > from || rest.isEmpty());
        worker.until(() -> elasticsearch.stored.keySet().equals(expected));
        assertFalse(expected.isEmpty());
    }
}
