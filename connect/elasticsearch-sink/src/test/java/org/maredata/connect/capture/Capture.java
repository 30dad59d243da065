package org.maredata.connect.capture;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.cfg.JsonNodeFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Headers;
import org.apache.kafka.connect.sink.SinkRecord;
import org.maredata.connect.StrictJson;
import org.maredata.connect.elasticsearch.VersionHeader;

/** What the tests of this package share: layouts of one column, and records as the worker hands them over. */
final class Capture {
    static final ObjectMapper MAPPER = JsonMapper.builder().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .disable(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES).build();
    /** A key that every row of {@link #change} has. */
    static final String ID = column("id", "int", false, 0, 10);

    private Capture() {
    }

    static String column(String name, String type, boolean nullable, int digits, int precision) {
        return "{\"name\":\"" + name + "\",\"type\":\"" + type + "\",\"nullable\":" + nullable + ",\"digits\":" + digits
                + ",\"precision\":" + precision + ",\"json\":false}";
    }

    static String field(String name, String kind, String zone, boolean asString, String... columns) {
        return "{\"name\":\"" + name + "\",\"kind\":\"" + kind + "\",\"columns\":[" + String.join(",", columns) + "],\"zone\":\""
                + zone + "\",\"as_string\":" + asString + "}";
    }

    static String layout(String deletes, String... fields) {
        return "{\"fields\":[" + String.join(",", fields) + "],\"key\":[" + ID + "],\"deletes\":\"" + deletes + "\"}";
    }

    static RowDocument<SinkRecord> transform(String layout) {
        RowDocument<SinkRecord> transform = new RowDocument<>();
        transform.configure(Map.of("layout", layout));
        return transform;
    }

    /** An envelope whose images are JSON objects, or null. */
    static String change(String op, String before, String after) {
        return "{\"before\":" + before + ",\"after\":" + after
                + ",\"source\":{\"file\":\"mare.000002\",\"pos\":345,\"row\":7},\"op\":\"" + op + "\",\"ts_ms\":1}";
    }

    static SinkRecord record(Object value, String... headers) {
        Headers all = new ConnectHeaders();
        for (String header : headers) {
            all.addBytes(header, bytes("{}"));
        }
        return new SinkRecord("legacy.trial", 0, null, bytes("{\"id\":1}"), null, value, 9, 1234L, null, all);
    }

    /** The document's text of a row with id 1 whose column v has that JSON. */
    static String document(String field, String json) {
        SinkRecord made = transform(layout("keep", field)).apply(record(bytes(change("c", "null", "{\"id\":1,\"v\":" + json + "}"))));
        return text(made);
    }

    static String text(SinkRecord made) {
        return new String((byte[]) made.value(), StandardCharsets.UTF_8);
    }

    static long version(SinkRecord made) {
        return (Long) made.headers().lastWithName(VersionHeader.NAME).value();
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static JsonNode tree(String json) {
        try {
            return MAPPER.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The members with their numbers as they are written. */
    static Map<String, Cell> cells(String json) {
        try (StrictJson reader = new StrictJson(bytes(json), 100)) {
            return Cell.membersOf(reader);
        }
    }
}
