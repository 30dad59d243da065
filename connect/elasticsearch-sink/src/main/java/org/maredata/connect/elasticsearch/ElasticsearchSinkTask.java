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
import org.maredata.connect.Complaints;
import org.maredata.connect.Version;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Moves records to Elasticsearch, a bulk at a time in each of a few {@link Lane lanes}, without holding up the worker.
 * Everything but the HTTP requests themselves happens on the worker's thread, a step with each call of {@link #put},
 * which the worker also makes when there are no records.
 */
public final class ElasticsearchSinkTask extends SinkTask {
    /** How many full bulks of bytes a task may hold. */
    static final int BUFFERED_BULKS = 8;

    private static final Logger LOG = LoggerFactory.getLogger(ElasticsearchSinkTask.class);
    /** The longest that put() waits when it can't hold more, and that close() waits for the last answers. */
    private static final long SHORT_WAIT_MS = 200;
    private static final long CLOSE_WAIT_MS = 1000;
    /** How soon put() is to be called again while there is something to do. */
    private static final long STEP_MS = 20;

    private final Complaints complaints;
    private final OffsetTracker tracker = new OffsetTracker();
    private DeadLetters deadLetters;
    private DocumentWriter writer;
    private List<Lane> lanes;
    private SinkMetrics metrics;
    private BulkClient client;
    private int maxBuffered;
    private long maxBufferedBytes;
    private boolean paused;
    private ConnectException failure;

    /** What a worker makes. */
    public ElasticsearchSinkTask() {
        this(new Complaints(LOG::warn, System::nanoTime));
    }

    ElasticsearchSinkTask(Complaints complaints) {
        this.complaints = complaints;
    }

    @Override
    public void start(Map<String, String> properties) {
        ElasticsearchSinkConfig config = new ElasticsearchSinkConfig(properties);
        deadLetters = new DeadLetters(context.errantRecordReporter(), tracker);
        writer = config.documentWriter();
        lanes = config.lanes();
        maxBuffered = config.getInt(ElasticsearchSinkConfig.MAX_BUFFERED);
        maxBufferedBytes = (long) BUFFERED_BULKS * config.getInt(ElasticsearchSinkConfig.BATCH_BYTES);
        client = new BulkClient(config::connect, System::nanoTime);
        metrics = new SinkMetrics(properties.getOrDefault("name", ""),
                properties.getOrDefault(ElasticsearchSinkConnector.TASK_NUMBER, "0"));
    }

    /**
     * Called once a rebalance is over. While it goes on, put() is called with no partition assigned: a task that was
     * full is empty then and has nothing to resume, but Connect remembers what it had paused and pauses it again.
     */
    @Override
    public void open(Collection<TopicPartition> partitions) {
        TopicPartition[] opened = partitions.toArray(TopicPartition[]::new);
        if (paused) {
            context.pause(opened);
        } else {
            context.resume(opened);
        }
    }

