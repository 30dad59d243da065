package org.maredata.connect.elasticsearch;

import com.fasterxml.jackson.core.JsonToken;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.maredata.connect.Reason;
import org.maredata.connect.Texts;
import org.maredata.connect.Timestamps;

/**
 * A text with placeholders, from which an index name or a document id is made: {@code {topic}},
 * {@code {partition}}, {@code {offset}}, {@code {field}}, {@code {field:epoch_micros}} and
 * {@code {field:yyyy.MM}}, the date pattern being any of Java's DateTimeFormatter, in UTC.
 */
final class Template {
    /** A top-level value of the record, as it stands in its JSON. */
    record Value(JsonToken type, String text) {
    }

    private interface Part {
        String text(SinkRecord record, Map<String, Value> values);
    }

    private static final Pattern PLACEHOLDER = Pattern.compile("\\{([^{}:]+)(?::([^{}]+))?}");
    private static final String EPOCH_MICROS = "epoch_micros";

    private final List<Part> parts = new ArrayList<>();
    private final Set<String> fields = new LinkedHashSet<>();

    /** @param option the name of the option, for the message of the ConfigException if the text is no template */
    Template(String option, String text) {
        Matcher placeholder = PLACEHOLDER.matcher(text);
        int done = 0;
        while (placeholder.find()) {
            addLiteral(option, text, text.substring(done, placeholder.start()));
            try {
                parts.add(part(placeholder.group(1), placeholder.group(2)));
            } catch (IllegalArgumentException e) {
                throw new ConfigException(option, text, placeholder.group() + ": " + e.getMessage());
            }
            done = placeholder.end();
        }
        addLiteral(option, text, text.substring(done));
        if (parts.isEmpty()) {
            throw new ConfigException(option, text, "write a text, such as {topic}");
        }
    }

    /** The top-level fields that {@link #text} needs. */
    Set<String> fields() {
        return fields;
    }

    /** Fills in the placeholders; throws RefusedException if a field is missing, null or doesn't fit its placeholder. */
    String text(SinkRecord record, Map<String, Value> values) {
        StringBuilder text = new StringBuilder();
        for (Part part : parts) {
            text.append(part.text(record, values));
        }
        return text.toString();
    }

    private void addLiteral(String option, String text, String literal) {
        if (literal.indexOf('{') >= 0 || literal.indexOf('}') >= 0) {
            throw new ConfigException(option, text,
                    "a placeholder is {topic}, {partition}, {offset}, {field}, {field:epoch_micros} or {field:yyyy.MM}");
        }
        if (!literal.isEmpty()) {
            parts.add((record, values) -> literal);
        }
    }

    private Part part(String name, String format) {
        if (format == null) {
            switch (name) {
                case "topic":
                    return (record, values) -> record.topic();
                // Where the record lies in Kafka, whatever a transform made of it: that alone is unique.
                case "partition":
                    return (record, values) -> String.valueOf(record.originalKafkaPartition());
                case "offset":
                    return (record, values) -> String.valueOf(record.originalKafkaOffset());
                default:
                    fields.add(name);
                    return (record, values) -> plain(name, values.get(name));
            }
        }
        fields.add(name);
        if (format.equals(EPOCH_MICROS)) {
            return (record, values) -> Long.toString(micros(name, values.get(name)));
        }
        DateTimeFormatter pattern = DateTimeFormatter.ofPattern(format, Locale.ROOT).withZone(ZoneOffset.UTC);
        pattern.format(Instant.EPOCH);
        return (record, values) -> pattern.format(Instant.EPOCH.plus(micros(name, values.get(name)), ChronoUnit.MICROS));
    }

    private static String plain(String name, Value value) {
        requirePresent(name, value);
        switch (value.type) {
            case VALUE_STRING:
                if (Texts.hasHalfPair(value.text)) {
                    throw Reason.OUT_OF_LIMITS.because("field " + name + " holds half a surrogate pair");
                }
                return value.text;
            case VALUE_NUMBER_INT:
                // The one integer that JSON can write in two ways.
                return value.text.equals("-0") ? "0" : value.text;
            case VALUE_TRUE, VALUE_FALSE:
                return value.text;
            default:
                throw Reason.WRONG_TYPE.because("field " + name + " must be a text, an integer or a boolean to be part "
                        + "of an index name or id, not " + Reason.quote(value.text));
        }
    }

    private static long micros(String name, Value value) {
        requirePresent(name, value);
        long micros = value.type == JsonToken.VALUE_STRING ? Timestamps.micros(value.text) : Timestamps.INVALID;
        if (micros == Timestamps.INVALID) {
            throw Reason.BAD_TIMESTAMP.because("field " + name + " must be like 2024-01-21 10:06:04.095931 or "
                    + "2024-01-21T10:06:04Z, between 1970 and 2262, not " + Reason.quote(value.text));
        }
        return micros;
    }

    private static void requirePresent(String name, Value value) {
        if (value == null || value.type == JsonToken.VALUE_NULL) {
            throw Reason.MISSING_FIELD.because("field " + name + " is needed for the index name or id, "
                    + "and was missing or null");
        }
    }
}
