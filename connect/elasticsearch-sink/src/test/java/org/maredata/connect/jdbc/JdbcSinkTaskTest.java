package org.maredata.connect.jdbc;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.reflect.Proxy;
import java.sql.SQLException;
import java.sql.SQLInvalidAuthorizationSpecException;
import java.sql.SQLNonTransientConnectionException;
import java.sql.SQLSyntaxErrorException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.apache.kafka.connect.sink.SinkTaskContext;
import org.junit.jupiter.api.Test;
import org.maredata.connect.Complaints;
import org.maredata.connect.RetryPolicy;

/** What the task does around Debezium's, for which a {@link FakeDebeziumTask} stands in. */
class JdbcSinkTaskTest {
    private static final Map<String, String> PROPERTIES = Map.of("connection.url", "jdbc:fake");
    private static final Set<TopicPartition> ASSIGNED = Set.of(new TopicPartition("t", 0));
    private static final List<SinkRecord> NOTHING = List.of();
    private static final List<SinkRecord> BATCH = List.of(record("a"), record("b"));
    private static final SQLException CLOSED = new SQLNonTransientConnectionException("closed", "08000");
    private static final SQLException NO_COLUMN = new SQLSyntaxErrorException("no such column", "42S22");

    private final Deque<FakeDebeziumTask> prepared = new ArrayDeque<>();
    private final List<FakeDebeziumTask> made = new ArrayList<>();
    private final List<String> log = new ArrayList<>();
    private final List<Long> waits = new ArrayList<>();
    /** What the database answers to a login: null where it lets the account in. */
    private SQLException refusal;
    private int logins;
    private long now;
    private final JdbcSinkTask task = new JdbcSinkTask(this::make, this::logIn,
            new RetryPolicy(500, 10_000, () -> now, () -> 1), new Complaints(log::add, () -> now));

    JdbcSinkTaskTest() {
        task.initialize((SinkTaskContext) Proxy.newProxyInstance(getClass().getClassLoader(),
                new Class<?>[] {SinkTaskContext.class}, (proxy, method, arguments) -> switch (method.getName()) {
                    case "timeout" -> waits.add((Long) arguments[0]) ? null : null;
                    case "assignment" -> ASSIGNED;
                    default -> throw new UnsupportedOperationException(method.getName());
                }));
    }

    private static SinkRecord record(String value) {
        return new SinkRecord("t", 0, null, null, null, value, 0);
    }

    private SinkTask make() {
        made.add(prepared.isEmpty() ? new FakeDebeziumTask() : prepared.remove());
        return made.get(made.size() - 1);
    }

    private void logIn(Map<String, String> properties) throws SQLException {
        assertEquals(PROPERTIES, properties);
        logins++;
        if (refusal != null) {
            throw refusal;
        }
    }

    private FakeDebeziumTask prepare(Throwable putFailure) {
        FakeDebeziumTask next = new FakeDebeziumTask();
        next.putFailure = putFailure;
        prepared.add(next);
        return next;
    }

    private void pass(long ms) {
        now += ms * 1_000_000;
    }

    private void assertPutOff() {
        assertThrows(RetriableException.class, () -> task.put(BATCH));
    }

    @Test
    void aStoredBatchIsCommittedAsFarAsConnectHasCome() {
        task.start(PROPERTIES);
        task.put(BATCH);
        Map<TopicPartition, OffsetAndMetadata> offsets = Map.of(new TopicPartition("t", 0), new OffsetAndMetadata(9));
        assertSame(offsets, task.preCommit(offsets));
        task.close(ASSIGNED);
        task.stop();
        assertEquals(List.of("start " + PROPERTIES, "open [t-0]", "put [a, b]", "close [t-0]", "stop"),
                made.get(0).calls);
        assertEquals(List.of(), waits);
    }

    @Test
    void aRecordReachesDebeziumWithoutItsHeaders() {
        SinkRecord record = record("a");
        record.headers().addString("h", "1");
        FakeDebeziumTask first = prepare(null);
        task.start(PROPERTIES);
        task.put(List.of(record));
        assertEquals("put [a]", first.calls.get(2));
    }

    @Test
    void afterAnOutageTheSameBatchGoesToANewTask() {
        FakeDebeziumTask first = prepare(new RuntimeException("exceeded max retries", CLOSED));
        task.start(PROPERTIES);
        assertPutOff();
        assertEquals("stop", first.calls.get(first.calls.size() - 1));
        pass(500);
        task.put(BATCH);
        assertEquals(List.of("start " + PROPERTIES, "open [t-0]", "put [a, b]"), made.get(1).calls);
        task.stop();
        assertEquals(List.of(2, 1L), List.of(made.size(), made.get(1).calls.stream().filter("stop"::equals).count()));
    }

