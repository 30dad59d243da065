package org.maredata.connect.elasticsearch;

import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.ErrantRecordReporter;
import org.apache.kafka.connect.sink.SinkRecord;

/** Hands records to Connect's errant-record reporter, and settles them when it has confirmed them. */
final class DeadLetters {
    private record Letter(OffsetTracker.Position position, Future<Void> confirmation) {
    }

    private final ErrantRecordReporter reporter;
    private final OffsetTracker tracker;
    private final Queue<Letter> unconfirmed = new ArrayDeque<>();

    /** @param reporter null if the connector has none */
    DeadLetters(ErrantRecordReporter reporter, OffsetTracker tracker) {
        this.reporter = reporter;
        this.tracker = tracker;
    }

    /** Throws ConnectException if there is nowhere to put the record; it must not be passed over then. */
    void report(SinkRecord record, OffsetTracker.Position position, DataException why) {
        if (reporter == null) {
            throw new ConnectException("The record at offset " + record.originalKafkaOffset() + " of "
                    + record.originalTopic() + "-" + record.originalKafkaPartition() + " can't be stored (" + why.getMessage()
                    + "), and there is nowhere to put it. Set errors.tolerance=all and"
                    + " errors.deadletterqueue.topic.name, and restart the task.", why);
        }
        unconfirmed.add(new Letter(position, reporter.report(record, why)));
    }

    boolean areConfirmed() {
        return unconfirmed.isEmpty();
    }

    /** Settles what has been confirmed; throws ConnectException if the reporter failed to keep a record. */
    void settle() {
        // Kafka's producer confirms in order, or nearly so: looking at the oldest is enough.
        while (!unconfirmed.isEmpty() && unconfirmed.peek().confirmation.isDone()) {
            Letter letter = unconfirmed.remove();
            if (letter.position.isLost()) {
                continue;
            }
            try {
                letter.confirmation.get();
            } catch (ExecutionException e) {
                throw new ConnectException("A record could not be written to the dead letters", e.getCause());
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new ConnectException("Interrupted while writing to the dead letters", e);
            }
            tracker.settle(letter.position);
        }
    }
}
