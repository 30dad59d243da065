package org.maredata.connect.capture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ServiceLoader;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.transforms.Transformation;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.maredata.connect.elasticsearch.VersionHeader;

class RowDocumentTest {
    private static final String FIELD = Capture.field("v", "text", "UTC", false, Capture.column("v", "varchar", true, 0, 0));
    private static final String ROW = "{\"id\":1,\"v\":\"é\"}";
    private static final String NEW_KEY = "__debezium.newkey";

    private static SinkRecord apply(String deletes, String change, String... headers) {
        return Capture.transform(Capture.layout(deletes, FIELD)).apply(Capture.record(Capture.bytes(change), headers));
    }

    private static String refusal(Object value) {
        RowDocument<SinkRecord> transform = Capture.transform(Capture.layout("keep", FIELD));
        return assertThrows(DataException.class, () -> transform.apply(Capture.record(value))).getMessage();
    }

    @ParameterizedTest
    @ValueSource(strings = {"c", "u", "r"})
    void aWrittenRowIsItsDocument(String op) {
        SinkRecord made = apply("keep", Capture.change(op, "{\"id\":1,\"v\":\"old\"}", ROW), "__debezium.oldkey");
        assertEquals("{\"v\":\"é\"}", Capture.text(made));
        assertEquals("1", made.key());
        assertEquals(2L << 40 | 345, Capture.version(made));
        assertEquals("legacy.trial", made.topic());
        assertEquals(1234L, made.timestamp());
        assertEquals(0, made.kafkaPartition());
        assertNotNull(made.headers().lastWithName("__debezium.oldkey"));
    }

    @Test
    void aDeleteDeletesOnlyIfItIsMirrored() {
        String change = Capture.change("d", "{\"id\":8,\"v\":null}", "null");
        assertNull(apply("keep", change));
        SinkRecord made = apply("mirror", change);
        assertNull(made.value());
        assertEquals("8", made.key());
        assertEquals(2L << 40 | 345, Capture.version(made));
    }

    @ParameterizedTest
    @ValueSource(strings = {"keep", "mirror"})
    void aChangedKeyDeletesTheOldDocumentInAnyCase(String deletes) {
        SinkRecord made = apply(deletes, Capture.change("d", "{\"id\":8,\"v\":null}", "null"), NEW_KEY);
        assertNull(made.value());
        assertEquals("8", made.key());
    }

    @ParameterizedTest
    @CsvSource({"t, keep", "m, keep", "t, mirror", "m, mirror"})
    void whatIsOfNoRowIsDropped(String op, String deletes) {
        assertNull(apply(deletes, Capture.change(op, "null", "null")));
    }

    @Test
    void aTombstoneIsDropped() {
        assertNull(Capture.transform(Capture.layout("mirror", FIELD)).apply(Capture.record(null)));
    }

    @Test
    void aVersionThatCameAlongIsReplaced() {
        SinkRecord made = apply("keep", Capture.change("c", "null", ROW), VersionHeader.NAME);
        int versions = 0;
        for (var header : made.headers()) {
            versions += header.key().equals(VersionHeader.NAME) ? 1 : 0;
        }
        assertEquals(1, versions);
        assertEquals(2L << 40 | 345, Capture.version(made));
    }

    @Test
    void filesOfAnEarlierLogCount() {
        String layout = Capture.layout("keep", FIELD).replace("\"deletes\"", "\"files_before\":5,\"deletes\"");
        SinkRecord made = Capture.transform(layout).apply(Capture.record(Capture.bytes(Capture.change("c", "null", ROW))));
        assertEquals(7L << 40 | 345, Capture.version(made));
    }

    @Test
    void theIncomingRecordStaysAsItIs() {
        SinkRecord record = Capture.record(Capture.bytes(Capture.change("c", "null", ROW)));
        Capture.transform(Capture.layout("keep", FIELD)).apply(record);
        assertNull(record.headers().lastWithName(VersionHeader.NAME));
        assertArrayEquals(Capture.bytes("{\"id\":1}"), (byte[]) record.key());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "[1]                                                                        | malformed: ",
        "{\"op\":\"c\"} x                                                           | malformed: ",
        "{\"op\":\"c\",\"op\":\"c\"}                                                | duplicate_field: ",
        "{\"schema\":{},\"payload\":{\"op\":\"c\"}}                                 | missing_field: the value has no op",
        "{\"op\":\"x\",\"after\":{\"id\":1,\"v\":null}}                             | wrong_type: op must be",
        "{\"op\":\"c\",\"after\":null}                                              | missing_field: the change has no object after",
        "{\"op\":\"u\",\"after\":{\"id\":1}}                                        | missing_field: the row has no column v",
        "{\"op\":\"c\",\"after\":{\"id\":1,\"v\":null}}                             | missing_field: the change has no object source",
        "{\"op\":\"c\",\"after\":{\"id\":1,\"v\":null},\"source\":{\"pos\":3}}      | missing_field: the change doesn't say where",
        "{\"op\":\"c\",\"after\":{\"id\":1,\"v\":null},\"source\":{\"file\":\"a.1\",\"pos\":\"3\"}} | missing_field: the change doesn't say where",
        "{\"op\":\"c\",\"after\":{\"id\":1,\"v\":null},\"source\":{\"file\":\"a\",\"pos\":3}}   | wrong_type: source.file",
        "{\"op\":\"c\",\"after\":{\"id\":null,\"v\":null},\"source\":{\"file\":\"a.1\",\"pos\":3}} | missing_field: column id of the key is NULL",
        "{\"op\":\"c\",\"after\":{\"id\":1,\"v\":5},\"source\":{\"file\":\"a.1\",\"pos\":3}}    | wrong_type: column v, a varchar, came as the JSON number '5'",
        "{\"op\":\"c\",\"after\":{\"id\":1,\"v\":[]},\"source\":{\"file\":\"a.1\",\"pos\":3}}   | wrong_type: column v, a varchar, came as a JSON object",
        "{\"op\":\"c\",\"after\":{\"id\":1,\"v\":\"\\ud800\"},\"source\":{\"file\":\"a.1\",\"pos\":3}} | out_of_limits: column v holds half"})
    void whatCanBeNoDocumentIsRefused(String value, String beginning) {
        String message = refusal(Capture.bytes(value));
        assertTrue(message.startsWith(beginning), message);
    }

    @Test
    void aDeleteWithoutTheOldRowIsRefused() {
        DataException e = assertThrows(DataException.class, () -> apply("mirror", Capture.change("d", "null", "null")));
        assertTrue(e.getMessage().contains("binlog_row_image=FULL"), e.getMessage());
    }

    @Test
    void bytesThatAreNoUtf8AreRefused() {
        byte[] value = Capture.bytes(Capture.change("c", "null", ROW));
        value[value.length - 3] = -1;
        assertTrue(refusal(value).startsWith("encoding: "));
    }

    @Test
    void anotherConverterIsRefused() {
        assertTrue(refusal("{}").contains("ByteArrayConverter"));
    }

    @Test
    @SuppressWarnings("rawtypes")
    void theWorkerFindsIt() {
        assertTrue(ServiceLoader.load(Transformation.class).stream().anyMatch(found -> found.type() == RowDocument.class));
        assertTrue(new RowDocument<SinkRecord>().version().matches("\\d+\\.\\d+\\.\\d+"));
    }
}