    /** Takes the records, and does what can be done without waiting, or waits very shortly if it holds too many. */
    @Override
    public void put(Collection<SinkRecord> records) {
        for (SinkRecord record : records) {
            accept(record);
        }
        step();
        waitForRoom();
        if (failure != null) {
            throw failure;
        }
        pauseOrResume();
        if (tracker.unsettled() > 0) {
            context.timeout(msToNextStep());
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
        long end = System.nanoTime() + CLOSE_WAIT_MS * 1_000_000;
        while (lanes.stream().anyMatch(lane -> lane.isUnderWay() && !lane.isAnswered()) && System.nanoTime() < end) {
            client.awaitAnswer(Math.max(1, (end - System.nanoTime()) / 1_000_000));
        }
        tracker.drop(partitions);
        lanes.forEach(Lane::dropLost);
    }

    @Override
    public void stop() {
        if (client != null) {
            client.close();
        }
        if (metrics != null) {
            metrics.close();
        }
    }

    @Override
    public String version() {
        return Version.text();
    }

    private void accept(SinkRecord record) {
        OffsetTracker.Position position = tracker.add(record);
        try {
            writer.write(record, position, (idHash, bytes) -> lanes.get(Math.floorMod(idHash, lanes.size())).open(bytes));
        } catch (DataException e) {
            refuse(position, e);
        }
    }

    /** Goes on as far as possible without waiting. */
    private void step() {
        try {
            boolean full = isFull();
            for (Lane lane : lanes) {
                if (lane.isAnswered()) {
                    finish(lane);
                }
                Bulk bulk = failure == null ? lane.next(full) : null;
                if (bulk != null) {
                    lane.sent(bulk, client.send(bulk));
                }
            }
            deadLetters.settle();
        } catch (ConnectException e) {
            // Thrown by put(): from preCommit() it would only make the worker read the records again.
            failure = e;
        }
        metrics.state((int) lanes.stream().filter(Lane::isUnderWay).count(), tracker.unsettled(), tracker.oldest());
        complaints.flush();
    }

    private void finish(Lane lane) {
        Bulk bulk = lane.answered();
        BulkOutcome outcome = new BulkOutcome(bulk, lane.reply());
        int sent = bulk.count();
        int settled = 0;
        for (int i = 0; i < sent; i++) {
            if (outcome.isSettled(i)) {
                tracker.settle(bulk.position(i));
                settled++;
            }
        }
        metrics.stored(settled);
        if (outcome.sentAgain() == 0) {
            lane.done(bulk);
        } else {
            metrics.retried(outcome.sentAgain());
            if (outcome.trouble() != Answer.STORED) {
                complaints.warn(outcome.trouble().name(), "Elasticsearch didn't take " + outcome.sentAgain()
                        + " documents, they will be sent again: " + outcome.trouble() + ", " + outcome.explanation());
            }
            bulk.retain(i -> outcome.isSentAgain(i) && !bulk.position(i).isLost());
            lane.again(bulk, outcome, sent);
        }
        outcome.refused().forEach(refusal -> refuse(refusal.position(), new DataException(refusal.explanation())));
    }

    private void refuse(OffsetTracker.Position position, DataException why) {
        if (position.isLost()) {
            return;
        }
        SinkRecord record = position.record();
        complaints.warn("dead letter", "A record can't be stored and goes to the dead letters: offset "
                + record.originalKafkaOffset() + " of " + record.originalTopic() + "-" + record.originalKafkaPartition()
                + ": " + why.getMessage());
        metrics.deadLetter();
        deadLetters.report(record, position, why);
    }

    private void waitForRoom() {
        long end = System.nanoTime() + SHORT_WAIT_MS * 1_000_000;
        long left = SHORT_WAIT_MS;
        while (failure == null && left > 0 && isFull() && lanes.stream().anyMatch(Lane::isUnderWay)) {
            client.awaitAnswer(left);
            step();
            left = (end - System.nanoTime()) / 1_000_000;
        }
    }

    private boolean isFull() {
        return tracker.unsettled() >= maxBuffered || bytes() >= maxBufferedBytes;
    }

    private long bytes() {
        long bytes = 0;
        for (Lane lane : lanes) {
            bytes += lane.bytes();
        }
        return bytes;
    }

    private void pauseOrResume() {
        if (!paused && isFull()) {
            paused = true;
            context.pause(context.assignment().toArray(TopicPartition[]::new));
        } else if (paused && tracker.unsettled() <= maxBuffered / 2 && bytes() <= maxBufferedBytes / 2) {
            paused = false;
            context.resume(context.assignment().toArray(TopicPartition[]::new));
        }
    }

    private long msToNextStep() {
        if (!deadLetters.areConfirmed()) {
            return STEP_MS;
        }
        long wait = Long.MAX_VALUE;
        for (Lane lane : lanes) {
            if (lane.isUnderWay()) {
                return STEP_MS;
            }
            wait = lane.hasMore() ? Math.min(wait, lane.waitMs()) : wait;
        }
        // With nothing under way and nothing to confirm, the end of the wait is all there is to come back for.
        return Math.max(STEP_MS, wait);
    }
}
