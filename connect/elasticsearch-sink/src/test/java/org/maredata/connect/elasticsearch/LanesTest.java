package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.maredata.connect.elasticsearch.FakeElasticsearch.error;
import static org.maredata.connect.elasticsearch.TaskHarness.json;
import static org.maredata.connect.elasticsearch.TaskHarness.reading;
import static org.maredata.connect.elasticsearch.TaskHarness.record;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Exchanger;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Several bulks under way at once. */
class LanesTest extends TaskTestBase {
    /** The HTTP client by itself would make ten connections at most. */
    @ParameterizedTest
    @ValueSource(ints = {3, 12})
    void severalBulksAreUnderWayAtOnceAndNoMoreThanAllowed(int flight) {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answersAlways(elasticsearch.after(answer, elasticsearch.items(doc -> null)));
        start("flight", String.valueOf(flight), "batch.documents", "5");
        worker.put(readings(0, 100));
        worker.until(() -> elasticsearch.requests.size() == flight);
        worker.put();
        assertEquals(flight, elasticsearch.requests.size());
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
        start("flight", "4", "batch.documents", "1");
        worker.put(readings(0, 40));
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
        elasticsearch.obeysFilter = seed % 2 == 0;
        Set<String> underWay = ConcurrentHashMap.newKeySet();
        List<String> overlaps = new ArrayList<>();
        AtomicInteger together = new AtomicInteger();
        AtomicInteger mostTogether = new AtomicInteger();
        Exchanger<Integer> requests = new Exchanger<>();
        elasticsearch.answersAlways((exchange, docs) -> {
            Set<String> ids = docs.stream().map(FakeElasticsearch.Doc::id).collect(Collectors.toSet());
            ids.stream().filter(id -> !underWay.add(id)).forEach(overlaps::add);
            mostTogether.accumulateAndGet(together.incrementAndGet(), Math::max);
            int dice;
            synchronized (random) {
                dice = random.nextInt(12);
            }
            meet(requests);
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
        start("flight", "4", "batch.documents", "10", "max.buffered.records", "150");
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
        start("linger.ms", "300");
        for (int i = 0; i < 10; i++) {
            worker.put(reading(i, "k" + i));
        }
        worker.until(() -> worker.committable(0) == 10);
        assertEquals(1, elasticsearch.requests.size());
    }

    @Test
    void oneIndexInTroubleDoesNotHoldUpTheOthers() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> doc.id().equals("stuck") ? error(503, "unavailable_shards_exception", "x") : null));
        start("flight", "1", "batch.documents", "10");
        worker.put(reading(0, "stuck"));
        worker.until(() -> elasticsearch.requests.size() == 2);
        worker.put(readings(1, 40));
        worker.until(() -> elasticsearch.stored.size() == 39);
        assertEquals(0, worker.committable(0));
    }

    @Test
    void afterARebalanceNothingIsLostAndNothingIsAhead() {
        Random random = new Random(9);
        AtomicInteger requests = new AtomicInteger();
        AtomicInteger held = new AtomicInteger();
        AtomicLong begin = new AtomicLong();
        AtomicReference<CountDownLatch> closing = new AtomicReference<>();
        elasticsearch.answersAlways((exchange, docs) -> {
            FakeElasticsearch.Reply stored = elasticsearch.items(doc -> null);
            List<Long> offsets = docs.stream().map(doc -> Long.valueOf(doc.id().substring(1))).toList();
            if (requests.incrementAndGet() % 3 == 0) {
                elasticsearch.whole(503, "").to(exchange, docs);
            } else if (Collections.max(offsets) >= begin.get() + 30 && !offsets.contains(begin.get())) {
                held.incrementAndGet();
                elasticsearch.after(closing.get(), stored).to(exchange, docs);
            } else {
                stored.to(exchange, docs);
            }
        });
        start("flight", "3", "batch.documents", "4");
        Set<String> expected = new HashSet<>();
        long committed = 0;
        for (int round = 0; round < 12; round++) {
            long first = committed;
            worker.consumed(0, first);
            begin.set(first);
            closing.set(new CountDownLatch(1));
            held.set(0);
            List<SinkRecord> records = readings(first, first + 40);
            records.forEach(record -> expected.add("r/k" + record.kafkaOffset()));
            worker.put(records);
            worker.until(() -> held.get() > 0 && worker.committable(0) > first);
            for (int i = random.nextInt(6); i > 0; i--) {
                worker.put();
            }
            // Connect commits what it is told, closes the partition, and reads from there when it comes back.
            committed = worker.committable(0);
            for (long offset = first; offset < committed; offset++) {
                assertTrue(elasticsearch.stored.containsKey("r/k" + offset), "committed before it was stored: " + offset);
            }
            // What is still under way is answered while the partition is closed, or after that.
            closing.get().countDown();
            worker.close(0);
            worker.open(0);
        }
        worker.consumed(0, committed);
        long end = 1 + expected.stream().mapToLong(name -> Long.parseLong(name.substring(3))).max().orElseThrow();
        worker.put(readings(committed, end));
        worker.until(() -> worker.committable(0) == end);
        assertEquals(expected, elasticsearch.stored.keySet());
    }

    private static List<SinkRecord> readings(long first, long end) {
        return LongStream.range(first, end).mapToObj(offset -> reading(offset, "k" + offset)).toList();
    }

    /** Holds a request until there is another one, so that those which may overlap do; there may be none to come. */
    private static void meet(Exchanger<Integer> requests) throws InterruptedException {
        try {
            requests.exchange(0, 3, TimeUnit.MILLISECONDS);
        } catch (TimeoutException alone) {
            // Then it is answered alone.
        }
    }
}
