package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.maredata.connect.RetryPolicy;

/** A lane by itself, with a clock of its own; {@link LanesTest} has those of a task. */
class LaneTest {
    private static final int MAX_DOCUMENTS = 8;
    private static final int MAX_BYTES = 100_000;
    private static final BulkReply ALL_STORED = new BulkReply(Answer.STORED, "", List.of());

    private final OffsetTracker tracker = new OffsetTracker();
    private long now = Long.MAX_VALUE - 1_000_000;
    private long offset;
    private final Lane lane = new Lane(MAX_DOCUMENTS, MAX_BYTES, 0, new RetryPolicy(100, 1500, () -> now, () -> 1), () -> now);

    private void write(Lane to, int documents, int bytes) {
        for (int i = 0; i < documents; i++) {
            String action = "{\"index\":{\"_id\":\"" + offset + "\"}}\n";
            byte[] lines = (action + "x".repeat(bytes) + "\n").getBytes(StandardCharsets.UTF_8);
            Bulk bulk = to.open(lines.length);
            bulk.body().add(lines);
            bulk.end(tracker.add(TaskHarness.reading(offset++, "a")));
        }
    }

    /** Sends the lane's next bulk, as the task does; how many documents it had. */
    private static int send(Lane lane, BulkReply reply) {
        Bulk bulk = lane.next(false);
        int documents = bulk.count();
        lane.sent(bulk, CompletableFuture.completedFuture(reply));
        BulkOutcome outcome = new BulkOutcome(lane.answered(), lane.reply());
        if (outcome.sentAgain() == 0) {
            lane.done(bulk);
        } else {
            bulk.retain(outcome::isSentAgain);
            lane.again(bulk, outcome, documents);
        }
        return documents;
    }

    private static BulkReply whole(Answer answer) {
        return new BulkReply(answer, "", List.of());
    }

    @Test
    void whatIsFullDoesNotWaitForOthers() {
        Lane patient = new Lane(MAX_DOCUMENTS, MAX_BYTES, 1000, new RetryPolicy(100, 1500, () -> now, () -> 1), () -> now);
        write(patient, MAX_DOCUMENTS - 1, 1);
        assertNull(patient.next(false));
        write(patient, 1, 1);
        assertEquals(MAX_DOCUMENTS, send(patient, ALL_STORED));
        write(patient, 1, MAX_BYTES);
        assertEquals(1, send(patient, ALL_STORED));
        write(patient, 1, 1);
        assertNull(patient.next(false));
        now += 1_000_000_000;
        assertEquals(1, send(patient, ALL_STORED));
    }

    @Test
    void theWaitGrowsWithEachFailureAndNothingIsSentBeforeItIsOver() {
        write(lane, 1, 1);
        for (long wait : List.of(100L, 200L, 400L)) {
            send(lane, whole(Answer.UNAVAILABLE));
            assertEquals(wait, lane.waitMs());
            now += wait * 1_000_000 - 1;
            assertNull(lane.next(true));
            now++;
        }
        send(lane, ALL_STORED);
        write(lane, 1, 1);
        send(lane, whole(Answer.UNAVAILABLE));
        assertEquals(100, lane.waitMs(), "after a success it begins anew");
    }

    @Test
    void whileOthersAreStoredTheWaitDoesNotGrow() {
        BulkReply stuck = new BulkReply(Answer.STORED, "", List.of(new BulkReply.Item(Answer.UNAVAILABLE, "", ""),
                new BulkReply.Item(Answer.STORED, "", "")));
        write(lane, 1, 1);
        for (int i = 0; i < 5; i++) {
            write(lane, 1, 1);
            assertEquals(2, send(lane, stuck));
            assertEquals(100, lane.waitMs());
            now += 100_000_000;
        }
    }

    @Test
    void whatIsSentAgainTakesOthersAlongOnlyIfTheyFit() {
        write(lane, 1, MAX_BYTES * 2 / 3);
        send(lane, whole(Answer.UNAVAILABLE));
        write(lane, 1, MAX_BYTES * 2 / 3);
        write(lane, 1, 1);
        now += 100_000_000;
        assertEquals(1, send(lane, ALL_STORED));
        assertEquals(2, send(lane, ALL_STORED));
    }

    @Test
    void whatIsTooMuchGoesInHalvesAndSuccessMakesThemGrow() {
        for (Answer tooMuch : List.of(Answer.TOO_LARGE, Answer.TOO_SLOW)) {
            write(lane, MAX_DOCUMENTS, 1);
            assertEquals(MAX_DOCUMENTS, send(lane, whole(tooMuch)));
            now += 100_000_000;
            assertEquals(MAX_DOCUMENTS / 2, send(lane, ALL_STORED));
            assertEquals(MAX_DOCUMENTS / 2, send(lane, ALL_STORED));
            write(lane, MAX_DOCUMENTS, 1);
            assertEquals(MAX_DOCUMENTS, send(lane, ALL_STORED));
        }
    }

    @Test
    void theMemoryOfAGiantIsGivenUp() {
        write(lane, 1, 3 * MAX_BYTES);
        for (int i = 0; i < 5; i++) {
            send(lane, ALL_STORED);
            write(lane, 1, 1);
            assertTrue(lane.open(1).body().array().length <= 2 * MAX_BYTES);
        }
    }

    @Test
    void ofManyThatFailAtOnceEachWaitsForALengthOfItsOwn() {
        List<Lane> lanes = new ElasticsearchSinkConfig(Map.of("connection.url", "http://a", "flight", "32", "linger.ms", "0",
                "retry.backoff.ms", "1000000", "retry.backoff.max.ms", "1000000")).lanes();
        Set<Long> seconds = new HashSet<>();
        for (Lane each : lanes) {
            write(each, 1, 1);
            send(each, whole(Answer.UNAVAILABLE));
            seconds.add(each.waitMs() / 1000);
        }
        assertTrue(seconds.size() > 16, seconds.toString());
    }
}
