package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.maredata.connect.elasticsearch.FakeElasticsearch.error;
import static org.maredata.connect.elasticsearch.TaskHarness.json;
import static org.maredata.connect.elasticsearch.TaskHarness.reading;
import static org.maredata.connect.elasticsearch.TaskHarness.record;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.maredata.connect.RejectedDocument;

class ElasticsearchSinkTaskTest extends TaskTestBase {
    private static final String REFUSED = "400 {\"type\":\"document_parsing_exception\",\"reason\":\"failed to parse field [t]\","
            + "\"caused_by\":{\"type\":\"number_format_exception\",\"reason\":\"For input string: x\"}}";

    private List<String> idsOfRequest(int number) {
        return elasticsearch.requests.get(number).stream().map(FakeElasticsearch.Doc::id).toList();
    }

    @Test
    void offsetsAreCommittedOnlyAfterTheAnswer() {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answers(elasticsearch.after(answer, elasticsearch.items(doc -> null)));
        start();
        worker.put(reading(5, "a"), reading(6, "b"));
        worker.until(() -> elasticsearch.requests.size() == 1);
        assertEquals(5, worker.committable(0));
        answer.countDown();
        worker.until(() -> worker.committable(0) == 7);
        assertEquals(Map.of("r/a", json("a", 5), "r/b", json("b", 6)), elasticsearch.stored);
    }

    @Test
    void whatWasFilteredOnTheWayIsCommittedToo() {
        start();
        worker.put(reading(5, "a"));
        worker.until(() -> worker.committable(0) == 6);
        worker.consumed(0, 9);
        assertEquals(9, worker.committable(0));
    }

