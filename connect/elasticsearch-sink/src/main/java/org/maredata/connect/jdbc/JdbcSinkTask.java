package org.maredata.connect.jdbc;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.apache.kafka.connect.sink.SinkTaskContext;
import org.maredata.connect.Version;

/**
 * A task of Debezium's JDBC sink that commits how far Connect has come.
 *
 * <p>Debezium's own (3.6.0) commits behind the last record it was given. Records that the converter put into the
 * dead letters are never given to it: at the end of a partition they would stay uncommitted until a good one comes,
 * so that the sink seems to be behind for ever, and each restart makes them dead letters again. It also keeps the
 * failure of a batch to itself until the next one. Here a batch is either stored when {@code put} returns, or the
 * failure is thrown at once; so everything that Connect counts as delivered is settled. And it makes a field of each
 * header, stored or not, which fails for good on a header without a value or one that is there twice: so it gets none.
 */
public final class JdbcSinkTask extends SinkTask {
    private final SinkTask debezium = Debezium.task();

    @Override
    public String version() {
        return Version.text();
    }

    @Override
    public void initialize(SinkTaskContext context) {
        super.initialize(context);
        debezium.initialize(context);
    }

    @Override
    public void start(Map<String, String> properties) {
        Debezium.inside(debezium, () -> debezium.start(properties));
    }

    @Override
    public void open(Collection<TopicPartition> partitions) {
        Debezium.inside(debezium, () -> debezium.open(partitions));
    }

    @Override
    public void put(Collection<SinkRecord> records) {
        List<SinkRecord> bare = records.stream().map(JdbcSinkTask::withoutHeaders).toList();
        Debezium.inside(debezium, () -> debezium.put(bare));
        Throwable failure = lastFailure();
        if (failure != null) {
            throw new ConnectException("The batch was not stored: " + failure.getMessage(), failure);
        }
    }

    @Override
    public Map<TopicPartition, OffsetAndMetadata> preCommit(Map<TopicPartition, OffsetAndMetadata> currentOffsets) {
        return currentOffsets;
    }

    @Override
    public void close(Collection<TopicPartition> partitions) {
        Debezium.inside(debezium, () -> debezium.close(partitions));
    }

    @Override
    public void stop() {
        Debezium.inside(debezium, debezium::stop);
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
}
