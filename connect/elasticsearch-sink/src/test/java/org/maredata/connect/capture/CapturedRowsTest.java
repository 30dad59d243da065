package org.maredata.connect.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Rows of every type, as Debezium 3.5.0 captured their inserts from MariaDB 11.4.5, beside the documents and ids that
 * `extraction/convert.py` made of the very same rows.
 */
class CapturedRowsTest {
    private static final JsonNode CAPTURED = captured();

    private static JsonNode captured() {
        try (InputStream file = CapturedRowsTest.class.getResourceAsStream("captured.json")) {
            return Capture.MAPPER.readTree(file);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static SinkRecord apply(JsonNode row) {
        RowDocument<SinkRecord> transform = Capture.transform(CAPTURED.get("layouts").get(row.get("table").textValue()).toString());
        return transform.apply(Capture.record(Capture.bytes(row.get("value").textValue())));
    }

    static Stream<JsonNode> written() {
        return rows("document");
    }

    static Stream<JsonNode> refused() {
        return rows("refused");
    }

    static Stream<JsonNode> alike() {
        return rows("alike");
    }

    private static Stream<JsonNode> rows(String outcome) {
        return StreamSupport.stream(CAPTURED.get("rows").spliterator(), false).filter(row -> row.has(outcome));
    }

    @ParameterizedTest
    @MethodSource("written")
    void theDocumentAndItsIdAreThoseOfExtraction(JsonNode row) {
        SinkRecord made = apply(row);
        String expected = row.get("document").textValue();
        assertEquals(Capture.tree(expected), Capture.tree(Capture.text(made)));
        assertEquals(Capture.cells(expected), Capture.cells(Capture.text(made)), "the numbers' texts");
        assertEquals(row.get("id").textValue(), made.key());
    }

    @ParameterizedTest
    @MethodSource("refused")
    void whatExtractionSetsAsideIsRefused(JsonNode row) {
        DataException e = assertThrows(DataException.class, () -> apply(row));
        String what = row.get("refused").textValue();
        assertTrue(e.getMessage().contains(what.substring(0, what.indexOf(':'))), e.getMessage());
    }

    /** The server's year 0 is what Debezium makes 1970 of, as of the zero date. */
    @ParameterizedTest
    @MethodSource("alike")
    void whatDebeziumWritesAsAnotherValueIsRefused(JsonNode row) {
        DataException e = assertThrows(DataException.class, () -> apply(row));
        assertTrue(e.getMessage().startsWith("bad_timestamp: column " + row.get("alike").textValue()), e.getMessage());
    }

    @Test
    void laterTransactionsHaveGreaterVersions() {
        long last = 0;
        for (JsonNode row : written().toList()) {
            long version = Capture.version(apply(row));
            assertTrue(version > last, row.toString());
            last = version;
        }
    }
}
