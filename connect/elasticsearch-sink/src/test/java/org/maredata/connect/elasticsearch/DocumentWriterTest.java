package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.maredata.connect.CheckedJson;
import org.maredata.connect.ReadingConverter;
import org.maredata.connect.Timestamps;
import org.maredata.connect.Vectors;

class DocumentWriterTest {
    private static final String READING = "{\"sensor_id\":7,\"timestamp\":\"2024-01-31 23:59:59.999999\",\"station\":\"Sète\"}";

    private static SinkRecord record(Object value) {
        return new SinkRecord("Readings", 2, null, "key", null, value, 9, 1234L, TimestampType.CREATE_TIME);
    }

    private static CheckedJson checked(String text) {
        ReadingConverter converter = new ReadingConverter();
        converter.configure(Map.of("schema.content", Vectors.schema(), "output", "json"), false);
        return (CheckedJson) converter.toConnectData("Readings", text.getBytes(StandardCharsets.UTF_8)).value();
    }

    private static String lines(Object value, String... options) {
        Bulk bulk = TaskHarness.bulkOf(record(value), options);
        return new String(bulk.body().array(), 0, bulk.bytes(), StandardCharsets.UTF_8);
    }

    @ParameterizedTest
    @CsvSource({"readings-{timestamp:yyyy.MM}, {sensor_id}-{timestamp:epoch_micros}", "{topic}, {station}", "{topic}-{timestamp:yyyy.MM.dd}, {topic}+{partition}+{offset}",
        "{topic}-{timestamp:HH}, {key}-{sensor_id}", "{station}, {sensor_id}", "x, {sensor_id}{station}{timestamp}", "q{timestamp:yyyy-QQQ}, {x}"})
    void whatTheConverterCheckedBecomesTheSameLinesAsRawText(String index, String id) {
        String reading = READING.replace("}", ",\"x\":12}");
        assertEquals(lines(reading, "index", index, "document.id", id), lines(checked(reading), "index", index, "document.id", id));
    }

    @Test
    void theSameHoldsForManyRecordsOfOneWriter() {
        Random random = new Random(2);
        DocumentWriter writer = new ElasticsearchSinkConfig(Map.of("connection.url", "http://a",
                "index", "{topic}-{timestamp:yyyy.MM}", "document.id", "{sensor_id}-{timestamp:epoch_micros}")).documentWriter();
        for (int i = 0; i < 3000; i++) {
            String reading = "{\"sensor_id\":" + random.nextInt(3) + ",\"timestamp\":\""
                    + Timestamps.canonical((long) (random.nextDouble() * Timestamps.LAST)) + "\"}";
            String topic = random.nextInt(10) == 0 ? "Other" : "Readings";
            List<Integer> hashes = new ArrayList<>();
            List<byte[]> bodies = new ArrayList<>();
            for (Object value : List.of(checked(reading), reading)) {
                SinkRecord record = new SinkRecord(topic, 0, null, null, null, value, i);
                Bulk bulk = new Bulk();
                writer.write(record, new OffsetTracker().add(record), (hash, bytes) -> {
                    hashes.add(hash);
                    return bulk;
                });
                bodies.add(Arrays.copyOf(bulk.body().array(), bulk.bytes()));
            }
            assertEquals(hashes.get(0), hashes.get(1), "one id must always go the same way");
            assertArrayEquals(bodies.get(0), bodies.get(1));
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "write.operation | create | {\"create\":{\"_index\":\"r\",\"_id\":\"7\"}}",
        "document.version | offset | {\"index\":{\"_index\":\"r\",\"_id\":\"7\",\"version\":9,\"version_type\":\"external_gte\"}}"})
    void theActionSaysWhatIsAskedFor(String option, String value, String action) {
        assertEquals(action + "\n" + READING + "\n", lines(READING, "document.id", "{sensor_id}", option, value));
        assertEquals(action + "\n" + READING + "\n", lines(checked(READING), "document.id", "{sensor_id}", option, value));
    }

    private static SinkRecord versioned(Object value, Object version) {
        SinkRecord record = new SinkRecord("r", 0, null, "key", null, value, 9);
        record.headers().add(VersionHeader.NAME, version, null);
        return record;
    }

    private static String versionedLines(Object value, Object version) {
        Bulk bulk = TaskHarness.bulkOf(versioned(value, version), "document.id", "{key}", "null.value", "delete", "document.version", "header");
        return new String(bulk.body().array(), 0, bulk.bytes(), StandardCharsets.UTF_8);
    }

