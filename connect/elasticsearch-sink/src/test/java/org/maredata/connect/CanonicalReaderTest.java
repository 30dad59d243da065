package org.maredata.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CanonicalReaderTest {
    private static final String TIME = "\"timestamp\":\"2024-01-21 10:06:04.095931\"";

    private final ReadingSchema schema = ReadingSchema.parse(Vectors.schema());
    private final CanonicalReader reader = CanonicalReader.of(schema);

    private CheckedJson read(String text) {
        return reader.read(text.getBytes(StandardCharsets.UTF_8));
    }

    /** The text as the strict reader hands it on; throws RefusedException. */
    private String strictly(byte[] text) {
        Rewrites rewrites = new Rewrites(text);
        try (StrictJson json = new StrictJson(text, ReadingConverter.MAX_DEPTH)) {
            schema.read(json, rewrites);
            json.end();
        }
        return new String(rewrites.apply(), StandardCharsets.UTF_8);
    }

    private void assertNeverTooSure(byte[] text) {
        CheckedJson taken = reader.read(text);
        if (taken != null) {
            String shown = new String(text, StandardCharsets.UTF_8);
            try {
                assertEquals(strictly(text), taken.toString());
            } catch (RefusedException e) {
                throw new AssertionError("taken, though it is " + e.getMessage() + ": " + shown, e);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"sensor_id\":1,\"timestamp\":\"2024-01-21 10:06:04.095931\"}",
        " {\t\"timestamp\" : \"2024-02-29 23:59:59.999999\" , \"sensor_id\" : 999999999999999999 } ",
        "{\"sensor_id\":0,\"timestamp\":\"1970-01-01 00:00:00.000000\",\"temperature\":-273.15,\"station\":\"Sète…🌊\"}",
        "{\"sensor_id\":1,\"timestamp\":\"2262-04-11 23:47:16.854775\",\"temperature\":null,\"humidity\":59.22,\"x\":true,"
            + "\"y\":null,\"z\":\"text\",\"n\":-0}",
        "{\"sensor_id\":1,\"timestamp\":\"2000-02-29 00:00:00.000000\",\"location\":{\"lon\":3.185785,\"lat\":42.488629}}"})
    void theOrdinaryRecordIsNotBuiltAnew(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        CheckedJson taken = reader.read(bytes);
        assertNotNull(taken);
        assertSame(bytes, taken.bytes());
        int time = taken.slots().get("timestamp");
        assertTrue(text.contains(new String(bytes, taken.start(time), taken.end(time) - taken.start(time),
                StandardCharsets.UTF_8)));
        assertEquals('"', bytes[taken.start(time)]);
        assertEquals('"', bytes[taken.end(time) - 1]);
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{" + TIME + ",\"sensor_id\":1,\"sensor_id\":1}", "{" + TIME + ",\"sensor_id\":1,\"x\":1,\"x\":1}", "{" + TIME + ",\"sensor_id\":-1}",
        "{" + TIME + ",\"sensor_id\":01}", "{" + TIME + ",\"sensor_id\":-0}", "{" + TIME + ",\"sensor_id\":1.0}",
        "{" + TIME + ",\"sensor_id\":9999999999999999999}", "{" + TIME + "}", "{" + TIME + ",\"sensor_id\":null}",
        "{" + TIME + ",\"sensor_id\":1} {}", "{" + TIME + ",\"sensor_id\":1}\n", "{" + TIME + ",\n\"sensor_id\":1}",
        "{" + TIME + ",\"sensor_id\":1,\"_x\":1}", "{" + TIME + ",\"sensor_id\":1,\"a.b\":1}", "{" + TIME + ",\"sensor_id\":1,\" \":1}",
        "{" + TIME + ",\"sensor_id\":1,\"\":1}", "{" + TIME + ",\"sensor_id\":1,\"temperature\":1000.1}",
        "{" + TIME + ",\"sensor_id\":1,\"temperature\":-273.16}", "{" + TIME + ",\"sensor_id\":1,\"temperature\":1.}",
        "{" + TIME + ",\"sensor_id\":1,\"temperature\":\"1\"}", "{" + TIME + ",\"sensor_id\":1,\"station\":\"123456789\"}",
        "{" + TIME + ",\"sensor_id\":1,\"station\":\"a\\n\"}", "{" + TIME + ",\"sensor_id\":1,\"location\":{\"lon\":1}}",
        "{" + TIME + ",\"sensor_id\":1,\"location\":{\"lon\":1,\"lat\":91}}", "{" + TIME + ",\"sensor_id\":1,\"location\":[1,2]}",
        "{" + TIME + ",\"sensor_id\":1,\"location\":{\"lon\":1,\"lat\":1,\"alt\":1}}", "{" + TIME + ",\"sensor_id\":1,\"x\":tru}",
        "{" + TIME + ",\"sensor_id\":1,\"x\":01}", "{" + TIME + ",\"sensor_id\":1,}", "[]", "", "{}",
        "{\"sensor_id\":1,\"timestamp\":\"2023-02-29 10:06:04.095931\"}", "{\"sensor_id\":1,\"timestamp\":\"2024-01-21T10:06:04.095931\"}",
        "{\"sensor_id\":1,\"timestamp\":\"2262-04-11 23:47:16.854776\"}", "{\"sensor_id\":1,\"timestamp\":\"2024-01-21 10:06:04.095931Z\"}"})
    void whatIsNotCertainIsLeftToTheStrictReader(String text) {
        assertNull(read(text));
    }

    @Test
    void itIsNeverTooSureOfASharedVector() {
        Vectors.records().stream().map(Vectors::line).forEach(this::assertNeverTooSure);
    }

    /** Records put together and spoiled by chance, each also read strictly. */
    @Test
    void itIsNeverTooSure() {
        Random random = new Random(5);
        List<String> pieces = new ArrayList<>(List.of("{", "}", ",", ":", "\"sensor_id\"", "\"timestamp\"", "\"temperature\"",
                "\"station\"", "\"location\"", "\"lon\"", "\"lat\"", "\"x\"", "\"\"", "\"_a\"", "\"a.b\"", "1", "-0", "0", "-1", "1.5",
                "1e5", "00", "1.", "null", "true", "[1]", "{}", " ", "\t", "\n", "\"é\"", "\"\\u00e9\"", "\"2024-01-21 10:06:04.095931\"",
                "\"2024-01-21T10:06:04Z\"", "\"2024-02-30 10:06:04.000000\"", "1000", "1000.0000000001", "999999999999999999999"));
        String good = "{\"sensor_id\":1," + TIME + ",\"temperature\":1.5,\"station\":\"Sète\",\"seq\":7,"
                + "\"location\":{\"lon\":1.25,\"lat\":2},\"x\":true,\"n\":-12.5}";
        int taken = 0;
        for (int i = 0; i < 200_000; i++) {
            ByteArrayOutputStream spoiled = new ByteArrayOutputStream();
            byte[] bytes = good.getBytes(StandardCharsets.UTF_8);
            int from = random.nextInt(bytes.length);
            int to = Math.min(bytes.length, from + random.nextInt(4));
            spoiled.write(bytes, 0, from);
            if (random.nextBoolean()) {
                spoiled.writeBytes(pieces.get(random.nextInt(pieces.size())).getBytes(StandardCharsets.UTF_8));
            } else {
                spoiled.write(random.nextInt(256));
            }
            spoiled.write(bytes, to, bytes.length - to);
            byte[] text = spoiled.toByteArray();
            assertNeverTooSure(text);
            taken += reader.read(text) == null ? 0 : 1;
        }
        assertTrue(taken > 5000, "it would prove nothing if it took none: " + taken);
    }

    @Test
    void numbersAreComparedWithTheirLimitsAsEveryOtherReaderDoes() {
        Random random = new Random(6);
        for (int i = 0; i < 100_000; i++) {
            String number = (random.nextBoolean() ? "-" : "") + random.nextInt(1100) + "." + Long.toString(
                    Math.abs(random.nextLong() % 1_000_000_000_000L));
            assertNeverTooSure(("{\"sensor_id\":1," + TIME + ",\"temperature\":" + number + "}").getBytes(StandardCharsets.UTF_8));
            String near = "{\"sensor_id\":1," + TIME + ",\"temperature\":-273.15000000000" + random.nextInt(100) + "}";
            assertNeverTooSure(near.getBytes(StandardCharsets.UTF_8));
        }
    }

    @Test
    void theCanonicalTimeIsReadAsEveryOtherForm() {
        Random random = new Random(8);
        for (int i = 0; i < 300_000; i++) {
            byte[] text = Timestamps.canonical((long) (random.nextDouble() * Timestamps.LAST)).getBytes(StandardCharsets.US_ASCII);
            if (random.nextInt(3) == 0) {
                text[random.nextInt(text.length)] = (byte) ("0123456789-: .,T".charAt(random.nextInt(16)));
            }
            long micros = Timestamps.canonicalMicros(text, 0);
            String string = new String(text, StandardCharsets.US_ASCII);
            long expected = Timestamps.micros(string);
            boolean canonical = expected != Timestamps.INVALID && Timestamps.canonical(expected).equals(string);
            assertEquals(canonical ? expected : Timestamps.INVALID, micros, string);
        }
        for (JsonNode vector : Vectors.timestamps()) {
            if (!vector.get("micros").isNull()) {
                assertEquals(vector.get("micros").asLong(), Timestamps.canonicalMicros(
                        vector.get("canonical").asText().getBytes(StandardCharsets.US_ASCII), 0));
            }
        }
    }
}
