package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.client.RestClient;
import org.junit.jupiter.api.Test;

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

    @Test
    void aHostThatIsUnknownIsNoAnswer() throws IOException {
        ElasticsearchSinkConfig config = config("http://no-such-host.invalid:9200");
        try (BulkClient client = new BulkClient(config::connect, System::nanoTime)) {
            Bulk bulk = TaskHarness.bulkOf(TaskHarness.reading(0, "a"));
            assertEquals(Answer.NO_ANSWER, client.send(bulk).orTimeout(60, TimeUnit.SECONDS).join().whole());
        }
    }

    private static RestClient remember(RestClient client, List<RestClient> made) {
        made.add(client);
        return client;
    }
}