    @Test
    void aHeaderCanBeTheVersionOfADocumentAndOfADelete() {
        String action = "{\"_index\":\"r\",\"_id\":\"key\",\"version\":%s,\"version_type\":\"external_gte\"}}\n";
        assertEquals("{\"index\":" + String.format(action, Long.MAX_VALUE) + "{}\n", versionedLines("{}", Long.MAX_VALUE));
        assertEquals("{\"delete\":" + String.format(action, 0), versionedLines(null, 0L));
        assertEquals("{\"delete\":" + String.format(action, 7), versionedLines(null, "7".getBytes(StandardCharsets.UTF_8)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"-1", "1.5", "", "x", "9223372036854775808"})
    void aHeaderThatIsNoVersionIsRefused(String version) {
        DataException e = assertThrows(DataException.class, () -> versionedLines("{}", version));
        assertTrue(e.getMessage().startsWith("out_of_limits: the header maredata.version must be"), e.getMessage());
    }

    @Test
    void withoutTheHeaderThereIsNoDocumentAndNothingIsLeftInTheBulk() {
        DocumentWriter writer = new ElasticsearchSinkConfig(Map.of("connection.url", "http://a", "index", "r", "document.id", "{key}",
                "null.value", "delete", "document.version", "header")).documentWriter();
        Bulk bulk = new Bulk();
        for (Object value : Arrays.asList("{}", null)) {
            for (SinkRecord record : List.of(new SinkRecord("r", 0, null, "key", null, value, 9), versioned(value, null))) {
                DataException e = assertThrows(DataException.class,
                        () -> writer.write(record, new OffsetTracker().add(record), (hash, bytes) -> bulk));
                assertTrue(e.getMessage().startsWith("missing_field: the record has no header maredata.version"), e.getMessage());
            }
        }
        assertEquals(0, bulk.body().length());
    }

    @ParameterizedTest
    @ValueSource(strings = {"[]", "[{\"a\":[]}]", "12", "\"{}\"", "true", "null"})
    void anArrayOrScalarIsNoDocument(String value) {
        DataException e = assertThrows(DataException.class, () -> lines(value, "document.id", "x"));
        assertEquals("malformed: the record must be one JSON object", e.getMessage());
    }

    @Test
    void aRecordWithoutAValueDeletesIfThatIsWished() {
        assertEquals("{\"delete\":{\"_index\":\"r\",\"_id\":\"key\"}}\n", lines(null, "document.id", "{key}", "null.value", "delete"));
        DataException e = assertThrows(DataException.class, () -> lines(null, "document.id", "{key}"));
        assertTrue(e.getMessage().startsWith("null_value: "));
    }

    @Test
    void kafkasCoordinatesGoIntoAnObjectOfTheirOwn() {
        String kafka = "\"from\":{\"topic\":\"Readings\",\"partition\":2,\"offset\":9,\"timestamp\":1234}}";
        String[] options = {"document.kafka.field", "from", "document.id", "x"};
        assertTrue(lines("{ } ", options).endsWith("\n{ " + kafka + " \n"));
        assertTrue(lines(checked(READING), options).endsWith("\n" + READING.replace("}", "," + kafka) + "\n"));
        assertTrue(lines("{\"a\":\"}\"}", options).endsWith("\n{\"a\":\"}\"," + kafka + "\n"));
    }

    @ParameterizedTest
    @CsvSource({"true, true", "12, 12", "sète, sète"})
    void aKeyCanBeTheId(String key, String id) {
        Object typed = key.equals("true") ? Boolean.TRUE : key.equals("12") ? (Object) 12L : key.getBytes(StandardCharsets.UTF_8);
        SinkRecord record = new SinkRecord("r", 0, null, typed, null, "{}", 0);
        assertEquals(id, TaskHarness.onlyId(record, "document.id", "{key}"));
        assertThrows(DataException.class, () -> TaskHarness.onlyId(new SinkRecord("r", 0, null, null, null, "{}", 0), "document.id", "{key}"));
        assertThrows(DataException.class, () -> TaskHarness.onlyId(new SinkRecord("r", 0, null, 1.5, null, "{}", 0), "document.id", "{key}"));
        assertThrows(DataException.class,
                () -> TaskHarness.onlyId(new SinkRecord("r", 0, null, new byte[] {-1}, null, "{}", 0), "document.id", "{key}"));
    }
}
