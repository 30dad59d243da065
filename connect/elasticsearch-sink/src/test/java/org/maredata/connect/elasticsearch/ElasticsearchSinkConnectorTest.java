package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import org.apache.kafka.connect.sink.SinkConnector;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ElasticsearchSinkConnectorTest {
    private final ElasticsearchSinkConnector connector = new ElasticsearchSinkConnector();

    private List<String> errors(String option, String value) {
        Map<String, String> properties = new HashMap<>(Map.of("connection.url", "http://a:9200,https://b"));
        properties.put(option, value);
        return connector.validate(properties).configValues().stream().flatMap(v -> v.errorMessages().stream()).toList();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "connection.url | elasticsearch:9200 | http://elasticsearch:9200", "connection.url | `` | connection.url",
        "connection.url | http://a/x,http://a/y | same path", "connection.url | http:// | like http",
        "connection.url | http://u:secret@a | connection.username", "connection.username | u | connection.password",
        "connection.password | p | connection.username", "index | {a | placeholder", "document.id | {a:bb} | {a:bb}",
        "batch.documents | 0 | at least", "retry.backoff.max.ms | 10 | retry.backoff.ms", "request.timeout.ms | -1 | at least"})
    void aWrongOptionIsRefusedWithAWord(String option, String value, String word) {
        List<String> errors = errors(option, value);
        assertEquals(1, errors.size(), errors.toString());
        assertTrue(errors.get(0).contains(word), errors.toString());
        assertFalse(errors.get(0).contains("secret"));
    }

    @Test
    void theUrlIsAllThatIsNeeded() {
        assertEquals(List.of(), errors("index", "{topic}-{timestamp:yyyy.MM}"));
        assertFalse(connector.validate(Map.of()).configValues().stream().allMatch(v -> v.errorMessages().isEmpty()));
    }

    @Test
    void everyTaskGetsTheOptions() {
        Map<String, String> properties = Map.of("connection.url", "http://a:9200", "name", "x");
        connector.start(properties);
        assertEquals(List.of(properties, properties, properties), connector.taskConfigs(3));
        assertEquals(ElasticsearchSinkTask.class, connector.taskClass());
        connector.stop();
    }

    @Test
    void theWorkerFindsIt() {
        assertTrue(ServiceLoader.load(SinkConnector.class).stream().anyMatch(p -> p.type() == ElasticsearchSinkConnector.class));
        assertEquals(connector.version(), new ElasticsearchSinkTask().version());
        assertTrue(connector.version().matches("\\d+\\.\\d+\\.\\d+"));
    }
}
