package org.maredata.connect;

import com.fasterxml.jackson.core.JsonToken;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.components.Versioned;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Makes a document of a line that was rejected: the value is the line, whatever bytes it holds, and the headers
 * say why. It is a transform and not a converter because a converter doesn't see the record's own timestamp,
 * which stands in where there are no headers: no rejected line may be lost for want of them.
 */
public final class RejectedDocument<R extends ConnectRecord<R>> implements Transformation<R>, Versioned {
    static final String UNKNOWN = "unknown";

    @Override
    public void configure(Map<String, ?> properties) {
        // There is nothing to choose.
    }

    /** The record with a Map for its value; a record without a value is no line, and is left for the sink to judge. */
    @Override
    public R apply(R record) {
        if (record.value() == null) {
            return record;
        }
        if (!(record.value() instanceof byte[] line)) {
            throw new DataException("RejectedDocument takes the line's own bytes: set value.converter to "
                    + "org.apache.kafka.connect.converters.ByteArrayConverter");
        }
        return record.newRecord(record.topic(), record.kafkaPartition(), record.keySchema(), record.key(), null,
                document(record, line), record.timestamp());
    }

    @Override
    public ConfigDef config() {
        return new ConfigDef();
    }

    @Override
    public void close() {
        // Nothing is held.
    }

    @Override
    public String version() {
        return Version.text();
    }

    private static Map<String, Object> document(ConnectRecord<?> record, byte[] line) {
        Map<String, Object> document = new LinkedHashMap<>();
        document.put("timestamp", Timestamps.canonical(received(record)));
        String reason = header(record, "reason");
        document.put("reason", reason == null ? UNKNOWN : reason);
        putUnlessNull(document, "detail", header(record, "detail"));
        putUnlessNull(document, "sender", header(record, "sender"));
        putUnlessNull(document, "sensor_id", sensorId(line));
        document.put("bytes", (long) line.length);
        String text = text(line);
        if (text != null) {
            document.put("line", text);
        } else {
            document.put("line_base64", Base64.getEncoder().encodeToString(line));
        }
        return document;
    }

    /** In microseconds since 1970. */
    private static long received(ConnectRecord<?> record) {
        String header = header(record, "received");
        long micros = header == null ? Timestamps.INVALID : Timestamps.micros(header);
        if (micros != Timestamps.INVALID) {
            return micros;
        }
        Long millis = record.timestamp();
        if (millis == null || millis < 0 || millis > Timestamps.LAST / 1000) {
            throw Reason.BAD_TIMESTAMP.because("neither a header received nor the record itself says when the line came");
        }
        return millis * 1000;
    }

    /** Text in every case: a header may hold half a character, which must not cost the line. */
    private static String header(ConnectRecord<?> record, String name) {
        Header header = record.headers().lastWithName(name);
        if (header == null || header.value() == null) {
            return null;
        }
        return header.value() instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8)
                : header.value().toString();
    }

    /** The integer sensor_id of a line that is JSON, else null. */
    private static Long sensorId(byte[] line) {
        Long found = null;
        int times = 0;
        try (StrictJson json = new StrictJson(line, ReadingConverter.MAX_DEPTH)) {
            while (json.next() != JsonToken.END_OBJECT) {
                String name = json.text();
                JsonToken type = json.next();
                if (name.equals("sensor_id")) {
                    found = ++times == 1 && type == JsonToken.VALUE_NUMBER_INT ? integer(json.text()) : null;
                }
                json.skip();
            }
            json.end();
        } catch (RefusedException e) {
            // These two are said of JSON that could be read to its end: it has a sensor all the same.
            return e.reason() == Reason.DUPLICATE_FIELD || e.reason() == Reason.TOO_DEEP ? found : null;
        }
        return found;
    }

    private static Long integer(String text) {
        try {
            return Long.valueOf(text);
        } catch (NumberFormatException e) {
            return null;
        }
    }

    /** The line as text, or null if it isn't valid UTF-8. */
    private static String text(byte[] line) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(line)).toString();
        } catch (CharacterCodingException e) {
            return null;
        }
    }

    private static void putUnlessNull(Map<String, Object> document, String name, Object value) {
        if (value != null) {
            document.put(name, value);
        }
    }
}
