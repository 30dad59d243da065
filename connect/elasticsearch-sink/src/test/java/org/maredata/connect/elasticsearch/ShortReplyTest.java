package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.maredata.connect.elasticsearch.FakeElasticsearch.error;
import static org.maredata.connect.elasticsearch.TaskHarness.json;
import static org.maredata.connect.elasticsearch.TaskHarness.reading;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Bulks whose reply says no more than whether all is stored, and those that have to be sent twice for it. */
class ShortReplyTest extends TaskTestBase {
    private static final String SHORT = "errors,error,status";
    private static final String FULL = "errors,error,status,items.*.status,items.*.error";
    private static final long MINUTE = TimeUnit.MINUTES.toNanos(1);

    /** As good as any to begin with; nanoTime may be negative, and may overflow within the minute. */
    private final AtomicLong clock = new AtomicLong(Long.MAX_VALUE - MINUTE / 2);

    @BeforeEach
    void obeyTheFilter() {
        elasticsearch.obeysFilter = true;
    }

    private BulkClient client() {
        Map<String, String> properties = Map.of("connection.url", elasticsearch.url(), "index", "r", "document.id", "{id}");
        return new BulkClient(new ElasticsearchSinkConfig(properties)::connect, clock::get);
    }

    private static Bulk bulk(String... ids) {
        Bulk bulk = new Bulk();
        Map<String, String> properties = Map.of("connection.url", "http://a", "index", "r", "document.id", "{id}");
        DocumentWriter writer = new ElasticsearchSinkConfig(properties).documentWriter();
        OffsetTracker tracker = new OffsetTracker();
        for (int i = 0; i < ids.length; i++) {
            var record = reading(i, ids[i]);
            writer.write(record, tracker.add(record), (hash, bytes) -> bulk);
        }
        return bulk;
    }

    private void awaitRequest() {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (elasticsearch.requests.isEmpty()) {
            assertTrue(System.nanoTime() < end, "no request came");
            LockSupport.parkNanos(200_000);
        }
    }

    private static BulkReply reply(CompletableFuture<BulkReply> reply) {
        return reply.orTimeout(20, TimeUnit.SECONDS).join();
    }

    private static List<Answer> answers(BulkReply reply) {
        assertEquals(Answer.STORED, reply.whole(), reply.explanation());
        return reply.items().stream().map(BulkReply.Item::answer).toList();
    }

