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
        Map<String, String> properties = new HashMap<>(Map.of("connection.url", "http://a:9200,https://b", "connection.check", "false"));
        properties.put(option, value);
        return connector.validate(properties).configValues().stream().flatMap(v -> v.errorMessages().stream()).toList();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "connection.url | elasticsearch:9200 | http://elasticsearch:9200", "connection.url | `` | connection.url",
        "connection.url | http://a/x,http://a/y | same path", "connection.url | http:// | like http",
        "connection.url | http://u:secret@a | connection.username", "connection.username | u | connection.password",
        "connection.password | p | connection.username", "index | {a | placeholder", "document.id | {a:bb} | {a:bb}",
        "batch.documents | 0 | at least", "flight | 0 | at least", "linger.ms | -1 | at least", "write.operation | upsert | index, create",
        "null.value | keep | refuse, delete", "document.version | time | none, offset, header", "document.kafka.field | _k | begin with _",
        "connection.compression | zip | none, gzip", "connection.ca.file | /no/such/file | PEM", "connection.check | maybe | true or false",
        "connection.ca.file | pom.xml | PEM", "max.buffered.records | 0 | at least", "batch.bytes | 1 | at least", "retry.backoff.max.ms | 10 | retry.backoff.ms", "request.timeout.ms | -1 | at least"})
    void aWrongOptionIsRefusedWithAWord(String option, String value, String word) {
        List<String> errors = errors(option, value);
        assertEquals(1, errors.size(), errors.toString());
        assertTrue(errors.get(0).contains(word), errors.toString());
        assertFalse(errors.get(0).contains("secret"));
    }

    @Test
    void optionsThatDoNotFitTogetherAreRefused() {
        for (Map<String, String> together : List.of(
                Map.of("write.operation", "create", "document.version", "offset"),
                Map.of("write.operation", "create", "document.version", "header"),
                Map.of("connection.username", "u", "connection.password", "p", "connection.api.key", "k"),
                Map.of("null.value", "delete", "document.id", "{id}"),
                Map.of("null.value", "delete", "document.id", "{key}", "index", "x-{t:yyyy}"))) {
            Map<String, String> properties = new HashMap<>(together);
            properties.put("connection.url", "http://a");
            properties.put("connection.check", "false");
            assertEquals(1, connector.validate(properties).configValues().stream()
                    .mapToInt(value -> value.errorMessages().size()).sum(), together.toString());
        }
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
        List<Map<String, String>> tasks = connector.taskConfigs(3);
        assertEquals(List.of("0", "1", "2"), tasks.stream().map(task -> task.get("task.number")).toList());
        assertTrue(tasks.stream().allMatch(task -> task.entrySet().containsAll(properties.entrySet())));
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