    @Test
    void aBatchThatFailsByItsDataFailsTheTask() {
        prepare(NO_COLUMN);
        task.start(PROPERTIES);
        ConnectException failure = assertThrows(ConnectException.class, () -> task.put(BATCH));
        assertEquals("The batch was not stored: no such column", failure.getMessage());
        assertSame(NO_COLUMN, failure.getCause());
        assertEquals(List.of(ConnectException.class, 1, List.of()), List.of(failure.getClass(), made.size(), log));
    }

    @Test
    void anyFailureIsPutDownToADatabaseThatIsAwayRightAfterIt() {
        prepare(new IllegalStateException("no dialect"));
        task.start(PROPERTIES);
        refusal = CLOSED;
        assertPutOff();
    }

    @Test
    void waitsGrowWhileTheDatabaseIsAwayAndNoTaskIsMade() {
        prepare(CLOSED);
        task.start(PROPERTIES);
        refusal = CLOSED;
        for (long wait : List.of(500, 1000, 2000, 4000, 8000, 10_000, 10_000)) {
            assertPutOff();
            assertEquals(wait, waits.get(waits.size() - 1));
            pass(wait);
        }
        assertEquals(1, made.size());
        refusal = null;
        task.put(BATCH);
        assertEquals(2, made.size());
    }

    @Test
    void withinAWaitNothingIsTriedHoweverOftenConnectAsks() {
        prepare(CLOSED);
        task.start(PROPERTIES);
        assertPutOff();
        int before = logins;
        pass(300);
        assertPutOff();
        assertThrows(RetriableException.class, () -> task.put(NOTHING));
        assertEquals(List.of(before, 1, 200L), List.of(logins, made.size(), waits.get(waits.size() - 1)));
    }

    @Test
    void tasksThatStartWellAndStoreNothingAreMadeWithGrowingWaits() {
        prepare(CLOSED);
        prepare(CLOSED);
        prepare(CLOSED);
        task.start(PROPERTIES);
        for (long wait : List.of(500, 1000, 2000)) {
            assertPutOff();
            assertEquals(wait, waits.get(waits.size() - 1));
            pass(wait);
            task.put(NOTHING);
        }
    }

    @Test
    void aStoredBatchMakesTheNextWaitShortAgain() {
        prepare(CLOSED);
        prepare(CLOSED);
        FakeDebeziumTask third = prepare(null);
        task.start(PROPERTIES);
        assertPutOff();
        pass(500);
        assertPutOff();
        pass(1000);
        task.put(BATCH);
        third.putFailure = CLOSED;
        assertPutOff();
        assertEquals(List.of(500L, 1000L, 500L), waits);
    }

    @Test
    void aTaskThatStartsDuringAnOutageBeginsAfterIt() {
        refusal = CLOSED;
        task.start(PROPERTIES);
        task.open(ASSIGNED);
        task.close(Set.of());
        assertEquals(List.of(), made);
        assertPutOff();
        refusal = null;
        pass(500);
        task.put(NOTHING);
        assertEquals(List.of("start " + PROPERTIES, "open [t-0]", "put []"), made.get(0).calls);
    }

    @Test
    void anAccountThatIsNotLetInFailsTheTask() {
        refusal = new SQLInvalidAuthorizationSpecException("access denied", "28000");
        assertThrows(ConnectException.class, () -> task.start(PROPERTIES));
    }

    @Test
    void aStartThatFailsWhileTheDatabaseIsThereFailsTheTask() {
        IllegalArgumentException failure = new IllegalArgumentException("no such option");
        prepare(null).startFailure = failure;
        assertSame(failure, assertThrows(IllegalArgumentException.class, () -> task.start(PROPERTIES)));
    }

    @Test
    void aTaskThatCanNotBeStoppedIsReplacedAllTheSame() {
        prepare(CLOSED).stopFailure = new IllegalStateException("closed");
        task.start(PROPERTIES);
        assertPutOff();
        pass(500);
        task.put(BATCH);
        assertEquals(2, made.size());
    }

    @Test
    void partitionsThatComeLaterAreOpenedAndThoseThatGoAreClosed() {
        task.start(PROPERTIES);
        task.open(Set.of(new TopicPartition("t", 1)));
        task.close(Set.of(new TopicPartition("t", 1)));
        assertEquals(List.of("open [t-1]", "close [t-1]"), made.get(0).calls.subList(2, 4));
    }

    @Test
    void anOutageIsALineAMinute() {
        prepare(CLOSED);
        task.start(PROPERTIES);
        refusal = CLOSED;
        for (int second = 0; second < 90; second++) {
            assertPutOff();
            pass(1000);
        }
        assertEquals(List.of("Nothing is lost, it will be tried again with new connections: The batch was not stored:"
                + " closed"), log.subList(0, 1));
        assertEquals(2, log.size(), log.toString());
    }

    @Test
    void whatConnectLogsEachTimeHasNoStack() {
        prepare(CLOSED);
        task.start(PROPERTIES);
        RetriableException later = assertThrows(RetriableException.class, () -> task.put(BATCH));
        assertEquals(0, later.getStackTrace().length);
        assertEquals(0, Arrays.stream(later.getSuppressed()).count());
    }
}
