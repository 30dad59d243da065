package org.maredata.connect;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.ServiceLoader;
import java.util.function.Supplier;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.storage.Converter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class ReadingConverterTest {
    private static final String TIME = "\"timestamp\":\"2024-01-21 10:06:04.095931\"";
    private static final String GOOD = "{\"sensor_id\":1," + TIME + "}";

    private final ReadingConverter toStruct = converter("struct");
    private final ReadingConverter toJson = converter("json");

    static List<JsonNode> vectors() {
        return Vectors.records();
    }

    private static ReadingConverter converter(String output) {
        ReadingConverter converter = new ReadingConverter();
        converter.configure(Map.of("schema.content", Vectors.schema(), "output", output), false);
        return converter;
    }

    private static SchemaAndValue convert(Converter converter, String line) {
        return converter.toConnectData("readings", line.getBytes(StandardCharsets.UTF_8));
    }

    private static String outcome(Supplier<?> conversion) {
        try {
            conversion.get();
            return "accepted";
        } catch (DataException e) {
            return e.getMessage().substring(0, e.getMessage().indexOf(": "));
        }
    }

    private String outcome(String line) {
        String struct = outcome(() -> convert(toStruct, line));
        assertEquals(struct, outcome(() -> convert(toJson, line)), "both outputs refuse the same records");
        return struct;
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void agreesWithTheSharedVectors(JsonNode vector) throws JsonProcessingException {
        byte[] line = Vectors.line(vector);
        String expected = vector.get("outcome").asText();
        assertEquals(expected, outcome(() -> toStruct.toConnectData("readings", line)));
        assertEquals(expected, outcome(() -> toJson.toConnectData("readings", line)));
        if (expected.equals("accepted")) {
            String text = toJson.toConnectData("readings", line).value().toString();
            assertFalse(text.contains("\n") || text.contains("\r"));
            if (vector.hasNonNull("canonical")) {
                assertEquals(vector.get("canonical").asText(), text);
            }
            assertAgrees((Struct) toStruct.toConnectData("readings", line).value(), new ObjectMapper().readTree(text));
        }
    }

    /** Both outputs of one record say the same. */
    private static void assertAgrees(Struct struct, JsonNode json) {
        struct.schema().fields().forEach(field -> {
            JsonNode value = json.path(field.name());
            Object expected = switch (field.schema().type()) {
                case INT64 -> value.asLong();
                case FLOAT64 -> value.asDouble();
                case STRING -> value.asText();
                default -> null;
            };
            if (value.isMissingNode() || value.isNull()) {
                assertNull(struct.get(field));
            } else if (struct.get(field) instanceof Struct inner) {
                assertAgrees(inner, value);
            } else {
                assertEquals(expected, struct.get(field));
            }
        });
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{}x | malformed", "`` | malformed", "` ` | malformed", "{\"a\":1 \"b\":2} | malformed", "{\"a\":+1} | malformed",
        "{\"a\":1.} | malformed", "{\"a\":.5} | malformed", "{\"a\":-} | malformed", "{\"a\":1e} | malformed",
        "{\"a\":0x1} | malformed", "{\"a\":truefalse} | malformed", "{\"a\":\"\\x\"} | malformed",
        "{\"a\":\"\\u00g0\"} | malformed", "{\"a\":\"\\u\u0130041\"} | malformed", "{a:1} | malformed", "{\"a\"} | malformed",
        "{,} | malformed", "{\"a\":[1,]} | malformed", "{\"a\":1}} | malformed", "{\"a\":[1} | malformed",
        "{\"a\u0001\":1} | malformed", "\u00a0{} | malformed", "{\"a\":1,\u2028\"b\":1} | malformed",
        "{\"a\":1,\"a\":2 | malformed", "{\"sensor_id\":\"1\",\"b\":tru} | malformed",
        "{\"_a\":1,\"x\":{\"y\":1,\"y\":1}} | duplicate_field", "{\"sensor_id\":true,\"sensor_id\":1} | duplicate_field",
        "{\"\\ud83c\\udf0a\":1,\"\ud83c\udf0a\":2} | duplicate_field", "{\"a\":[{\"b\":1,\"b\":1}]} | duplicate_field",
        "{\"\u00a0\":1} | field_name", "{\"\u3000 \":1} | field_name"})
    void refuses(String line, String reason) {
        assertEquals(reason, outcome(line));
    }

    @Test
    void namesMayRecurInDifferentObjects() {
        assertEquals("accepted", outcome("{\"sensor_id\":1," + TIME
                + ",\"x\":{\"x\":{\"sensor_id\":1},\"y\":[{\"x\":1},{\"x\":1}]},\"y\":{\"x\":1}}"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "\"sensor_id\":-0 | accepted", "\"sensor_id\":-1 | out_of_limits", "\"sensor_id\":-9223372036854775809 | out_of_limits",
        "\"sensor_id\":1,\"temperature\":-0.0 | accepted", "\"sensor_id\":1,\"temperature\":1000.0001 | out_of_limits",
        "\"sensor_id\":1,\"temperature\":-273.150000000000000001 | accepted", "\"sensor_id\":1,\"temperature\":{} | wrong_type",
        "\"sensor_id\":1,\"station\":\"\\ud800\" | out_of_limits", "\"sensor_id\":1,\"station\":\"\\udc00\\ud800\" | out_of_limits",
        "\"sensor_id\":1,\"x\":\"\\ud800\" | accepted", "\"sensor_id\":1,\"station\":\"\" | accepted",
        "\"sensor_id\":1,\"location\":{} | wrong_type", "\"sensor_id\":1,\"location\":{\"lon\":1,\"lat\":1e400} | out_of_limits",
        "\"sensor_id\":1,\"location\":{\"lon\":1,\"lat\":1,\"lat\":2} | duplicate_field",
        "\"sensor_id\":1,\"location\":{\"lon\":\"1\",\"lat\":2},\"x\":[[ | malformed"})
    void limits(String fields, String outcome) {
        assertEquals(outcome, outcome("{" + TIME + "," + fields + "}"));
    }

    @Test
    void aMessageNamesTheFieldAndWhatWasFound() {
        DataException e = assertThrows(DataException.class, () -> convert(toStruct, "{" + TIME + ",\"sensor_id\":\"a\\nb\"}"));
        assertEquals("wrong_type: field sensor_id must be an integer without fraction or exponent, "
                + "not the text 'a\\u000ab'", e.getMessage());
        assertTrue(assertThrows(DataException.class, () -> convert(toStruct, GOOD.replace("}", ",\"station\":\""
                + "x".repeat(100_000) + "\"}"))).getMessage().length() < 300);
    }

    @Test
    void nullNeverDeletes() {
        assertEquals("null_value", outcome(() -> toStruct.toConnectData("readings", null)));
        assertEquals("null_value", outcome(() -> toJson.toConnectData("readings", null)));
    }

    @Test
    void otherEncodingsOfJsonAreRefused() {
        assertEquals("malformed", outcome(GOOD + "\0"));
        for (var charset : List.of(StandardCharsets.UTF_16, StandardCharsets.UTF_16BE, StandardCharsets.UTF_16LE)) {
            assertTrue(List.of("malformed", "encoding").contains(
                    outcome(() -> toJson.toConnectData("readings", GOOD.getBytes(charset)))), charset.name());
        }
    }

    @Test
    void severalTimestampsAreRewrittenAndNothingElse() {
        ReadingConverter converter = new ReadingConverter();
        converter.configure(Map.of("output", "json", "schema.content", """
                {"type":"struct","fields":[
                 {"field":"a","type":"string","name":"org.maredata.Timestamp","optional":true},
                 {"field":"o","type":"struct","optional":true,"fields":[
                  {"field":"b","type":"string","name":"org.maredata.Timestamp","optional":true}]}]}"""), false);
        String line = "\r\n{ \"é\" : \"2024-01-21T10:06:04Z\",\n\"a\":\"2024-01-21T10:06:04Z\" , \"n\":1.50e+1,"
                + "\"o\":{\"b\":\"2024\\u002d01-21 10:06:04.000001\"},\"z\":\"\\n\"}\n";
        assertEquals("  { \"é\" : \"2024-01-21T10:06:04Z\", \"a\":\"2024-01-21 10:06:04.000000\" , \"n\":1.50e+1,"
                + "\"o\":{\"b\":\"2024-01-21 10:06:04.000001\"},\"z\":\"\\n\"} ", convert(converter, line).value().toString());
        assertNull(convert(converter, line).schema());
    }

    @Test
    void theStructDropsUnknownFields() {
        Struct struct = (Struct) convert(toStruct, GOOD.replace("}", ",\"salinity\":38.1}")).value();
        assertEquals(1L, struct.getInt64("sensor_id"));
        assertEquals("2024-01-21 10:06:04.095931", struct.getString("timestamp"));
        assertNull(struct.schema().field("salinity"));
        struct.validate();
    }

    /** Whatever is done to a record, it is taken or refused by a reason, and never breaks the converter. */
    @Test
    void brokenRecordsNeverBreakTheConverter() {
        Random random = new Random(7);
        byte[] good = (GOOD.replace("}", ",\"temperature\":1.5,\"location\":{\"lon\":1,\"lat\":2},\"x\":[\"é\",{}]}"))
                .getBytes(StandardCharsets.UTF_8);
        byte[] untouched = good.clone();
        for (int i = 0; i < 50_000; i++) {
            byte[] line = good.clone();
            for (int j = random.nextInt(3); j >= 0; j--) {
                line[random.nextInt(line.length)] = (byte) random.nextInt(256);
            }
            String struct = outcome(() -> toStruct.toConnectData("readings", line));
            assertEquals(struct, outcome(() -> toJson.toConnectData("readings", line)));
            if (struct.equals("accepted")) {
                String text = toJson.toConnectData("readings", line).value().toString();
                assertEquals("accepted", outcome(text), text);
                assertEquals(text, convert(toJson, text).value().toString(), "what was accepted is canonical");
            }
        }
        assertArrayEquals(untouched, good);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "12", "{\"type\":\"int64\"}", "{\"type\":\"struct\",\"fields\":[{\"field\":\"a\",\"type\":\"int8\"}]}",
        "{\"type\":\"struct\",\"fields\":[{\"field\":\"a\",\"type\":\"int64\",\"parameters\":{\"minimum\":\"0.5\"}}]}",
        "{\"type\":\"struct\",\"fields\":[{\"field\":\"a\",\"type\":\"double\",\"parameters\":{\"minimum\":\"x\"}}]}",
        "{\"type\":\"struct\",\"fields\":[{\"field\":\"a\",\"type\":\"double\",\"parameters\":{\"minimun\":\"1\"}}]}",
        "{\"type\":\"struct\",\"fields\":[{\"field\":\"a\",\"type\":\"string\",\"parameters\":{\"minimum\":\"1\"}}]}"})
    void aWrongSchemaIsRefusedAtStart(String schema) {
        assertThrows(ConfigException.class, () -> new ReadingConverter().configure(Map.of("schema.content", schema), false));
    }

    @Test
    void itOnlyReadsValues() {
        assertThrows(ConfigException.class,
                () -> new ReadingConverter().configure(Map.of("schema.content", Vectors.schema()), true));
        assertThrows(ConfigException.class, () -> new ReadingConverter().configure(
                Map.of("schema.content", Vectors.schema(), "output", "xml"), false));
        assertThrows(DataException.class, () -> toStruct.fromConnectData("readings", null, "x"));
    }

    @Test
    void theWorkerFindsIt() {
        assertTrue(ServiceLoader.load(Converter.class).stream().anyMatch(p -> p.type() == ReadingConverter.class));
        assertTrue(new ReadingConverter().version().matches("\\d+\\.\\d+\\.\\d+"));
    }
}
