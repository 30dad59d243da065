package org.maredata.connect;

import com.fasterxml.jackson.core.JsonToken;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.data.Schema;

/** The kinds of field a schema may have, and how each is read: strictly, without any conversion. */
enum FieldKind {
    INTEGER("an integer without fraction or exponent", Schema.Type.INT64, "minimum", "maximum") {
        @Override
        Object read(StrictJson json, ReadingField field, Rewrites rewrites) {
            if (json.token() != JsonToken.VALUE_NUMBER_INT) {
                throw field.wrongType(json);
            }
            try {
                long value = Long.parseLong(json.text());
                field.requireWithinLimits(value);
                return value;
            } catch (NumberFormatException e) {
                throw field.outOfLimits(json.text());
            }
        }
    },
    NUMBER("a number", Schema.Type.FLOAT64, "minimum", "maximum") {
        @Override
        Object read(StrictJson json, ReadingField field, Rewrites rewrites) {
            if (!json.token().isNumeric()) {
                throw field.wrongType(json);
            }
            double value = Double.parseDouble(json.text());
            if (Double.isInfinite(value)) {
                throw field.outOfLimits(json.text());
            }
            field.requireWithinLimits(value);
            return value;
        }
    },
    TIMESTAMP("a text with a date and time", Schema.Type.STRING) {
        @Override
        Object read(StrictJson json, ReadingField field, Rewrites rewrites) {
            if (json.token() != JsonToken.VALUE_STRING) {
                throw field.wrongType(json);
            }
            String text = json.text();
            long micros = Timestamps.micros(text);
            if (micros == Timestamps.INVALID) {
                throw Reason.BAD_TIMESTAMP.because("field " + field.path() + " must be like 2024-01-21 10:06:04.095931 "
                        + "or 2024-01-21T10:06:04Z, between 1970 and 2262, not " + Reason.quote(text));
            }
            String canonical = Timestamps.canonical(micros);
            rewrites.text(json.start(), json.stop(), canonical);
            return canonical;
        }
    },
    TEXT("a text", Schema.Type.STRING, "max_length") {
        @Override
        Object read(StrictJson json, ReadingField field, Rewrites rewrites) {
            if (json.token() != JsonToken.VALUE_STRING) {
                throw field.wrongType(json);
            }
            String text = json.text();
            field.requireWithinLimits(text);
            if (Texts.hasHalfPair(text)) {
                throw field.outOfLimits(text);
            }
            return text;
        }
    },
    OBJECT("an object with just its own fields", Schema.Type.STRUCT) {
        @Override
        Object read(StrictJson json, ReadingField field, Rewrites rewrites) {
            if (json.token() != JsonToken.START_OBJECT) {
                throw field.wrongType(json);
            }
            return field.object().read(json, rewrites);
        }
    };

    /** The schema name that makes a text a timestamp. */
    static final String TIMESTAMP_SCHEMA = "org.maredata.Timestamp";

    private final String description;
    private final Schema.Type type;
    private final Set<String> parameters;

    FieldKind(String description, Schema.Type type, String... parameters) {
        this.description = description;
        this.type = type;
        this.parameters = Set.of(parameters);
    }

    /** The value at the current token; throws {@link RefusedException} if it isn't of this kind or in its limits. */
    abstract Object read(StrictJson json, ReadingField field, Rewrites rewrites);

    String description() {
        return description;
    }

    /** The schema parameters that limit this kind. */
    Set<String> parameters() {
        return parameters;
    }

    static FieldKind of(Schema schema, String path) {
        if (schema.type() == Schema.Type.STRING) {
            return TIMESTAMP_SCHEMA.equals(schema.name()) ? TIMESTAMP : TEXT;
        }
        return Arrays.stream(values()).filter(kind -> kind.type == schema.type()).findFirst()
                .orElseThrow(() -> new ConfigException("schema.content: field " + path + " is of type "
                        + schema.type().getName() + "; write one of " + Arrays.stream(values())
                        .map(kind -> kind.type.getName()).distinct().collect(Collectors.toList())
                        + " (float64 is 'double')"));
    }
}
