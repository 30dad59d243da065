package org.maredata.connect;

import com.fasterxml.jackson.core.JsonToken;
import java.math.BigDecimal;
import java.util.Map;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.data.Field;

/** One field of the schema: its kind, and its inclusive limits from the schema's parameters. */
final class ReadingField {
    private final Field field;
    private final String path;
    private final FieldKind kind;
    private final Map<String, String> parameters;
    private final long leastInteger;
    private final long mostInteger;
    private final double leastNumber;
    private final double mostNumber;
    private final int maxLength;
    private final ReadingSchema object;

    ReadingField(Field field, String parent) {
        this.field = field;
        this.path = parent + field.name();
        this.kind = FieldKind.of(field.schema(), path);
        this.parameters = field.schema().parameters() == null ? Map.of() : field.schema().parameters();
        for (String parameter : parameters.keySet()) {
            if (!kind.parameters().contains(parameter)) {
                throw new ConfigException("schema.content: field " + path + " has the parameter '" + parameter
                        + "'; fields of its type take " + kind.parameters());
            }
        }
        boolean integer = kind == FieldKind.INTEGER;
        this.leastInteger = integer ? limit("minimum", BigDecimal.valueOf(Long.MIN_VALUE)).longValueExact() : 0;
        this.mostInteger = integer ? limit("maximum", BigDecimal.valueOf(Long.MAX_VALUE)).longValueExact() : 0;
        this.leastNumber = limit("minimum", BigDecimal.valueOf(-Double.MAX_VALUE)).doubleValue();
        this.mostNumber = limit("maximum", BigDecimal.valueOf(Double.MAX_VALUE)).doubleValue();
        this.maxLength = limit("max_length", BigDecimal.valueOf(Integer.MAX_VALUE)).intValueExact();
        this.object = kind == FieldKind.OBJECT ? new ReadingSchema(field.schema(), path + ".") : null;
    }

    Field field() {
        return field;
    }

    /** The name as a message gives it: {@code location.lon}. */
    String path() {
        return path;
    }

    boolean isRequired() {
        return !field.schema().isOptional();
    }

    /** The fields of an object; null for every other kind. */
    ReadingSchema object() {
        return object;
    }

    /** The value at the current token, checked. */
    Object read(StrictJson json, Rewrites rewrites) {
        return kind.read(json, this, rewrites);
    }

    FieldKind kind() {
        return kind;
    }

    /** The longest text, in characters. */
    int maxLength() {
        return maxLength;
    }

    boolean holds(long value) {
        return value >= leastInteger && value <= mostInteger;
    }

    /** As doubles, like every other program that reads the record: -273.150000000000000001 is the limit itself. */
    boolean holds(double value) {
        return value >= leastNumber && value <= mostNumber;
    }

    void requireWithinLimits(long value) {
        if (!holds(value)) {
            throw outOfLimits(Long.toString(value));
        }
    }

    void requireWithinLimits(double value) {
        if (!holds(value)) {
            throw outOfLimits(Double.toString(value));
        }
    }

    void requireWithinLimits(String value) {
        if (value.length() > maxLength && value.codePointCount(0, value.length()) > maxLength) {
            throw Reason.OUT_OF_LIMITS.because("field " + path + " must have at most " + maxLength
                    + " characters, not " + value.codePointCount(0, value.length()));
        }
    }

    RefusedException outOfLimits(String found) {
        String range = parameters.isEmpty() ? "a finite value of 64 bits" : "within " + parameters;
        return Reason.OUT_OF_LIMITS.because("field " + path + " must be " + range + ", not " + Reason.quote(found));
    }

    RefusedException wrongType(StrictJson json) {
        String found = json.token().isScalarValue() ? Reason.quote(json.text()) : "an object or array";
        String quoted = json.token() == JsonToken.VALUE_STRING ? "the text " + found : found;
        return Reason.WRONG_TYPE.because("field " + path + " must be " + kind.description() + ", not " + quoted);
    }

    private BigDecimal limit(String parameter, BigDecimal none) {
        String text = parameters.get(parameter);
        if (text == null) {
            return none;
        }
        try {
            BigDecimal limit = new BigDecimal(text);
            if (kind != FieldKind.NUMBER) {
                limit.longValueExact();
            }
            return limit;
        } catch (ArithmeticException | NumberFormatException e) {
            throw new ConfigException("schema.content: " + parameter + " of field " + path + " must be "
                    + (kind == FieldKind.NUMBER ? "a number" : "a whole number of 64 bits") + ", not '" + text + "'");
        }
    }
}
