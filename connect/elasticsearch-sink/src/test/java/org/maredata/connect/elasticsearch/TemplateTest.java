package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TemplateTest {
    private static final String VALUE = "{\"sensor_id\":12,\"zero\":-0,\"big\":123456789012345678901234567890,\"yes\":true,"
            + "\"name\":\"Sète\",\"t\":\"2024-12-31T23:30:00.5-01:00\",\"no_t\":\"yesterday\",\"number_t\":1705831564,\"f\":1.0,"
            + "\"topic\":\"field\",\"list\":[1],\"nothing\":null}";

    private static String id(String template) {
        return TaskHarness.onlyId(new SinkRecord("readings", 3, null, "k\"1", null, VALUE, 77), "document.id", template);
    }

    @ParameterizedTest
    @CsvSource({"plain, plain", "{topic}+{partition}+{offset}, readings+3+77", "{sensor_id}-{t:epoch_micros}, 12-1735691400500000",
        "x{t:yyyy.MM}, x2025.01", "{t:uuuu-MM-dd'T'HH}, 2025-01-01T00", "{zero}, 0", "{big}, 123456789012345678901234567890",
        "{yes}, true", "{key}-{sensor_id}, k\"1-12", "a{name}b{name}, aSètebSète"})
    void fillsIn(String template, String id) {
        assertEquals(id, id(template));
    }

    @ParameterizedTest
    @CsvSource({"{missing}, missing_field", "{nothing}, missing_field", "{missing:yyyy}, missing_field", "{f}, wrong_type",
        "{list}, wrong_type", "{no_t:yyyy.MM}, bad_timestamp", "{number_t:epoch_micros}, bad_timestamp"})
    void refusesTheRecord(String template, String reason) {
        DataException e = assertThrows(DataException.class, () -> id(template));
        assertTrue(e.getMessage().startsWith(reason + ": field "), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "}", "{}", "a{b", "a}b", "{a:}", "{{a}}", "{t:yyyy.bbb}", "{t:epoch}", "{t:VV'}"})
    void isRefusedItself(String template) {
        assertThrows(ConfigException.class, () -> new Template("index", template));
    }
}
