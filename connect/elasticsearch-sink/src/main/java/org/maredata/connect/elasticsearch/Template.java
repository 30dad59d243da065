package org.maredata.connect.elasticsearch;

import com.fasterxml.jackson.core.JsonToken;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
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
import org.maredata.connect.CheckedJson;
import org.maredata.connect.Reason;
import org.maredata.connect.Texts;
import org.maredata.connect.Timestamps;

/**
 * A text with placeholders, from which an index name or a document id is made: {@code {topic}},
 * {@code {partition}}, {@code {offset}}, {@code {key}}, {@code {field}}, {@code {field:epoch_micros}} and
 * {@code {field:yyyy.MM}}, the date pattern being any of Java's DateTimeFormatter, in UTC.
 */
final class Template {
    /** A top-level value of the record, as it stands in its JSON. */
    record Value(JsonToken type, String text) {
    }

    private static final long DAY_MICROS = 86_400_000_000L;
    private static final Pattern PLACEHOLDER = Pattern.compile("\\{([^{}:]+)(?::([^{}]+))?}");
    private static final Pattern BEYOND_DAYS = Pattern.compile("[^-._/ yuMLdDqQ]");
    private static final String EPOCH_MICROS = "epoch_micros";

    private final List<Part> parts = new ArrayList<>();
    private final Set<String> fields = new LinkedHashSet<>();
    private boolean usesKey;

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

    boolean usesKey() {
        return usesKey;
    }

    /** Fills in the placeholders; throws RefusedException if a field is missing, null or doesn't fit its placeholder. */
    String text(SinkRecord record, Map<String, Value> values) {
        StringBuilder text = new StringBuilder();
        for (Part part : parts) {
            text.append(part.text(record, values));
        }
        return text.toString();
    }

    /**
     * Adds the text as it stands inside a JSON string, made of the record's own bytes; false if it can't be made so:
     * then {@link #text} makes it, or says what is wrong.
     */
    boolean write(ByteBuilder to, SinkRecord record, CheckedJson json) {
        for (Part part : parts) {
            if (!part.write(to, record, json)) {
                return false;
            }
        }
        return true;
    }

    /**
     * True if the text is the same for all records of a topic with one {@link #day}: then it need be made only once
     * for each.
     */
    boolean isByDay() {
        return fields.size() <= 1 && parts.stream().allMatch(Part::isByDay);
    }

    /** The day, in days since 1970, that the text depends on; 0 if it depends on none, -1 if the record doesn't tell. */
    long day(CheckedJson json) {
        long day = 0;
        for (Part part : parts) {
            if (part instanceof Field field) {
                long micros = field.instant(json);
                day = micros == Timestamps.INVALID ? -1 : micros / DAY_MICROS;
            }
        }
        return day;
    }

    private void addLiteral(String option, String text, String literal) {
        if (literal.indexOf('{') >= 0 || literal.indexOf('}') >= 0) {
            throw new ConfigException(option, text, "a placeholder is {topic}, {partition}, {offset}, {key}, {field}, "
                    + "{field:epoch_micros} or {field:yyyy.MM}");
        }
        if (!literal.isEmpty()) {
            parts.add(new Literal(literal));
        }
    }

    private Part part(String name, String format) {
        if (format == null) {
            switch (name) {
                case "topic":
                    return new Topic();
                case "partition":
                    return new Coordinate(SinkRecord::originalKafkaPartition);
                case "offset":
                    return new Coordinate(SinkRecord::originalKafkaOffset);
                case "key":
                    usesKey = true;
                    return new Key();
                default:
                    fields.add(name);
                    return new Plain(name);
            }
        }
        fields.add(name);
        return format.equals(EPOCH_MICROS) ? new Micros(name) : new Dated(name, format);
    }

    private abstract static class Part {
        abstract String text(SinkRecord record, Map<String, Value> values);

        /** As {@link Template#write}. */
        boolean write(ByteBuilder to, SinkRecord record, CheckedJson json) {
            return false;
        }

        boolean isByDay() {
            return false;
        }
    }

    private static final class Literal extends Part {
        private final String text;
        private final byte[] json;

        Literal(String text) {
            this.text = text;
            this.json = DocumentWriter.escaped(text);
        }

        @Override
        String text(SinkRecord record, Map<String, Value> values) {
            return text;
        }

        @Override
        boolean write(ByteBuilder to, SinkRecord record, CheckedJson document) {
            to.add(json);
            return true;
        }

        @Override
        boolean isByDay() {
            return true;
        }
    }

    private static final class Topic extends Part {
        @Override
        String text(SinkRecord record, Map<String, Value> values) {
            return record.topic();
        }

        @Override
        boolean write(ByteBuilder to, SinkRecord record, CheckedJson json) {
            to.add(DocumentWriter.escaped(record.topic()));
            return true;
        }

        @Override
        boolean isByDay() {
            return true;
        }
    }

    /** Where the record lies in Kafka, whatever a transform made of it: that alone is unique. */
    private static final class Coordinate extends Part {
        private final java.util.function.ToLongFunction<SinkRecord> of;

        Coordinate(java.util.function.ToLongFunction<SinkRecord> of) {
            this.of = of;
        }

        @Override
        String text(SinkRecord record, Map<String, Value> values) {
            return Long.toString(of.applyAsLong(record));
        }

