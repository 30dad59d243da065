package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.maredata.connect.elasticsearch.FakeElasticsearch.error;
import static org.maredata.connect.elasticsearch.TaskHarness.reading;
import static org.maredata.connect.elasticsearch.TaskHarness.record;

import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What stops other sinks; more of it is in {@link ElasticsearchSinkTaskTest}. */
class NeverStopsTest extends TaskTestBase {
    @ParameterizedTest
    @ValueSource(strings = {"", "{", "{\"errors\":false,\"items\":[{\"index\":{\"status\":201}},{\"ind"})
    void anAnswerThatBreaksOffIsNoAnswer(String part) {
        elasticsearch.answers(elasticsearch.breaksOff(part), elasticsearch.breaksOff(part));
        start();
        worker.put(reading(0, "a"), reading(1, "b"));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(3, elasticsearch.requests.size());
        assertEquals(2, elasticsearch.stored.size());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"errors\":false,\"items\":[{\"index\":{\"status\":201}}]}", "{\"errors\":false,\"items\":[]}",
        "{\"errors\":true,\"items\":[{\"index\":{\"status\":201}}]}",
        "{\"errors\":false,\"items\":[{\"index\":{\"status\":201}},{\"index\":{\"status\":201}},{\"index\":{\"status\":201}}]}"})
    void anAnswerToOtherDocumentsThanWereSentIsNone(String body) {
        elasticsearch.answers(elasticsearch.whole(200, body));
        start();
        worker.put(reading(0, "a"), reading(1, "b"));
        worker.until(() -> elasticsearch.requests.size() == 1);
        assertEquals(0, worker.committable(0));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(2, elasticsearch.stored.size());
    }

    /** Elasticsearch says it in the words in which it refuses a document. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "illegal_argument_exception | composable template [t] template after composition is invalid",
        "mapper_parsing_exception | Failed to parse mapping: unknown type", "settings_exception | unknown setting",
        "validation_exception | something new"})
    void anIndexThatCannotBeCreatedIsNoDeadLetter(String type, String reason) {
        elasticsearch.answerToQuestions = 404;
        var reply = elasticsearch.items(doc -> error(400, type, reason));
        elasticsearch.answers(reply, reply, reply);
        start("index", "r {id}");
        worker.put(reading(0, "a"), reading(1, "b"));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(List.of(), worker.deadLetters);
        assertEquals(2, elasticsearch.stored.size());
        assertTrue(elasticsearch.questions.contains("HEAD /r+a"), elasticsearch.questions.toString());
    }

    @ParameterizedTest
    @CsvSource({"200", "400", "401", "403"})
    void withItsIndexThereTheDocumentIsToBlame(int answer) {
        elasticsearch.answerToQuestions = answer;
        elasticsearch.answersAlways(elasticsearch.items(doc -> error(400, "illegal_argument_exception", "immense term")));
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(List.of("0 illegal_argument_exception: immense term"), worker.deadLetters);
    }

    /** The index of such a name can never be created: asking for it would bring the document back for ever. */
    @ParameterizedTest
    @ValueSource(strings = {"document_parsing_exception", "strict_dynamic_mapping_exception", "invalid_index_name_exception"})
    void whatIsSurelyTheDocumentsFaultNeedsNoAsking(String type) {
        elasticsearch.answerToQuestions = 404;
        elasticsearch.answersAlways(elasticsearch.items(doc -> error(400, type, "x")));
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(List.of("0 " + type + ": x"), worker.deadLetters);
        assertEquals(List.of(), elasticsearch.questions);
    }

    @Test
    void whileNobodyCanTellTheDocumentIsSentAgain() {
        elasticsearch.answerToQuestions = 503;
        var reply = elasticsearch.items(doc -> error(400, "illegal_argument_exception", "x"));
        elasticsearch.answers(reply, reply);
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(List.of(), worker.deadLetters);
    }

    @Test
    void aHostThatIsUnknownIsAskedForAgain() {
        worker = new TaskHarness("http://no-such-host.invalid:9200", true);
        worker.put(reading(0, "a"));
        worker.until(() -> TaskHarness.metric("DocumentsRetried") >= 2);
        assertEquals(0, worker.committable(0));
        assertEquals(List.of(), worker.deadLetters);
    }

    /** An hour of empty polls, and of a full task: nothing is thrown, nothing is committed, nothing is lost. */
    @Test
    void elasticsearchMayBeAwayForLong() {
        elasticsearch.stop();
        start("max.buffered.records", "20", "flight", "3");
        for (int i = 0; i < 25; i++) {
            worker.put(reading(i, "k" + i));
        }
        for (int poll = 0; poll < 3600; poll++) {
            worker.put();
            assertEquals(0, worker.committable(0));
        }
        assertEquals(worker.context.assignment, worker.context.paused);
        elasticsearch.start();
        worker.until(() -> worker.committable(0) == 25);
        assertEquals(25, elasticsearch.stored.size());
        worker.until(() -> worker.context.paused.isEmpty());
    }

    @Test
    void whateverHappensItIsOneLineAMinute() {
        elasticsearch.answersAlways(elasticsearch.whole(503, ""));
        start();
        worker.put(record(0, 0, null), reading(1, "a"));
        worker.until(() -> TaskHarness.metric("DocumentsRetried") >= 5);
        assertEquals(1, worker.log.size(), worker.log.toString());
        assertTrue(worker.log.get(0).startsWith("A record can't be stored and goes to the dead letters: offset 0 of readings-0: "
                + "null_value"), worker.log.get(0));
        elasticsearch.answersAlways(elasticsearch.items(doc -> null));
        worker.until(() -> worker.committable(0) == 2);
        worker.logClock.addAndGet(TimeUnit.MINUTES.toNanos(1));
        worker.put();
        worker.put();
        assertEquals(2, worker.log.size(), worker.log.toString());
        assertTrue(worker.log.get(1).matches("Elasticsearch didn't take 1 documents, they will be sent again: UNAVAILABLE, "
                + "HTTP status 503 \\(the last of these since the line before: [0-9]+ UNAVAILABLE\\)"), worker.log.get(1));
    }

    @Test
    void itSaysHowItIs() {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answers(elasticsearch.items(doc -> doc.id().equals("bad") ? error(400, "document_parsing_exception", "x")
                : doc.id().equals("late") ? error(429, "busy", "x") : null), elasticsearch.after(answer, elasticsearch.items(doc -> null)));
        start();
        long hourAgo = System.currentTimeMillis() - 3_600_000;
        for (Metric metric : Metric.values()) {
            assertEquals(0L, TaskHarness.metric(metric.attribute()));
        }
        worker.put(reading(0, "a"), reading(1, "bad"), new SinkRecord(TaskHarness.TOPIC, 0, null, null, null,
                TaskHarness.json("late", 2), 2, hourAgo, TimestampType.CREATE_TIME));
        worker.until(() -> elasticsearch.requests.size() == 2);
        assertEquals(1L, TaskHarness.metric("BulksInFlight"));
        assertEquals(1L, TaskHarness.metric("UnacknowledgedRecords"));
        assertEquals(1L, TaskHarness.metric("DocumentsRetried"));
        assertEquals(1L, TaskHarness.metric("DocumentsStored"));
        assertEquals(1L, TaskHarness.metric("DeadLetters"));
        assertTrue(TaskHarness.metric("OldestUnacknowledgedLag") >= 3_600_000);
        assertTrue(TaskHarness.metric("LastSuccess") > hourAgo);
        answer.countDown();
        worker.until(() -> worker.committable(0) == 3);
        assertEquals(2L, TaskHarness.metric("DocumentsStored"));
        assertEquals(0L, TaskHarness.metric("BulksInFlight"));
        assertEquals(0L, TaskHarness.metric("OldestUnacknowledgedLag"));
        worker.task.stop();
        assertThrows(AssertionError.class, () -> TaskHarness.metric("DocumentsStored"), "it is gone with the task");
    }
}
