package org.maredata.connect.jdbc;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.SQLException;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.maredata.connect.Complaints;
import org.maredata.connect.RetryPolicy;
import org.maredata.connect.Version;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A task of Debezium's JDBC sink that commits how far Connect has come, and outlives the database.
 *
 * <p>Debezium's own (3.6.0) commits behind the last record it was given. Records that the converter put into the
 * dead letters are never given to it: at the end of a partition they would stay uncommitted until a good one comes,
 * so that the sink seems to be behind for ever, and each restart makes them dead letters again. It also keeps the
 * failure of a batch to itself until the next one. Here a batch is either stored when {@code put} returns, or the
 * failure is thrown at once; so everything that Connect counts as delivered is settled. And it makes a field of each
 * header, stored or not, which fails for good on a header without a value or one that is there twice: so it gets none.
 *
 * <p>Nor does it let go of a connection that the database closed at the wrong moment. So after an {@link Outage} the
 * task is thrown away, and a new one is made once the database lets its account in again. Until then Connect keeps the
 * batch, reads no further, and asks with growing waits.
 */
public final class JdbcSinkTask extends SinkTask {
    private static final Logger LOG = LoggerFactory.getLogger(JdbcSinkTask.class);
    private static final long FIRST_WAIT_MS = 500;
    private static final long LONGEST_WAIT_MS = 10_000;

    /** Whether the database lets an account in. */
    interface Login {
        void attempt(Map<String, String> properties) throws SQLException;
    }

    private final Supplier<SinkTask> maker;
    private final Login login;
    private final RetryPolicy retries;
    private final Complaints complaints;
    private Map<String, String> properties;
    /** Null during an outage. */
    private SinkTask debezium;

    /** What a worker makes. */
    public JdbcSinkTask() {
        this(Debezium::task, Debezium::logIn,
                new RetryPolicy(FIRST_WAIT_MS, LONGEST_WAIT_MS, System::nanoTime, Math::random),
                new Complaints(LOG::warn, System::nanoTime));
    }

    JdbcSinkTask(Supplier<SinkTask> maker, Login login, RetryPolicy retries, Complaints complaints) {
        this.maker = maker;
        this.login = login;
        this.retries = retries;
        this.complaints = complaints;
    }

    @Override
    public String version() {
        return Version.text();
    }

    @Override
    public void start(Map<String, String> properties) {
        this.properties = properties;
        try {
            begin();
        } catch (RuntimeException e) {
            endIfOutage(e);
        }
    }

    @Override
    public void open(Collection<TopicPartition> partitions) {
        if (debezium != null) {
            Debezium.inside(debezium, () -> debezium.open(partitions));
        }
    }

    @Override
    public void put(Collection<SinkRecord> records) {
        if (!retries.isDue()) {
            throw later();
        }
        try {
            if (debezium == null) {
                begin();
            }
            store(records);
        } catch (RuntimeException e) {
            endIfOutage(e);
            throw later();
        }
        // A batch of none proves nothing: a task that starts well and stores nothing must not be made without waits.
        if (!records.isEmpty()) {
            retries.succeeded();
        }
    }

    @Override
    public Map<TopicPartition, OffsetAndMetadata> preCommit(Map<TopicPartition, OffsetAndMetadata> currentOffsets) {
        return currentOffsets;
    }

    @Override
    public void close(Collection<TopicPartition> partitions) {
        if (debezium != null) {
            Debezium.inside(debezium, () -> debezium.close(partitions));
        }
    }

    @Override
    public void stop() {
        if (debezium != null) {
            Debezium.inside(debezium, debezium::stop);
        }
    }

    /** Makes a task of Debezium's, with the partitions that are assigned now. */
    private void begin() {
        // Debezium's start without a database takes long, fills the log, and leaves a connection pool behind.
        attemptLogin();
        debezium = maker.get();
        Debezium.inside(debezium, () -> {
            debezium.initialize(context);
            debezium.start(properties);
            debezium.open(context.assignment());
        });
    }

    private void attemptLogin() {
        try {
            login.attempt(properties);
        } catch (SQLException e) {
            throw new ConnectException("The database doesn't let the sink in: " + e.getMessage(), e);
        }
    }

    private void store(Collection<SinkRecord> records) {
        List<SinkRecord> bare = records.stream().map(JdbcSinkTask::withoutHeaders).toList();
        Debezium.inside(debezium, () -> debezium.put(bare));
        Throwable failure = lastFailure();
        if (failure != null) {
            throw new ConnectException("The batch was not stored: " + failure.getMessage(), failure);
        }
    }

    /** Throws {@code failure} itself, unless the database is what it came from; then Debezium's task is ended. */
    private void endIfOutage(RuntimeException failure) {
        if (!Outage.caused(failure) && !isAway()) {
            throw failure;
        }
        if (debezium != null) {
            try {
                Debezium.inside(debezium, debezium::stop);
            } catch (RuntimeException e) {
                LOG.debug("What is left of Debezium's task can't be stopped", e);
            }
            debezium = null;
        }
        retries.failed(false);
        complaints.warn("outage", "Nothing is lost, it will be tried again with new connections: " + failure.getMessage());
    }

    /** Whether the database is away now, whatever Debezium made of that. */
    private boolean isAway() {
        try {
            attemptLogin();
            return false;
        } catch (ConnectException e) {
            return Outage.caused(e);
        }
    }

    /** Makes Connect keep the batch, and ask again after the wait, or sooner where it commits more often. */
    private RetriableException later() {
        context.timeout(Math.max(1, retries.waitMs()));
        return new Later();
    }

    private static SinkRecord withoutHeaders(SinkRecord record) {
        return record.headers().isEmpty()
                ? record
                : record.newRecord(
                        record.topic(),
                        record.kafkaPartition(),
                        record.keySchema(),
                        record.key(),
                        record.valueSchema(),
                        record.value(),
                        record.timestamp(),
                        new ConnectHeaders());
    }

    private Throwable lastFailure() {
        try {
            Method failure = debezium.getClass().getMethod("getLastProcessingException");
            return (Throwable) failure.invoke(debezium);
        } catch (NoSuchMethodException | IllegalAccessException | InvocationTargetException e) {
            throw new ConnectException("This version of Debezium's JDBC sink is another than this task was made for", e);
        }
    }

    /** Connect logs it each time: without a stack, which would say nothing. */
    private static final class Later extends RetriableException {
        private static final long serialVersionUID = 1L;

        Later() {
            super("The database is away; the task's own warnings say more");
        }

        @Override
        public synchronized Throwable fillInStackTrace() {
            return this;
        }
    }
}
