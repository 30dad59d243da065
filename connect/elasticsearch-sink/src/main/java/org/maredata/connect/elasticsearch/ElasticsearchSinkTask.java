package org.maredata.connect.elasticsearch;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.maredata.connect.Version;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Moves records to Elasticsearch, one bulk at a time, without holding up the worker. Everything but the HTTP
 * request itself happens on the worker's thread, a step with each call of {@link #put}, which the worker also
 * makes when there are no records.
 *
 * <p>Documents are sent in the order of delivery, and what has to be sent again goes first, so that of two
 * records with one id the later one stays.
 */
public final class ElasticsearchSinkTask extends SinkTask {
    /** How many full bulks of bytes a task may hold. */
    static final int BUFFERED_BULKS = 8;

    private static final Logger LOG = LoggerFactory.getLogger(ElasticsearchSinkTask.class);
    /** The longest that put() waits when it can't hold more, and that close() waits for the last answer. */
    private static final long SHORT_WAIT_MS = 200;
    private static final long CLOSE_WAIT_MS = 1000;
    /** How soon put() is to be called again while there is something to do. */
    private static final long STEP_MS = 20;

    private final Complaints complaints = new Complaints(LOG::warn, System::nanoTime);
    private final OffsetTracker tracker = new OffsetTracker();
    private DeadLetters deadLetters;
    private DocumentReader reader;
    private BulkQueue queue;
    private RetryPolicy retry;
    private BulkClient client;
    private InFlightBulk inFlight;
    private int maxBuffered;
    private long maxBufferedBytes;
    private boolean paused;
    private ConnectException failure;

    @Override
    public void start(Map<String, String> properties) {
        ElasticsearchSinkConfig config = new ElasticsearchSinkConfig(properties);
        deadLetters = new DeadLetters(context.errantRecordReporter(), tracker);
        reader = config.documentReader();
        queue = config.queue();
        retry = config.retryPolicy();
        maxBuffered = config.getInt(ElasticsearchSinkConfig.MAX_BUFFERED);
        maxBufferedBytes = (long) BUFFERED_BULKS * config.getInt(ElasticsearchSinkConfig.BATCH_BYTES);
        client = new BulkClient(config::connect);
    }

    @Override
    public void open(Collection<TopicPartition> partitions) {
        if (paused) {
            context.pause(partitions.toArray(TopicPartition[]::new));
        }
    }

    /** Takes the records, and does what can be done without waiting, or waits very shortly if it holds too many. */
    @Override
    public void put(Collection<SinkRecord> records) {
        records.forEach(this::accept);
        step();
        if (isFull() && inFlight != null) {
            inFlight.await(SHORT_WAIT_MS);
            step();
        }
        if (failure != null) {
            throw failure;
        }
        pauseOrResume();
        if (tracker.unsettled() > 0) {
            // With nothing under way and nothing to confirm, the end of the wait is all there is to come back for.
            boolean onlyWaiting = inFlight == null && deadLetters.areConfirmed();
            context.timeout(onlyWaiting ? Math.max(STEP_MS, retry.waitMs()) : STEP_MS);
        }
    }

    @Override
    public Map<TopicPartition, OffsetAndMetadata> preCommit(Map<TopicPartition, OffsetAndMetadata> consumed) {
        step();
        return tracker.committable(consumed);
    }

    @Override
    public void close(Collection<TopicPartition> partitions) {
        // A bulk that is still under way may arrive after the next owner's; waiting a little makes that rare.
        if (inFlight != null) {
            inFlight.await(CLOSE_WAIT_MS);
        }
        tracker.drop(partitions);
        queue.dropLost();
    }

    @Override
    public void stop() {
        if (client != null) {
            client.close();
        }
    }

    @Override
    public String version() {
        return Version.text();
    }

    private void accept(SinkRecord record) {
        OffsetTracker.Position position = tracker.add(record);
        try {
            queue.add(reader.read(record, position));
        } catch (DataException e) {
            refuse(record, position, e);
        }
    }

    /** Goes on as far as possible without waiting. */
    private void step() {
        try {
            if (inFlight != null && inFlight.isAnswered()) {
                InFlightBulk answered = inFlight;
                inFlight = null;
                finish(answered);
            }
            deadLetters.settle();
            if (inFlight == null && failure == null && !queue.isEmpty() && retry.isDue()) {
                List<Document> bulk = queue.take();
                inFlight = new InFlightBulk(bulk, client.send(bulk));
            }
        } catch (ConnectException e) {
            // Thrown by put(): from preCommit() it would only make the worker read the records again.
            failure = e;
        }
    }

    private void finish(InFlightBulk bulk) {
        BulkOutcome outcome = bulk.outcome();
        outcome.settled().forEach(document -> tracker.settle(document.position()));
        queue.putBack(outcome.again().stream().filter(document -> !document.position().isLost()).toList());
        if (outcome.mustSplit()) {
            queue.halve(bulk.documents().size());
        } else if (outcome.trouble() == Answer.STORED) {
            queue.grow();
        }
        if (outcome.trouble() == Answer.STORED) {
            retry.succeeded();
        } else {
            retry.failed(outcome.again().size() < bulk.documents().size());
            complaints.warn(outcome.trouble().name(), "Elasticsearch didn't take " + outcome.again().size()
                    + " documents, they will be sent again: " + outcome.trouble() + ", " + outcome.explanation());
        }
        outcome.refused().forEach(refusal -> refuse(refusal.document().record(), refusal.document().position(),
                new DataException(refusal.explanation())));
    }

    private void refuse(SinkRecord record, OffsetTracker.Position position, DataException why) {
        if (position.isLost()) {
            return;
        }
        complaints.warn("dead letter", "A record can't be stored and goes to the dead letters: offset "
                + record.originalKafkaOffset() + " of " + record.originalTopic() + "-" + record.originalKafkaPartition()
                + ": " + why.getMessage());
        deadLetters.report(record, position, why);
    }

    private boolean isFull() {
        return tracker.unsettled() >= maxBuffered || queue.bytes() >= maxBufferedBytes;
    }

    private void pauseOrResume() {
        if (!paused && isFull()) {
            paused = true;
            context.pause(context.assignment().toArray(TopicPartition[]::new));
        } else if (paused && tracker.unsettled() <= maxBuffered / 2 && queue.bytes() <= maxBufferedBytes / 2) {
            paused = false;
            context.resume(context.assignment().toArray(TopicPartition[]::new));
        }
    }
}
