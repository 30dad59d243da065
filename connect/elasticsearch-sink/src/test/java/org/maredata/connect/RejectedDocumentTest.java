package org.maredata.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import java.util.ServiceLoader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.transforms.Transformation;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;

class RejectedDocumentTest {
    private static final String LINE = "{\"sensor_id\": 7, \"temperature\": \"hôt\"}";
    /** 2024-01-21 10:06:05.123 UTC in milliseconds. */
    private static final long APPENDED = 1_705_831_565_123L;

    private final RejectedDocument<SinkRecord> transform = new RejectedDocument<>();

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static SinkRecord record(Object value, Long timestamp, String... headers) {
        ConnectHeaders all = new ConnectHeaders();
        for (int i = 0; i < headers.length; i += 2) {
            all.addBytes(headers[i], headers[i + 1] == null ? null : bytes(headers[i + 1]));
        }
        return new SinkRecord("readings.rejected", 0, null, null, null, value, 41, timestamp,
                TimestampType.LOG_APPEND_TIME, all);
    }

    private Map<?, ?> document(SinkRecord record) {
        SinkRecord made = transform.apply(record);
        assertNull(made.valueSchema());
        return (Map<?, ?>) made.value();
    }

    private Map<?, ?> document(String line) {
        return document(record(bytes(line), APPENDED));
    }

    @Test
    void aLineBecomesADocumentWithWhatTheHeadersSay() {
        SinkRecord record = record(bytes(LINE), APPENDED, "reason", "wrong_type", "detail", "temperature must be a number",
                "sender", "10.1.2.3:4711", "received", "2024-01-21T10:06:04.095931+00:00");
        assertEquals(Map.of("timestamp", "2024-01-21 10:06:04.095931", "reason", "wrong_type",
                "detail", "temperature must be a number", "sender", "10.1.2.3:4711", "sensor_id", 7L,
                "bytes", (long) bytes(LINE).length, "line", LINE), document(record));
    }

    @Test
    void aLineWithoutHeadersIsADocumentOfTheRecordsOwnTime() {
        assertEquals(Map.of("timestamp", "2024-01-21 10:06:05.123000", "reason", "unknown", "sensor_id", 7L,
                "bytes", (long) bytes(LINE).length, "line", LINE), document(record(bytes(LINE), APPENDED)));
    }

    @ParameterizedTest
    @NullSource
    @ValueSource(strings = {"", "yesterday", "1705831564", "1969-12-31T23:59:59+00:00"})
    void aTimeThatCantBeReadIsTheRecordsOwn(String received) {
        Map<?, ?> document = document(record(bytes(LINE), APPENDED, "received", received, "reason", null));
        assertEquals("2024-01-21 10:06:05.123000", document.get("timestamp"));
        assertEquals("unknown", document.get("reason"));
    }

    @ParameterizedTest
    @NullSource
    @ValueSource(longs = {-1, Long.MAX_VALUE})
    void withoutAnyTimeItIsRefused(Long timestamp) {
        DataException e = assertThrows(DataException.class, () -> transform.apply(record(bytes(LINE), timestamp)));
        assertTrue(e.getMessage().startsWith("bad_timestamp: "), e.getMessage());
    }

    @Test
    void headersOfAnyFormAreText() {
        SinkRecord record = record(bytes(LINE), APPENDED);
        record.headers().addInt("reason", 12).addBytes("detail", new byte[] {'a', (byte) 0xff, 'b'})
                .addString("sender", "[::1]:9");
        assertEquals("12", document(record).get("reason"));
        assertEquals("a\ufffdb", document(record).get("detail"));
        assertEquals("[::1]:9", document(record).get("sender"));
    }

    @Test
    void bytesThatAreNoTextAreKeptAsBase64() {
        byte[] line = {'{', (byte) 0xc3, '(', 0, '}'};
        Map<?, ?> document = document(record(line, APPENDED));
        assertEquals(Base64.getEncoder().encodeToString(line), document.get("line_base64"));
        assertFalse(document.containsKey("line"));
        assertEquals(5L, document.get("bytes"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "\r", "\0", "a\nb", "\ufeff{}", "😀"})
    void everyTextIsKeptAsItIs(String line) {
        assertEquals(line, document(line).get("line"));
        assertEquals((long) bytes(line).length, document(line).get("bytes"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{\"sensor_id\":9223372036854775807}|9223372036854775807", "{\"sensor_id\":-3}|-3",
        "{\"a\":{\"sensor_id\":1},\"sensor_id\":2,\"b\":[{\"sensor_id\":3}]}|2",
        "{\"sensor_id\":4,\"a\":1,\"a\":2}|4", "{\"sensor_id\":5,\"a\":1e999}|5"})
    void theSensorIsFound(String line, long sensorId) {
        assertEquals(sensorId, document(line).get("sensor_id"));
    }

    @Test
    void theSensorIsFoundInALineThatIsNestedTooDeep() {
        String deep = "{\"sensor_id\":6,\"a\":" + "[".repeat(40) + "]".repeat(40) + "}";
        assertEquals(6L, document(deep).get("sensor_id"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"sensor_id\":1", "{\"sensor_id\":1} {}", "[{\"sensor_id\":1}]", "{\"sensor_id\":\"1\"}",
        "{\"sensor_id\":1.0}", "{\"sensor_id\":null}", "{\"sensor_id\":true}", "{\"sensor_id\":9223372036854775808}",
        "{\"sensor_id\":1,\"sensor_id\":2}", "{\"sensor_id\":1,\"sensor_id\":2,\"sensor_id\":3}", "{\"a\":1}", "nonsense"})
    void whatIsNoOneIntegerIsNoSensor(String line) {
        assertFalse(document(line).containsKey("sensor_id"));
    }

    @Test
    void aRecordWithoutAValueIsLeftForTheSinkToJudge() {
        SinkRecord empty = record(null, APPENDED);
        assertSame(empty, transform.apply(empty));
    }

    @Test
    void anotherConverterIsNamed() {
        DataException e = assertThrows(DataException.class, () -> transform.apply(record("text", APPENDED)));
        assertTrue(e.getMessage().contains("ByteArrayConverter"), e.getMessage());
    }

    @Test
    @SuppressWarnings("rawtypes")
    void theWorkerFindsIt() {
        assertTrue(ServiceLoader.load(Transformation.class).stream().anyMatch(p -> p.type() == RejectedDocument.class));
        assertTrue(transform.version().matches("\\d+\\.\\d+\\.\\d+"));
        transform.configure(Map.of());
        assertTrue(transform.config().names().isEmpty());
    }
}