    @Test
    void anAnswerWithoutItemsIsEnoughIfAllIsStored() {
        start();
        worker.put(reading(0, "a"), reading(1, "b"));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(List.of(SHORT), elasticsearch.filters);
        assertEquals(Map.of("r/a", json("a", 0), "r/b", json("b", 1)), elasticsearch.stored);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"errors\":false}", "{ \"errors\" : false }\n"})
    void itMayBeWrittenDifferently(String body) {
        elasticsearch.answers(elasticsearch.whole(200, body));
        try (BulkClient client = client()) {
            assertEquals(List.of(), answers(reply(client.send(bulk("a", "b")))));
            assertEquals(1, elasticsearch.requests.size());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"errors\":\"false\"}", "{\"errors\":null}", "{\"errors\":false,\"status\":200}", "{}", "[false]",
        "{\"errors\":false}{\"errors\":false}", "{\"errors\":false"})
    void nothingElseIsTakenForIt(String body) {
        elasticsearch.answers(elasticsearch.whole(200, body));
        try (BulkClient client = client()) {
            assertEquals(Answer.UNEXPECTED, reply(client.send(bulk("a", "b"))).whole());
        }
    }

    @Test
    void toAFullQuestionAShortAnswerIsNone() {
        try (BulkClient client = client()) {
            for (String body : List.of("{\"errors\":false}", "{\"errors\":true}")) {
                elasticsearch.answers(elasticsearch.whole(200, "{\"errors\":true}"), elasticsearch.whole(200, body));
                assertEquals(Answer.UNEXPECTED, reply(client.send(bulk("a"))).whole());
                assertEquals(List.of(SHORT, FULL), elasticsearch.filters);
                elasticsearch.filters.clear();
                clock.addAndGet(MINUTE);
            }
        }
    }

    @Test
    void afterAnErrorTheSameIsAskedForInFullAndThatReplyCounts() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> switch (doc.id()) {
            case "bad" -> error(400, "document_parsing_exception", "x");
            case "old" -> error(409, "version_conflict_engine_exception", "newer");
            default -> null;
        }));
        start();
        worker.put(reading(0, "a"), reading(1, "bad"), reading(2, "old"), reading(3, "b"));
        worker.until(() -> worker.committable(0) == 4);
        assertEquals(List.of(SHORT, FULL), elasticsearch.filters);
        assertEquals(elasticsearch.bodies.get(0), elasticsearch.bodies.get(1));
        assertEquals(List.of("1 document_parsing_exception: x"), worker.deadLetters);
        assertEquals(Map.of("r/a", json("a", 0), "r/b", json("b", 3)), elasticsearch.stored);
    }

    /** What was in trouble is only tried again if it still is, and what the first request stored is there the second time. */
    @Test
    void theSecondReplyAloneDecides() {
        elasticsearch.answers(elasticsearch.items(doc -> doc.id().equals("a") ? error(429, "busy", "x") : null),
                elasticsearch.items(doc -> doc.id().equals("b") ? error(409, "version_conflict_engine_exception", "x") : null));
        try (BulkClient client = client()) {
            Bulk bulk = bulk("a", "b");
            BulkReply reply = reply(client.send(bulk));
            assertEquals(List.of(Answer.STORED, Answer.STORED), answers(reply));
            assertEquals(0, new BulkOutcome(bulk, reply).sentAgain());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"index", "create", "delete"})
    void whatIsDoneAlreadyIsSettled(String action) {
        String item = action.equals("delete") ? "{\"delete\":{\"status\":404}}" : "{\"" + action
                + "\":{\"status\":409,\"error\":{\"type\":\"version_conflict_engine_exception\",\"reason\":\"x\"}}}";
        elasticsearch.answers(elasticsearch.whole(200, "{\"errors\":true}"),
                elasticsearch.whole(200, "{\"errors\":true,\"items\":[" + item + "]}"));
        try (BulkClient client = client()) {
            Bulk bulk = bulk("a");
            BulkOutcome outcome = new BulkOutcome(bulk, reply(client.send(bulk)));
            assertTrue(outcome.isSettled(0) && outcome.refused().isEmpty());
        }
    }

    @Test
    void forAMinuteAfterAnErrorEachBulkAsksInFull() {
        elasticsearch.answers(elasticsearch.items(doc -> error(400, "document_parsing_exception", "x")));
        try (BulkClient client = client()) {
            reply(client.send(bulk("a")));
            for (long wait : List.of(0L, MINUTE - 1, 1L)) {
                clock.addAndGet(wait);
                reply(client.send(bulk("a")));
            }
            assertEquals(List.of(SHORT, FULL, FULL, FULL, SHORT), elasticsearch.filters);
        }
    }

    /** Else a document now and then that Elasticsearch won't take would make short replies rare. */
    @Test
    void errorsDuringTheMinuteDoNotMakeItLonger() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> error(400, "document_parsing_exception", "x")));
        try (BulkClient client = client()) {
            for (long wait : List.of(0L, MINUTE / 2, MINUTE / 2)) {
                clock.addAndGet(wait);
                assertEquals(List.of(Answer.REFUSED), answers(reply(client.send(bulk("a")))));
            }
            assertEquals(List.of(SHORT, FULL, FULL, SHORT, FULL), elasticsearch.filters);
        }
    }

    @Test
    void aConnectionThatBreaksBetweenBothIsNoAnswer() {
        elasticsearch.answers(elasticsearch.items(doc -> error(400, "document_parsing_exception", "x")),
                elasticsearch.dropsConnection());
        try (BulkClient client = client()) {
            assertEquals(Answer.NO_ANSWER, reply(client.send(bulk("a"))).whole());
            assertEquals(List.of(Answer.STORED), answers(reply(client.send(bulk("a")))));
            assertEquals(List.of(SHORT, FULL, FULL), elasticsearch.filters);
        }
    }

    @Test
    void itemsThatNobodyAskedForAreRead() {
        elasticsearch.obeysFilter = false;
        elasticsearch.answersAlways(elasticsearch.items(doc -> doc.id().equals("a") ? error(429, "busy", "x") : null));
        try (BulkClient client = client()) {
            assertEquals(List.of(Answer.BUSY, Answer.STORED), answers(reply(client.send(bulk("a", "b")))));
            assertEquals(List.of(SHORT), elasticsearch.filters);
        }
    }

    @Test
    void theSecondAskingIsNoRetry() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> doc.id().equals("bad")
                ? error(400, "document_parsing_exception", "x") : null));
        start();
        worker.put(reading(0, "a"), reading(1, "bad"));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(2, elasticsearch.requests.size());
        assertEquals(0L, TaskHarness.metric("DocumentsRetried"));
        assertEquals(1L, TaskHarness.metric("DocumentsStored"));
        assertEquals(1L, TaskHarness.metric("DeadLetters"));
    }

    @Test
    void oneThatIsSentAgainIsCountedOnce() {
        elasticsearch.answers(elasticsearch.items(doc -> error(429, "busy", "x")),
                elasticsearch.items(doc -> error(429, "busy", "x")));
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(List.of(SHORT, FULL, FULL), elasticsearch.filters);
        assertEquals(1L, TaskHarness.metric("DocumentsRetried"));
        assertEquals(1L, TaskHarness.metric("DocumentsStored"));
    }

    @Test
    void whenTheClientIsClosedEveryReplyComes() {
        CountDownLatch never = new CountDownLatch(1);
        elasticsearch.answersAlways(elasticsearch.after(never, elasticsearch.items(doc -> error(429, "busy", "x"))));
        List<CompletableFuture<BulkReply>> replies = new ArrayList<>();
        BulkClient client = client();
        for (int i = 0; i < 10; i++) {
            replies.add(client.send(bulk("k" + i)));
        }
        awaitRequest();
        client.close();
        replies.add(client.send(bulk("late")));
        for (CompletableFuture<BulkReply> reply : replies) {
            assertEquals(Answer.Treatment.RETRY, reply(reply).whole().treatment());
        }
    }
}