        @Override
        boolean write(ByteBuilder to, SinkRecord record, CheckedJson json) {
            to.add(of.applyAsLong(record));
            return true;
        }
    }

    private static final class Key extends Part {
        @Override
        String text(SinkRecord record, Map<String, Value> values) {
            Object key = record.key();
            if (key == null) {
                throw Reason.MISSING_FIELD.because("the record's key is needed for the index name or id, and there is none");
            }
            if (key instanceof byte[] bytes) {
                return decoded(ByteBuffer.wrap(bytes));
            }
            if (key instanceof ByteBuffer bytes) {
                return decoded(bytes.duplicate());
            }
            boolean plain = key instanceof String || key instanceof Boolean || key instanceof Long
                    || key instanceof Integer || key instanceof Short || key instanceof Byte;
            if (!plain) {
                throw Reason.WRONG_TYPE.because("the record's key must be a text, an integer or a boolean to be part of "
                        + "an index name or id, not " + Reason.quote(key.toString()));
            }
            return requireWhole(key.toString(), "the record's key");
        }

        private static String decoded(ByteBuffer bytes) {
            try {
                return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
            } catch (CharacterCodingException e) {
                throw Reason.ENCODING.because("the record's key isn't valid UTF-8");
            }
        }
    }

    private abstract static class Field extends Part {
        final String name;
        private Map<String, Integer> slots;
        private int slot;

        Field(String name) {
            this.name = name;
        }

        /** The number of the field among those whose places are known; -1 if it isn't among them. */
        final int slot(CheckedJson json) {
            if (json.slots() != slots) {
                slots = json.slots();
                slot = slots == null ? -1 : slots.getOrDefault(name, -1);
            }
            return slot;
        }

        /** The instant if the converter has read it; INVALID if it hasn't. */
        final long instant(CheckedJson json) {
            int at = slot(json);
            return at < 0 ? Timestamps.INVALID : json.instant(at);
        }

        final long micros(Value value) {
            requirePresent(name, value);
            long micros = value.type == JsonToken.VALUE_STRING ? Timestamps.micros(value.text) : Timestamps.INVALID;
            if (micros == Timestamps.INVALID) {
                throw Reason.BAD_TIMESTAMP.because("field " + name + " must be like 2024-01-21 10:06:04.095931 or "
                        + "2024-01-21T10:06:04Z, between 1970 and 2262, not " + Reason.quote(value.text));
            }
            return micros;
        }
    }

    private static final class Plain extends Field {
        Plain(String name) {
            super(name);
        }

        @Override
        String text(SinkRecord record, Map<String, Value> values) {
            Value value = values.get(name);
            requirePresent(name, value);
            switch (value.type) {
                case VALUE_STRING:
                    return requireWhole(value.text, "field " + name);
                case VALUE_NUMBER_INT:
                    // The one integer that JSON can write in two ways.
                    return value.text.equals("-0") ? "0" : value.text;
                case VALUE_TRUE, VALUE_FALSE:
                    return value.text;
                default:
                    throw Reason.WRONG_TYPE.because("field " + name + " must be a text, an integer or a boolean to be "
                            + "part of an index name or id, not " + Reason.quote(value.text));
            }
        }

        @Override
        boolean write(ByteBuilder to, SinkRecord record, CheckedJson json) {
            int slot = slot(json);
            if (slot < 0) {
                return false;
            }
            byte[] text = json.bytes();
            int start = json.start(slot);
            int end = json.end(slot);
            if (start == end) {
                return false;
            }
            if (text[start] == '"') {
                to.add(text, start + 1, end - 1);
                return true;
            }
            for (int i = start; i < end; i++) {
                if (text[i] != '-' && (text[i] < '0' || text[i] > '9')) {
                    return false;
                }
            }
            to.add(text, start, end);
            return true;
        }
    }

    private static final class Micros extends Field {
        Micros(String name) {
            super(name);
        }

        @Override
        String text(SinkRecord record, Map<String, Value> values) {
            return Long.toString(micros(values.get(name)));
        }

        @Override
        boolean write(ByteBuilder to, SinkRecord record, CheckedJson json) {
            long micros = instant(json);
            if (micros == Timestamps.INVALID) {
                return false;
            }
            to.add(micros);
            return true;
        }
    }

    private static final class Dated extends Field {
        private final DateTimeFormatter pattern;
        private final boolean byDay;

        Dated(String name, String format) {
            super(name);
            pattern = DateTimeFormatter.ofPattern(format, Locale.ROOT).withZone(ZoneOffset.UTC);
            pattern.format(Instant.EPOCH);
            byDay = !BEYOND_DAYS.matcher(format).find();
        }

        @Override
        String text(SinkRecord record, Map<String, Value> values) {
            return pattern.format(Instant.EPOCH.plus(micros(values.get(name)), ChronoUnit.MICROS));
        }

        @Override
        boolean isByDay() {
            return byDay;
        }
    }

    private static String requireWhole(String text, String what) {
        if (Texts.hasHalfPair(text)) {
            throw Reason.OUT_OF_LIMITS.because(what + " holds half a surrogate pair");
        }
        return text;
    }

    private static void requirePresent(String name, Value value) {
        if (value == null || value.type == JsonToken.VALUE_NULL) {
            throw Reason.MISSING_FIELD.because("field " + name + " is needed for the index name or id, "
                    + "and was missing or null");
        }
    }
}
