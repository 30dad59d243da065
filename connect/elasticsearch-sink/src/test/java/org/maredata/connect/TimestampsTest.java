package org.maredata.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class TimestampsTest {
    static List<JsonNode> vectors() {
        return Vectors.timestamps();
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void agreesWithTheSharedVectors(JsonNode vector) {
        long micros = Timestamps.micros(vector.get("input").asText());
        assertEquals(vector.get("micros").isNull() ? Timestamps.INVALID : vector.get("micros").asLong(), micros);
        if (micros != Timestamps.INVALID) {
            assertEquals(vector.get("canonical").asText(), Timestamps.canonical(micros));
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1969-12-31 23:59:59-00:01, 59000000",
        "1969-12-31 23:59:58.999999-00:00:01, -1",
        "1969-12-31 06:00:00-18:00, 0",
        "1969-12-31 05:59:59.999999-18:00, -1",
        "2262-04-12 17:47:16.854775+18:00, 9223372036854775",
        "2262-04-12 17:47:16.854776+18, -1",
        "9999-12-31 23:59:59Z, -1",
        "2024-01-21 10:06:04z, 1705831564000000",
        "2024-01-21 10:06:04-0000, 1705831564000000",
        "2100-02-29 00:00:00, -1"})
    void edges(String text, long micros) {
        assertEquals(micros, Timestamps.micros(text));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "2024-01-21 10:06:04ZZ", "2024-01-21 10:06:04+", "2024-01-21 10:06:04+1", "2024-01-21 10:06:04+1:00",
        "2024-01-21 10:06:04+01:0", "2024-01-21 10:06:04+01:00:00", "2024-01-21 10:06:04+01:00Z",
        "2024-01-21 10:06:04+-1:00", "2024-01-21 10:06:04.Z", "2024-01-21 10:06:04,", "2024-01-21\u00a010:06:04",
        "2024-01-21T10:06:04\u2212" + "01:00", "2024-01-21 10:06:0\u0664", "2024-01-21 10:06:04.\u0664",
        "2024-01-21 10:06:04\u0000", "-024-01-21 10:06:04", "+2024-01-21 10:06:04", "2024-01-21 10-06-04",
        "2024-04-31 00:00:00", "2024-01-32 00:00:00", "2024-01-21 +9:00:00", "2024-01-21 10:06:04 +01:00"})
    void refuses(String text) {
        assertEquals(Timestamps.INVALID, Timestamps.micros(text));
    }

    @Test
    void everyInstantSurvivesEveryFormItCanBeWrittenIn() {
        Random random = new Random(4);
        for (int i = 0; i < 20_000; i++) {
            long micros = (long) (random.nextDouble() * Timestamps.LAST);
            Instant instant = Instant.EPOCH.plus(micros, ChronoUnit.MICROS);
            assertEquals(micros, Timestamps.micros(Timestamps.canonical(micros)));
            ZoneOffset offset = ZoneOffset.ofTotalSeconds((random.nextInt(2 * 18 * 60 + 1) - 18 * 60) * 60);
            String iso = OffsetDateTime.ofInstant(instant, offset)
                    .format(DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS"));
            String sign = offset.getTotalSeconds() < 0 ? "-" : "+";
            int minutes = Math.abs(offset.getTotalSeconds()) / 60;
            String colon = random.nextBoolean() ? ":" : "";
            assertEquals(micros, Timestamps.micros(iso + random.nextInt(10)
                    + String.format("%s%02d%s%02d", sign, minutes / 60, colon, minutes % 60)), iso);
        }
    }

    @Test
    void noSingleChangedCharacterIsReadAsTheSameInstant() {
        String text = "2024-01-21 10:06:04.095931";
        long micros = Timestamps.micros(text);
        for (int at = 0; at < text.length(); at++) {
            for (char c = 0; c < 0x700; c++) {
                if (c != text.charAt(at) && !(at == 10 && (c == 'T' || c == 't')) && !(at == 19 && c == ',')) {
                    assertNotEquals(micros, Timestamps.micros(text.substring(0, at) + c + text.substring(at + 1)));
                }
            }
        }
    }
}