    @Test
    void theRequestIsABulkWithTheLogin() {
        start("connection.username", "mare", "connection.password", "secret");
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(List.of("POST /_bulk application/x-ndjson Basic bWFyZTpzZWNyZXQ="), elasticsearch.headers);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "429 | {\"error\":{\"type\":\"es_rejected_execution_exception\",\"reason\":\"full\"},\"status\":429}",
        "429 | {\"error\":{\"type\":\"cluster_block_exception\",\"reason\":\"blocked by: [TOO_MANY_REQUESTS/12/disk usage]\"}}",
        "403 | {\"error\":{\"type\":\"cluster_block_exception\",\"reason\":\"blocked by: [FORBIDDEN/6/cluster read-only (api)]\"}}",
        "500 |''", "502 | <html>Bad Gateway</html>", "503 | {\"error\":{\"type\":\"master_not_discovered_exception\"}}",
        "504 |''", "401 | {\"error\":{\"type\":\"security_exception\",\"reason\":\"who are you\"}}", "403 |''", "404 |''", "405 |''",
        "400 | <html>", "302 |''", "200 | <html>", "200 | {\"errors\":false,\"items\":[]}", "200 |''"})
    void aBulkThatIsNotTakenIsSentAgainForEver(int status, String body) {
        var reply = elasticsearch.whole(status, body);
        elasticsearch.answers(reply, reply, reply, reply);
        start();
        worker.put(reading(0, "a"), reading(1, "b"));
        worker.until(() -> elasticsearch.requests.size() == 4);
        assertEquals(0, worker.committable(0));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(List.of(), worker.deadLetters);
        assertEquals(5, elasticsearch.requests.size());
        assertEquals(2, elasticsearch.stored.size());
    }

    @Test
    void aDroppedConnectionIsNoLoss() {
        elasticsearch.answers(elasticsearch.dropsConnection(), elasticsearch.dropsConnection());
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(1, elasticsearch.stored.size());
        assertTrue(elasticsearch.requests.size() >= 3);
    }

    @Test
    void aStoreThatIsAwayIsNoLossAndHoldsNothingUp() {
        elasticsearch.stop();
        start();
        assertTimeout(Duration.ofSeconds(1), () -> worker.put(reading(0, "a")));
        for (int i = 1; i < 50; i++) {
            worker.put(reading(i, "x" + i));
        }
        assertEquals(0, worker.committable(0));
        assertTrue(worker.context.timeout > 0, "the worker has to come back");
        elasticsearch.start();
        worker.until(() -> worker.committable(0) == 50);
        assertEquals(50, elasticsearch.stored.size());
        assertEquals(List.of(), worker.deadLetters);
    }

    @Test
    void aSilentStoreIsAskedAgain() {
        CountDownLatch never = new CountDownLatch(1);
        elasticsearch.answers(elasticsearch.after(never, elasticsearch.items(doc -> null)));
        start("request.timeout.ms", "100");
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(2, elasticsearch.requests.size());
    }

    @Test
    void aBulkThatTakesTooLongIsSentInSmallerOnesInOrder() {
        CountDownLatch never = new CountDownLatch(1);
        elasticsearch.answersAlways((exchange, docs) -> (docs.size() > 3
                ? elasticsearch.after(never, elasticsearch.items(doc -> null))
                : elasticsearch.items(doc -> null)).to(exchange, docs));
        start("request.timeout.ms", "200");
        worker.put(LongStream.range(0, 20).mapToObj(i -> reading(i, "k" + i)).toList());
        worker.until(() -> worker.committable(0) == 20);
        assertEquals(IntStream.range(0, 20).mapToObj(i -> "r/k" + i).toList(), List.copyOf(elasticsearch.stored.keySet()));
        assertEquals(List.of(), worker.deadLetters);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "429 | es_rejected_execution_exception | rejected execution",
        "429 | cluster_block_exception | index [r] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]",
        "500 | null_pointer_exception | x", "503 | unavailable_shards_exception | primary shard is not active",
        "403 | cluster_block_exception | index [r] blocked by: [FORBIDDEN/8/index write (api)];",
        "403 | security_exception | action [indices:data/write/bulk[s]] is unauthorized",
        "400 | index_closed_exception | closed",
        "400 | validation_exception | Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;",
        "400 | illegal_argument_exception | no write index is defined for alias [r]",
        "400 | illegal_argument_exception | only write ops with an op_type of create are allowed in data streams",
        "404 | index_not_found_exception | no such index [r] and [action.auto_create_index] is [false]"})
    void aDocumentThatCanBeTakenLaterIsSentAgainAlone(int status, String type, String reason) {
        var reply = elasticsearch.items(doc -> doc.id().equals("b") ? error(status, type, reason) : null);
        elasticsearch.answers(reply, reply, reply);
        start();
        worker.put(reading(0, "a"), reading(1, "b"), reading(2, "c"));
        worker.until(() -> elasticsearch.requests.size() == 3);
        assertEquals(1, worker.committable(0), "behind b nothing is committed");
        worker.until(() -> worker.committable(0) == 3);
        assertEquals(List.of("a", "b", "c"), idsOfRequest(0));
        assertEquals(List.of("b"), idsOfRequest(1));
        assertEquals(List.of("b"), idsOfRequest(2));
        assertEquals(List.of(), worker.deadLetters);
    }

    @Test
    void anOlderRecordNeverTakesThePlaceOfANewerOne() {
        elasticsearch.answers(
                elasticsearch.items(doc -> doc.source().contains("\"n\":0") ? error(429, "busy", "x") : null));
        start();
        worker.put(reading(0, "a"), reading(1, "a"));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(Map.of("r/a", json("a", 1)), elasticsearch.stored);
        assertEquals(1, elasticsearch.requests.size());
    }

    @Test
    void recordsWithOneIdStayInOrderWhateverFails() {
        Random random = new Random(11);
        elasticsearch.answersAlways((exchange, docs) -> {
            int dice = random.nextInt(10);
            if (dice == 0) {
                elasticsearch.whole(503, "").to(exchange, docs);
            } else if (dice == 1) {
                elasticsearch.dropsConnection().to(exchange, docs);
            } else if (dice == 2 && docs.size() > 1) {
                elasticsearch.whole(413, "").to(exchange, docs);
            } else {
                elasticsearch.items(doc -> random.nextInt(5) == 0 ? error(429, "busy", "x") : null).to(exchange, docs);
            }
        });
        start("batch.documents", "20", "max.buffered.records", "100");
        Map<String, Long> last = new ConcurrentHashMap<>();
        for (long offset = 0; offset < 1000; offset++) {
            String id = "k" + random.nextInt(30);
            last.put(id, offset);
            worker.put(reading(offset, id));
        }
        worker.until(() -> worker.committable(0) == 1000);
        assertEquals(last.entrySet().stream().collect(Collectors.toMap(e -> "r/" + e.getKey(),
                e -> json(e.getKey(), e.getValue()))), elasticsearch.stored);
        assertEquals(List.of(), worker.deadLetters);
    }

    @Test
    void aRefusedDocumentBecomesADeadLetterWithElasticsearchsReason() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> doc.id().equals("b") ? REFUSED : null));
        start();
        worker.confirmAtOnce = false;
        worker.put(reading(0, "a"), reading(1, "b"), reading(2, "c"));
        worker.until(() -> worker.deadLetters.size() == 1);
        assertEquals(List.of("1 document_parsing_exception: failed to parse field [t]; caused by number_format_exception: "
                + "For input string: x"), worker.deadLetters);
        assertEquals(1, worker.committable(0), "it isn't kept before the reporter says so");
        worker.confirmations.get(0).complete(null);
        assertEquals(3, worker.committable(0));
        assertEquals(1, elasticsearch.requests.size());
        assertEquals(2, elasticsearch.stored.size());
    }

    @ParameterizedTest
    @CsvSource({"400, mapper_parsing_exception", "400, strict_dynamic_mapping_exception", "400, illegal_argument_exception",
        "400, validation_exception", "400, invalid_index_name_exception", "413, too_large_exception"})
    void otherRefusalsAreDeadLettersToo(int status, String type) {
        elasticsearch.answersAlways(elasticsearch.items(doc -> error(status, type, "it is so")));
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(List.of("0 " + type + ": it is so"), worker.deadLetters);
    }

    @Test
    void aReasonOfManyPagesIsCut() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> error(400, "document_parsing_exception", "x".repeat(10_000))));
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertTrue(worker.deadLetters.get(0).matches("0 document_parsing_exception: x{1000,2000}…"), worker.deadLetters.get(0));
    }

    @Test
    void withoutDeadLettersTheTaskFailsAndSaysWhatToSet() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> REFUSED));
        worker = new TaskHarness(elasticsearch.url(), false);
        worker.put(reading(0, "a"));
        ConnectException e = assertThrows(ConnectException.class, () -> worker.until(() -> false));
        assertTrue(e.getMessage().contains("errors.deadletterqueue.topic.name") && e.getMessage().contains("readings-0"));
        assertEquals(0, worker.committable(0));
        assertThrows(ConnectException.class, () -> worker.put(reading(1, "b")));
        assertEquals(0L, TaskHarness.metric("BulksInFlight"), "a task that has failed sends nothing more");
    }

    @Test
    void aDeadLetterThatIsNotKeptFailsTheTask() {
        start();
        worker.confirmAtOnce = false;
        worker.put(record(0, 0, null));
        worker.confirmations.get(0).completeExceptionally(new IllegalStateException("no broker"));
        assertEquals(0, worker.committable(0));
        assertThrows(ConnectException.class, () -> worker.put());
    }

    @Test
    void aDocumentThatIsAlreadyThereIsStored() {
        elasticsearch.answersAlways(elasticsearch.items(doc -> error(409, "version_conflict_engine_exception", "exists")));
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(List.of(), worker.deadLetters);
    }

    @Test
    void aBulkThatIsTooLargeIsSentInHalves() {
        elasticsearch.answersAlways((exchange, docs) -> {
            boolean giant = docs.stream().anyMatch(doc -> doc.id().equals("giant"));
            (giant || docs.size() > 3 ? elasticsearch.whole(413, "") : elasticsearch.items(doc -> null)).to(exchange, docs);
        });
        start();
        List<SinkRecord> records = LongStream.range(0, 20).mapToObj(i -> reading(i, i == 7 ? "giant" : "k" + i)).toList();
        worker.put(records);
        worker.until(() -> worker.committable(0) == 20);
        assertEquals(19, elasticsearch.stored.size());
        assertEquals(List.of("7 HTTP status 413"), worker.deadLetters);
        assertEquals(IntStream.range(0, 20).filter(i -> i != 7).mapToObj(i -> "r/k" + i).toList(),
                List.copyOf(elasticsearch.stored.keySet()));
    }

    @Test
    void aDocumentForWhichAWholeBulkIsRefusedIsFound() {
        elasticsearch.answersAlways((exchange, docs) -> (docs.stream().anyMatch(doc -> doc.id().equals("poison"))
                ? elasticsearch.whole(400, "{\"error\":{\"type\":\"action_request_validation_exception\",\"reason\":\"id\"}}")
                : elasticsearch.items(doc -> null)).to(exchange, docs));
        start();
        worker.put(LongStream.range(0, 20).mapToObj(i -> reading(i, i == 13 ? "poison" : "k" + i)).toList());
        worker.until(() -> worker.committable(0) == 20);
        assertEquals(19, elasticsearch.stored.size());
        assertEquals(List.of("13 HTTP status 400 action_request_validation_exception: id"), worker.deadLetters);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "`{\"id\":\"x\"}\n{\"delete\":{\"_index\":\"r\",\"_id\":\"victim\"}}` | malformed",
        "`{\"id\":\"x\"}\r\n{\"delete\":{\"_index\":\"r\",\"_id\":\"victim\"}}\n` | malformed",
        "`{\"id\":\"x\",\n\"y\":1}` | malformed", "`{\"id\":\"x\"}\n` | malformed", "`{\"id\":\"x\"\r}` | malformed",
        "`{\"id\":\"x\",\"y\":\"a\nb\"}` | malformed", "{\"id\":\"x\"}{} | malformed", "[{\"id\":\"x\"}] | malformed", "12 | malformed",
        "`` | malformed", "{\"id\":\"x\" | malformed", "{\"id\":\"x\",\"y\":NaN} | malformed", "{\"id\":\"x\",\"id\":\"y\"} | duplicate_field",
        "{\"id\":null} | missing_field", "{\"i\":1} | missing_field", "{\"x\":{\"id\":1}} | missing_field",
        "{\"id\":{}} | wrong_type", "{\"id\":1.5} | wrong_type", "{\"id\":\"\"} | out_of_limits", "{\"id\":\"\\ud800\"} | out_of_limits"})
    void nothingButOneObjectOnOneLineReachesABulk(String value, String reason) {
        start();
        elasticsearch.stored.put("r/victim", "{}");
        worker.put(record(0, 0, value), record(0, 1, value.getBytes(StandardCharsets.UTF_8)),
                record(0, 2, ByteBuffer.wrap(value.getBytes(StandardCharsets.UTF_8))), reading(3, "good"));
        worker.until(() -> worker.committable(0) == 4);
        assertEquals(List.of("0 " + reason, "1 " + reason, "2 " + reason),
                worker.deadLetters.stream().map(letter -> letter.substring(0, letter.indexOf(':'))).toList());
        assertEquals(List.of("good"), idsOfRequest(0));
        assertTrue(elasticsearch.stored.containsKey("r/victim"));
    }

    @Test
    void otherUnusableValuesAreDeadLetters() {
        start();
        worker.put(record(0, 0, null), record(0, 1, new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'}),
                record(0, 2, "{\"id\":\"a\ud800\"}"), record(0, 3, List.of(1)), record(0, 4, 12L), record(0, 5, new Object()),
                record(0, 6, "{\"id\":\"" + "é".repeat(257) + "\"}"), record(0, 7, "{\"id\":\"" + "é".repeat(256) + "\"}"));
        worker.until(() -> worker.committable(0) == 8);
        assertEquals(List.of("0 null_value", "1 encoding", "2 encoding", "3 malformed", "4 malformed", "6 out_of_limits"),
                worker.deadLetters.stream().filter(letter -> !letter.startsWith("5"))
                        .map(letter -> letter.substring(0, letter.indexOf(':'))).toList());
        assertEquals(7, worker.deadLetters.size());
        assertEquals(1, elasticsearch.stored.size());
    }

    @Test
    void mapsAndStructsBecomeJson() {
        start("document.id", "{id}-{t:epoch_micros}", "index", "{topic}-{t:yyyy.MM}");
        Schema schema = SchemaBuilder.struct().field("id", Schema.INT64_SCHEMA).field("t", Schema.STRING_SCHEMA)
                .field("x", Schema.OPTIONAL_FLOAT64_SCHEMA).build();
        Struct struct = new Struct(schema).put("id", 7L).put("t", "2024-01-31T23:30:00-01:00");
        worker.put(record(0, 0, Map.of("id", 1, "t", "2024-01-21 10:06:04.095931")),
                new SinkRecord("Readings", 0, null, null, schema, struct, 1));
        worker.until(() -> elasticsearch.stored.size() == 2);
        assertEquals(List.of("readings-2024.01/1-1705831564095931", "readings-2024.02/7-1706747400000000"),
                List.copyOf(elasticsearch.stored.keySet()));
        assertEquals("{\"id\":7,\"t\":\"2024-01-31T23:30:00-01:00\",\"x\":null}",
                elasticsearch.stored.get("readings-2024.02/7-1706747400000000"));
    }

    @Test
    void aRejectedLineIsOneDocumentHoweverOftenItComes() {
        start("index", "rejected-{timestamp:yyyy.MM}", "document.id", "{topic}-{partition}-{offset}");
        SinkRecord line = new SinkRecord(TaskHarness.TOPIC, 1, null, null, null,
                "a\r\nb\0\u2028\"".getBytes(StandardCharsets.UTF_8), 7, 1_705_831_565_123L, TimestampType.LOG_APPEND_TIME);
        RejectedDocument<SinkRecord> transform = new RejectedDocument<>();
        worker.put(transform.apply(line));
        worker.put(transform.apply(line));
        worker.until(() -> worker.committable(1) == 8);
        assertEquals(Map.of("rejected-2024.01/readings-1-7", "{\"timestamp\":\"2024-01-21 10:06:05.123000\","
                + "\"reason\":\"unknown\",\"bytes\":9,\"line\":\"a\\r\\nb\\u0000\u2028\\\"\"}"), elasticsearch.stored);
    }

    @Test
    void rawTextIsStoredAsItCame() {
        start();
        String text = " {\"id\" : \"\\u0061\\\"\\n\",\"x\":1.50e+1, \"y\":[{\"é\":\"\\ud800\"}] }\t";
        worker.put(record(0, 0, text.getBytes(StandardCharsets.UTF_8)));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(Map.of("r/a\"\n", text), elasticsearch.stored);
    }

    @Test
    void lostPartitionsAreForgotten() {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answers(elasticsearch.after(answer, elasticsearch.whole(503, "")));
        start("batch.documents", "2");
        worker.put(reading(0, "a"), record(1, 0, json("b", 0)), reading(1, "c"), record(1, 1, json("d", 1)));
        worker.until(() -> elasticsearch.requests.size() == 1);
        worker.close(0);
        answer.countDown();
        worker.until(() -> worker.committable(1) == 2);
        assertEquals(List.of("r/b", "r/d"), List.copyOf(elasticsearch.stored.keySet()));
        worker.open(0);
        worker.put(reading(0, "a"), reading(1, "c"));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(4, elasticsearch.stored.size());
    }

    @Test
    void aRefusalOrFailedLetterOfALostPartitionIsNobodysTrouble() {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answers(elasticsearch.after(answer, elasticsearch.items(doc -> REFUSED)));
        start();
        worker.confirmAtOnce = false;
        worker.put(reading(0, "a"), record(0, 1, null));
        worker.until(() -> elasticsearch.requests.size() == 1);
        worker.close(0);
        worker.confirmations.get(0).completeExceptionally(new IllegalStateException("fenced"));
        answer.countDown();
        worker.put(record(1, 0, json("b", 0)));
        worker.until(() -> worker.committable(1) == 1);
        assertEquals(1, worker.deadLetters.size());
    }

    @Test
    void aFullTaskPausesItsPartitionsAndResumesThem() {
        elasticsearch.stop();
        start("max.buffered.records", "10");
        for (int i = 0; i < 12; i++) {
            SinkRecord record = reading(i, "k" + i);
            assertTimeout(Duration.ofSeconds(2), () -> worker.put(record));
        }
        assertEquals(worker.context.assignment, worker.context.paused);
        worker.open(2);
        assertEquals(worker.context.assignment, worker.context.paused, "a new partition is paused, too");
        elasticsearch.start();
        worker.until(() -> worker.context.paused.isEmpty());
        worker.until(() -> worker.committable(0) == 12);
    }

    @Test
    void aFullTaskReadsOnAfterARebalance() {
        elasticsearch.stop();
        start("max.buffered.records", "1");
        worker.put(reading(0, "a"), reading(1, "b"));
        assertEquals(worker.context.assignment, worker.context.paused);
        worker.close(0, 1);
        worker.put();
        worker.open(0);
        worker.put();
        assertEquals(Set.of(), worker.context.paused);
    }

    @Test
    void aTaskFullOfBytesPausesToo() {
        elasticsearch.stop();
        start("batch.bytes", "1024");
        for (int i = 0; i < 40 && worker.context.paused.isEmpty(); i++) {
            worker.put(record(0, i, json("k" + i, i).replace("}", ",\"x\":\"" + "y".repeat(500) + "\"}")));
        }
        assertFalse(worker.context.paused.isEmpty());
        worker.put();
        assertFalse(worker.context.paused.isEmpty(), "nothing has gone yet");
        elasticsearch.start();
        worker.until(() -> worker.context.paused.isEmpty());
        elasticsearch.requests.forEach(docs -> assertTrue(docs.size() == 1));
    }

    @Test
    void aSilentStoreDoesNotHoldUpPutOrTheEnd() {
        CountDownLatch never = new CountDownLatch(1);
        elasticsearch.answersAlways(elasticsearch.after(never, elasticsearch.items(doc -> null)));
        start("max.buffered.records", "1");
        worker.put(reading(0, "a"));
        worker.until(() -> elasticsearch.requests.size() == 1);
        assertTimeout(Duration.ofSeconds(1), () -> worker.put(reading(1, "b")));
        assertTimeout(Duration.ofSeconds(1), () -> worker.committable(0));
        assertTimeout(Duration.ofSeconds(2), () -> worker.close(0, 1));
        assertTimeout(Duration.ofSeconds(2), () -> worker.task.stop());
    }

    @Test
    void theWorkerIsToComeBackSoonWhateverIsToBeDone() {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answers(elasticsearch.after(answer, elasticsearch.items(doc -> null)));
        start("linger.ms", "300");
        worker.put(reading(0, "a"));
        assertTrue(worker.context.timeout <= 300, "the bulk is to go");
        worker.until(() -> elasticsearch.requests.size() == 1);
        assertTrue(worker.context.timeout <= 100, "the answer is awaited");
        answer.countDown();
        worker.until(() -> worker.committable(0) == 1);
        worker.confirmAtOnce = false;
        worker.context.timeout = Long.MAX_VALUE;
        worker.put(record(0, 1, null));
        assertTrue(worker.context.timeout <= 100, "the dead letter is to be confirmed");
    }

    /** A bulk that is still under way could arrive after the next owner's. */
    @Test
    void closingWaitsALittleForTheLastAnswers() throws InterruptedException {
        CountDownLatch answer = new CountDownLatch(1);
        elasticsearch.answers(elasticsearch.after(answer, elasticsearch.items(doc -> null)));
        start();
        worker.put(reading(0, "a"));
        worker.until(() -> elasticsearch.requests.size() == 1);
        AtomicInteger stored = new AtomicInteger();
        Thread closing = new Thread(() -> {
            worker.close(0);
            stored.set(elasticsearch.stored.size());
        });
        closing.start();
        while (closing.isAlive() && closing.getState() != Thread.State.TIMED_WAITING) {
            Thread.onSpinWait();
        }
        answer.countDown();
        closing.join();
        assertEquals(1, stored.get());
    }

    @Test
    void aRecordWithoutAValueDeletesItsDocument() {
        start("document.id", "{key}", "null.value", "delete");
        elasticsearch.answers(elasticsearch.items(doc -> null),
                elasticsearch.whole(200, "{\"errors\":true,\"items\":[{\"delete\":{\"status\":404}}]}"));
        elasticsearch.stored.put("r/k", "{}");
        worker.put(new SinkRecord(TaskHarness.TOPIC, 0, null, "k", null, null, 0));
        worker.until(() -> worker.committable(0) == 1);
        assertEquals(Map.of(), elasticsearch.stored);
        worker.put(new SinkRecord(TaskHarness.TOPIC, 0, null, "k", null, null, 1));
        worker.until(() -> worker.committable(0) == 2);
        assertEquals(2, elasticsearch.requests.size());
        assertEquals(List.of(), worker.deadLetters);
    }

    @Test
    void preCommitGoesOnByItself() {
        start("batch.documents", "1");
        worker.put(reading(0, "a"), reading(1, "b"));
        long end = System.nanoTime() + 20_000_000_000L;
        while (worker.committable(0) < 2) {
            assertTrue(System.nanoTime() < end);
            Thread.onSpinWait();
        }
        assertEquals(2, elasticsearch.requests.size());
    }

    @Test
    void offsetsAreThoseOfKafkaWhateverATransformDid() {
        start("document.id", "{topic}+{partition}+{offset}", "index", "{topic}");
        SinkRecord record = new SinkRecord("renamed", 9, null, null, null, "{}", 3, null, TimestampType.NO_TIMESTAMP_TYPE,
                null, TaskHarness.TOPIC, 0, 3);
        worker.task.put(List.of(record));
        worker.consumed(0, 4);
        worker.until(() -> worker.committable(0) == 4);
        assertEquals(Map.of("renamed/renamed+0+3", "{}"), elasticsearch.stored);
    }
}
