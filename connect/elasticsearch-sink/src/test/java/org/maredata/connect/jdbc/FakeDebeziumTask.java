package org.maredata.connect.jdbc;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/** A fake: like Debezium's task it keeps a batch's failure to itself, and is of no use from then on. */
public final class FakeDebeziumTask extends SinkTask {
    /** What was asked of it: {@code start}, {@code open [t-0]}, {@code put [a]}, … */
    final List<String> calls = new ArrayList<>();
    /** What each part of its life fails with, if it does. */
    RuntimeException startFailure;
    RuntimeException stopFailure;
    Throwable putFailure;
    private Throwable lastFailure;

    @Override
    public String version() {
        return "fake";
    }

    @Override
    public void start(Map<String, String> properties) {
        calls.add("start " + properties + (context == null ? " without context" : ""));
        if (startFailure != null) {
            throw startFailure;
        }
    }

    @Override
    public void open(Collection<TopicPartition> partitions) {
        calls.add("open " + partitions);
    }

    @Override
    public void put(Collection<SinkRecord> records) {
        if (lastFailure != null) {
            throw new IllegalStateException("given a batch after its failure", lastFailure);
        }
        calls.add("put " + records.stream().map(it -> it.value() + (it.headers().isEmpty() ? "" : " with headers")).toList());
        lastFailure = records.isEmpty() ? null : putFailure;
    }

    @Override
    public void close(Collection<TopicPartition> partitions) {
        calls.add("close " + partitions);
    }

    @Override
    public void stop() {
        calls.add("stop");
        if (stopFailure != null) {
            throw stopFailure;
        }
    }

    public Throwable getLastProcessingException() {
        return lastFailure;
    }
}
