package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import org.elasticsearch.client.RestClient;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class BulkClientTest {
    private final ElasticsearchSinkConfig config(String url) {
        return new ElasticsearchSinkConfig(Map.of("connection.url", url, "index", "r", "document.id", "{id}"));
    }

    @Test
    void aClientThatDiedIsReplaced() throws Exception {
        try (FakeElasticsearch elasticsearch = new FakeElasticsearch()) {
            ElasticsearchSinkConfig config = config(elasticsearch.url());
            List<RestClient> made = new ArrayList<>();
            try (BulkClient client = new BulkClient(() -> remember(config.connect(), made), System::nanoTime)) {
                Bulk bulk = TaskHarness.bulkOf(TaskHarness.reading(0, "a"));
                assertEquals(Answer.STORED, client.send(bulk).get(20, TimeUnit.SECONDS).whole());
                made.get(0).close();
                assertEquals(Answer.STORED, client.send(bulk).get(20, TimeUnit.SECONDS).whole());
                assertEquals(2, made.size());
            }
        }
    }

    /** A host's name is looked up by whoever makes the request: that can take many seconds. */
    @Test
    void sendingHoldsUpNobody() throws Exception {
        CountDownLatch lookedUp = new CountDownLatch(1);
        try (FakeElasticsearch elasticsearch = new FakeElasticsearch();
                BulkClient client = new BulkClient(dead(elasticsearch, lookedUp::await), System::nanoTime)) {
            Bulk bulk = TaskHarness.bulkOf(TaskHarness.reading(0, "a"));
            CompletableFuture<BulkReply> reply = CompletableFuture.supplyAsync(() -> client.send(bulk)).get(20, TimeUnit.SECONDS);
            assertFalse(reply.isDone());
            lookedUp.countDown();
            assertEquals(Answer.STORED, reply.get(20, TimeUnit.SECONDS).whole());
        } finally {
            lookedUp.countDown();
        }
    }

    @Test
    void anErrorBeforeTheRequestIsNoAnswer() throws Exception {
        try (FakeElasticsearch elasticsearch = new FakeElasticsearch();
                BulkClient client = new BulkClient(dead(elasticsearch, BulkClientTest::runOut), System::nanoTime)) {
            Bulk bulk = TaskHarness.bulkOf(TaskHarness.reading(0, "a"));
            assertEquals(Answer.NO_ANSWER, client.send(bulk).get(20, TimeUnit.SECONDS).whole());
        }
    }

    @Test
    void anErrorAtTheAnswerIsNoAnswer() throws Exception {
        Thread here = Thread.currentThread();
        try (FakeElasticsearch elasticsearch = new FakeElasticsearch();
                BulkClient client = new BulkClient(config(elasticsearch.url())::connect,
                        () -> Thread.currentThread() == here ? 0 : runOut())) {
            elasticsearch.answers(elasticsearch.whole(200, "{\"errors\":true}"));
            Bulk bulk = TaskHarness.bulkOf(TaskHarness.reading(0, "a"));
            assertEquals(Answer.NO_ANSWER, client.send(bulk).get(20, TimeUnit.SECONDS).whole());
        }
    }

    @Test
    void aHostThatIsUnknownIsNoAnswer() throws IOException {
        ElasticsearchSinkConfig config = config("http://no-such-host.invalid:9200");
        try (BulkClient client = new BulkClient(config::connect, System::nanoTime)) {
            Bulk bulk = TaskHarness.bulkOf(TaskHarness.reading(0, "a"));
            assertEquals(Answer.NO_ANSWER, client.send(bulk).orTimeout(60, TimeUnit.SECONDS).join().whole());
        }
    }

    private static long runOut() {
        throw new OutOfMemoryError("a test");
    }

    /** Makes a client that is dead already, and each other one after that has been done. */
    private Supplier<RestClient> dead(FakeElasticsearch elasticsearch, Executable before) {
        AtomicBoolean isFirst = new AtomicBoolean(true);
        return () -> {
            RestClient client = config(elasticsearch.url()).connect();
            assertDoesNotThrow(isFirst.getAndSet(false) ? client::close : before);
            return client;
        };
    }

    private static RestClient remember(RestClient client, List<RestClient> made) {
        made.add(client);
        return client;
    }
}
