package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import javax.management.JMException;
import javax.management.ObjectName;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.metrics.PluginMetrics;
import org.apache.kafka.connect.sink.ErrantRecordReporter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTaskContext;
import org.maredata.connect.Complaints;

/** A task with a worker that a test plays. */
final class TaskHarness implements AutoCloseable {
    static final String TOPIC = "readings";

    /** What the task wrote to its log, and the clock by which it does so once a minute. */
    final List<String> log = new ArrayList<>();
    final AtomicLong logClock = new AtomicLong();
    final ElasticsearchSinkTask task = new ElasticsearchSinkTask(new Complaints(log::add, logClock::get));
    final Context context = new Context();
    final List<String> deadLetters = new ArrayList<>();
    final List<CompletableFuture<Void>> confirmations = new ArrayList<>();
    boolean confirmAtOnce = true;
    private final Map<TopicPartition, OffsetAndMetadata> consumed = new HashMap<>();

    TaskHarness(String url, boolean reporter, String... options) {
        Map<String, String> properties = new HashMap<>(Map.of("connection.url", url, "retry.backoff.ms", "1",
                "retry.backoff.max.ms", "5", "index", "r", "document.id", "{id}", "flight", "1", "linger.ms", "0"));
        for (int i = 0; i < options.length; i += 2) {
            properties.put(options[i], options[i + 1]);
        }
        context.reporter = reporter ? this::report : null;
        task.initialize(context);
        task.start(properties);
        open(0, 1);
    }

    static SinkRecord record(int partition, long offset, Object value) {
        return new SinkRecord(TOPIC, partition, null, null, null, value, offset);
    }

    /** A record with that id and a value of its own. */
    static SinkRecord reading(long offset, String id) {
        return record(0, offset, json(id, offset));
    }

    static String json(String id, long n) {
        return "{\"id\":\"" + id + "\",\"n\":" + n + "}";
    }

    /** The id of the one document that the record becomes; throws DataException if it can't become one. */
    static String onlyId(SinkRecord record, String... options) {
        return action(bulkOf(record, options)).path("_id").asText();
    }

    static Bulk bulkOf(SinkRecord record, String... options) {
        Map<String, String> properties = new HashMap<>(Map.of("connection.url", "http://a", "index", "r"));
        for (int i = 0; i < options.length; i += 2) {
            properties.put(options[i], options[i + 1]);
        }
        Bulk bulk = new Bulk();
        new ElasticsearchSinkConfig(properties).documentWriter()
                .write(record, new OffsetTracker().add(record), (hash, bytes) -> bulk);
        return bulk;
    }

    private static JsonNode action(Bulk bulk) {
        try {
            return new ObjectMapper().readTree(bulk.action(0)).iterator().next();
        } catch (JsonProcessingException e) {
            throw new AssertionError(bulk.action(0), e);
        }
    }

    /** An attribute of the MBean of a task without a name. */
    static long metric(String attribute) {
        try {
            return (long) ManagementFactory.getPlatformMBeanServer().getAttribute(
                    new ObjectName("org.maredata.connect:type=elasticsearch-sink,connector=\"\",task=0"), attribute);
        } catch (JMException e) {
            throw new AssertionError(e);
        }
    }

    void open(int... partitions) {
        List<TopicPartition> opened = Arrays.stream(partitions).mapToObj(p -> new TopicPartition(TOPIC, p)).toList();
        context.assignment.addAll(opened);
        // As Connect does: what was paused before a rebalance, and comes back, is paused.
        context.paused.retainAll(context.assignment);
        task.open(opened);
    }

    void close(int... partitions) {
        List<TopicPartition> closed = Arrays.stream(partitions).mapToObj(p -> new TopicPartition(TOPIC, p)).toList();
        task.close(closed);
        closed.forEach(consumed::remove);
        closed.forEach(context.assignment::remove);
    }

    void put(SinkRecord... records) {
        put(List.of(records));
    }

    void put(Collection<SinkRecord> records) {
        task.put(records);
        records.forEach(r -> consumed(r.kafkaPartition(), r.kafkaOffset() + 1));
    }

    void consumed(int partition, long offset) {
        consumed.put(new TopicPartition(TOPIC, partition), new OffsetAndMetadata(offset));
    }

    /** What the task lets the worker commit for the partition. */
    long committable(int partition) {
        return task.preCommit(Map.copyOf(consumed)).get(new TopicPartition(TOPIC, partition)).offset();
    }

    /** Goes on as a worker without new records does, until it is so. */
    void until(BooleanSupplier condition) {
        long end = System.nanoTime() + 20_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                fail("it didn't come about in 20 s");
            }
            task.put(List.of());
            LockSupport.parkNanos(200_000);
        }
    }

    @Override
    public void close() {
        task.stop();
    }

    private Future<Void> report(SinkRecord record, Throwable why) {
        deadLetters.add(record.kafkaOffset() + " " + why.getMessage());
        CompletableFuture<Void> confirmation = new CompletableFuture<>();
        confirmations.add(confirmation);
        if (confirmAtOnce) {
            confirmation.complete(null);
        }
        return confirmation;
    }

    /** What a worker gives a task. */
    static final class Context implements SinkTaskContext {
        final Set<TopicPartition> assignment = new HashSet<>();
        final Set<TopicPartition> paused = new HashSet<>();
        long timeout = -1;
        private ErrantRecordReporter reporter;

        @Override
        public Map<String, String> configs() {
            return Map.of();
        }

        @Override
        public void offset(Map<TopicPartition, Long> offsets) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void offset(TopicPartition tp, long offset) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void timeout(long ms) {
            timeout = ms;
        }

        @Override
        public Set<TopicPartition> assignment() {
            return assignment;
        }

        @Override
        public void pause(TopicPartition... partitions) {
            paused.addAll(List.of(partitions));
        }

        @Override
        public void resume(TopicPartition... partitions) {
            paused.removeAll(List.of(partitions));
        }

        @Override
        public void requestCommit() {
        }

        @Override
        public PluginMetrics pluginMetrics() {
            throw new UnsupportedOperationException();
        }

        @Override
        public ErrantRecordReporter errantRecordReporter() {
            return reporter;
        }
    }
}
