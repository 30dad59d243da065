package org.maredata.connect.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.kafka.connect.errors.DataException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the server's own rows in {@link CapturedRowsTest} don't show, or not by name. */
class KindTest {
    private static final long DAY_MICROS = 86_400_000_000L;

    private static String field(String kind, String type, int digits, String zone, boolean nullable) {
        return Capture.field("v", kind, zone, false, Capture.column("v", type, nullable, digits, 0));
    }

    private static String field(String kind, String type) {
        return field(kind, type, 0, "UTC", true);
    }

    private static String refusal(String field, String json) {
        return assertThrows(DataException.class, () -> Capture.document(field, json)).getMessage();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "integer | bigint    | \"AP//////////\"            | 18446744073709551615",
        "integer | bigint    | -9223372036854775808        | -9223372036854775808",
        "integer | bit       | \"//////////8=\"            | 18446744073709551615",
        "integer | bit       | \"AQI=\"                    | 513",
        "integer | year      | 1900                        | 0",
        "integer | year      | 2155                        | 2155",
        "boolean | bit       | true                        | true",
        "boolean | bit       | false                       | false",
        "boolean | tinyint   | -128                        | true",
        "boolean | tinyint   | 0                           | false",
        "decimal | decimal   | \"-0.10\"                   | -0.10",
        "decimal | decimal   | \"1E-7\"                    | 0.0000001",
        "double  | float     | 0.1                         | 0.10000000149011612",
        "double  | float     | 3.4028235E38                | 3.4028234663852886e+38",
        "double  | double    | -0.0                        | -0.0",
        "double  | double    | 4.9E-324                    | 5e-324",
        "text    | varchar   | \"\\ud83d\\ude00\\n\\u0000\" | \"😀\\n\\u0000\"",
        "text    | enum      | \"p\\\\,q\\\\\\\\\"         | \"p,q\\\\\"",
        "set     | set       | \"\"                        | []",
        "set     | set       | \"a,b's\"                   | [\"a\",\"b's\"]",
        "json    | longtext  | \"{\\\"a\\\":\\t1.10,\\r\\n\\\"b\\\":1e400}\" | {\"a\":\t1.10,  \"b\":1e400}",
        "json    | longtext  | \"[1.]\"                    | \"[1.]\"",
        "json    | longtext  | \"NaN\"                     | \"NaN\"",
        "json    | longtext  | \"\"                        | \"\"",
        "json    | longtext  | \"1 2\"                     | \"1 2\"",
        "json    | longtext  | \"[1\"                      | \"[1\"",
        "json    | longtext  | \"\\ufeff1\"                | \"\ufeff1\"",
        "json    | longtext  | \"\\\"\\\\ud800\\\"\"       | \"\\\"\\\\ud800\\\"\"",
        "json    | longtext  | \"{\\\"\\\\udc00\\\":1}\"   | \"{\\\"\\\\udc00\\\":1}\"",
        "json    | longtext  | \"null\"                    | null",
        "bytes   | blob      | \"AP8=\"                    | \"AP8=\"",
        "bytes   | blob      | \"\"                        | \"\"",
        "date    | date      | -719162                     | \"0001-01-01\"",
        "date    | date      | 2932896                     | \"9999-12-31\"",
        "datetime | timestamp | \"2024-01-01T00:00:00.25Z\" | \"2024-01-01 00:00:00.250000\"",
        "point   | point     | {\"wkb\":\"AQEAAAAAAAAAAAAEQAAAAAAAoERA\",\"srid\":null} | {\"lon\":2.5,\"lat\":41.25}"})
    void aValueIsWrittenAsExtractionWritesIt(String kind, String type, String came, String written) {
        assertEquals("{\"v\":" + written + "}", Capture.document(field(kind, type), came));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "0 | -3020399000000 | \"-838:59:59\"", "6 | -1 | \"-00:00:00.000001\"", "1 | -45296700000 | \"-12:34:56.7\"",
        "3 | 90000500000 | \"25:00:00.500\"", "0 | 0 | \"00:00:00\""})
    void aTimeIsPrintedWithTheColumnsDigits(int digits, String micros, String written) {
        assertEquals("{\"v\":" + written + "}", Capture.document(field("time", "time", digits, "UTC", true), micros));
    }

    @ParameterizedTest
    @ValueSource(strings = {"integer", "boolean", "decimal", "double", "text", "set", "json", "time", "date", "datetime", "bytes", "point"})
    void nullIsLeftOut(String kind) {
        String second = Capture.field("x", "integer", "UTC", false, Capture.column("id", "int", false, 0, 0));
        String change = Capture.change("c", "null", "{\"id\":1,\"v\":null}");
        var transform = Capture.transform(Capture.layout("keep", field(kind, "varchar"), second));
        assertEquals("{\"x\":1}", Capture.text(transform.apply(Capture.record(Capture.bytes(change)))));
    }

    @Test
    void aPlaceNeedsBothOfItsColumns() {
        String column = Capture.column("v", "double", true, 0, 0);
        String place = Capture.field("at", "place", "UTC", false, column, Capture.column("id", "int", false, 0, 0));
        String mirrored = Capture.field("at", "place", "UTC", false, Capture.column("id", "int", false, 0, 0), column);
        assertEquals("{\"at\":{\"lon\":-2.5,\"lat\":1}}", Capture.document(place, "-2.5"));
        assertEquals("{}", Capture.document(place, "null"));
        assertEquals("{}", Capture.document(mirrored, "null"));
    }

    @Test
    void aDecimalCanBeAString() {
        String field = Capture.field("v", "decimal", "UTC", true, Capture.column("v", "decimal", true, 0, 0));
        assertEquals("{\"v\":\"1.50\"}", Capture.document(field, "\"1.50\""));
    }

    @Test
    void zeroDatesAreLeftOut() {
        assertEquals("{}", Capture.document(field("datetime", "timestamp", 0, "UTC", false), "\"1970-01-01T00:00:00Z\""));
        // The year 0, which Python's calendar doesn't have.
        assertEquals("{}", Capture.document(field("date", "date"), "-719403"));
        assertEquals("{}", Capture.document(field("datetime", "datetime"), Long.toString(-719403 * DAY_MICROS)));
    }

    @Test
    void theEpochIsToldFromTheZeroDateOnlyWhereNullIsAllowed() {
        assertEquals("{\"v\":\"1970-01-01\"}", Capture.document(field("date", "date"), "0"));
        assertEquals("{\"v\":\"1970-01-01 00:00:00.000000\"}", Capture.document(field("datetime", "datetime"), "0"));
        assertTrue(refusal(field("date", "date", 0, "UTC", false), "0").startsWith("bad_timestamp: "));
        assertTrue(refusal(field("datetime", "datetime", 0, "UTC", false), "0").startsWith("bad_timestamp: "));
        assertEquals("{\"v\":\"1970-01-02\"}", Capture.document(field("date", "date", 0, "UTC", false), "1"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "Europe/Madrid     | 2024-03-31T01:59:59.999999Z | 2024-03-31 00:59:59.999999",
        "Europe/Madrid     | 2024-03-31T03:00:00Z        | 2024-03-31 01:00:00.000000",
        "Europe/Madrid     | 2024-10-27T02:00:00Z        | 2024-10-27 00:00:00.000000",
        "Europe/Madrid     | 2024-10-27T02:59:59.999999Z | 2024-10-27 00:59:59.999999",
        "Europe/Madrid     | 2024-10-27T03:00:00Z        | 2024-10-27 02:00:00.000000",
        "America/Sao_Paulo | 2018-02-17T23:30:00Z        | 2018-02-18 01:30:00.000000",
        "UTC               | 9999-12-31T23:59:59.999999Z | 9999-12-31 23:59:59.999999",
        "UTC               | 0001-01-01T00:00:00Z        | 0001-01-01 00:00:00.000000"})
    void aLocalTimeBecomesUtcAndOfTwoTheFirst(String zone, String local, String utc) {
        assertEquals("{\"v\":\"" + utc + "\"}", Capture.document(field("datetime", "datetime", 6, zone, false), micros(local)));
    }

    @ParameterizedTest
    @CsvSource({"Europe/Madrid, 2024-03-31T02:00:00Z", "Europe/Madrid, 2024-03-31T02:59:59.999999Z",
        "America/Sao_Paulo, 2018-11-04T00:30:00Z"})
    void aTimeThatTheClocksLeftOutIsRefused(String zone, String local) {
        String message = refusal(field("datetime", "datetime", 6, zone, false), micros(local));
        assertTrue(message.startsWith("bad_timestamp: column v: the clocks of " + zone + " never showed"), message);
    }

    @ParameterizedTest
    @CsvSource({"America/Sao_Paulo, 9999-12-31T23:00:00Z", "Asia/Tokyo, 0001-01-01T00:00:00Z"})
    void whatIsBeyondTheCalendarInUtcIsRefused(String zone, String local) {
        String message = refusal(field("datetime", "datetime", 6, zone, false), micros(local));
        assertTrue(message.contains("is beyond the calendar"), message);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "integer  | int       | \"AQ==\"                  | wrong_type", "integer | int    | 1.5      | wrong_type",
        "integer  | tinyint   | true                      | wrong_type", "integer | bigint | \"\"     | wrong_type",
        "integer  | bigint    | \"%\"                     | wrong_type", "integer | bit    | 5        | wrong_type",
        "boolean  | tinyint   | \"1\"                     | wrong_type", "decimal | decimal | 1.5     | wrong_type",
        "decimal  | decimal   | \"x\"                     | wrong_type", "double  | double | \"1.5\"  | wrong_type",
        "set      | set       | 1                         | wrong_type", "json    | longtext | {}     | wrong_type",
        "time     | time      | \"12:00:00\"              | wrong_type", "time    | time   | 99999999999999999999 | wrong_type",
        "date     | date      | \"2024-01-01\"            | wrong_type", "date    | date   | 2932897  | bad_timestamp",
        "date     | date      | 9223372036854775807       | bad_timestamp", "date  | date   | -999999  | bad_timestamp",
        "datetime | datetime  | \"2024-01-01T00:00:00Z\"  | wrong_type", "datetime | datetime | 253402300800000000 | bad_timestamp",
        "datetime | timestamp | 5                         | wrong_type", "datetime | timestamp | \"5\" | wrong_type",
        "bytes    | blob      | \"é\"                     | wrong_type", "point   | point  | \"AQ==\" | wrong_type",
        "point    | point     | {\"srid\":0}              | wrong_type", "point   | point  | {\"wkb\":\"AQ==\"} | wrong_type",
        "point    | point     | {\"wkb\":\"AQEAAAAAAAAAAAAEQAAAAAAAoERA\",\"srid\":25830} | out_of_limits",
        "point    | point     | {\"wkb\":\"AAEAAAAAAAAAAAAEQAAAAAAAoERA\",\"srid\":0}     | wrong_type",
        "point    | point     | {\"wkb\":\"AQIAAAAAAAAAAAAEQAAAAAAAoERA\",\"srid\":0}     | wrong_type",
        "text     | uuid      | \"00000000-0000-0000-0000-000000000001\" | out_of_limits"})
    void whatTheColumnCanNotHoldIsRefused(String kind, String type, String came, String code) {
        String message = refusal(field(kind, type), came);
        assertTrue(message.startsWith(code + ": column v"), message);
    }

    private static String micros(String instant) {
        java.time.Instant parsed = java.time.Instant.parse(instant);
        return Long.toString(parsed.getEpochSecond() * 1_000_000 + parsed.getNano() / 1000);
    }
}
