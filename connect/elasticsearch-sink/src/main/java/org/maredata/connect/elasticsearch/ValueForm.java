package org.maredata.connect.elasticsearch;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.function.Predicate;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.maredata.connect.CheckedJson;
import org.maredata.connect.Reason;

/** The forms in which a converter may hand over a record's value, and how each becomes JSON text in UTF-8. */
enum ValueForm {
    CHECKED("JSON text that is checked already (ReadingConverter with output=json)", CheckedJson.class::isInstance) {
        @Override
        byte[] json(SinkRecord record) {
            return ((CheckedJson) record.value()).bytes();
        }
    },
    BYTES("JSON text as bytes (ByteArrayConverter)", byte[].class::isInstance) {
        @Override
        byte[] json(SinkRecord record) {
            return (byte[]) record.value();
        }
    },
    BUFFER("JSON text in a ByteBuffer", ByteBuffer.class::isInstance) {
        @Override
        byte[] json(SinkRecord record) {
            return copy(((ByteBuffer) record.value()).duplicate());
        }
    },
    TEXT("JSON text as a String (StringConverter)", String.class::isInstance) {
        @Override
        byte[] json(SinkRecord record) {
            try {
                return copy(StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap((String) record.value())));
            } catch (CharacterCodingException e) {
                throw Reason.ENCODING.because("the text holds half a surrogate pair");
            }
        }
    },
    DATA("a Map (JsonConverter without schemas) or a Struct", value -> true) {
        @Override
        byte[] json(SinkRecord record) {
            return CONVERTER.fromConnectData(record.topic(), record.valueSchema(), record.value());
        }
    };

    private static final JsonConverter CONVERTER = new JsonConverter();

    static {
        CONVERTER.configure(Map.of("schemas.enable", "false", "decimal.format", "NUMERIC"), false);
    }

    private final String description;
    private final Predicate<Object> takes;

    ValueForm(String description, Predicate<Object> takes) {
        this.description = description;
        this.takes = takes;
    }

    String description() {
        return description;
    }

    /** The value as JSON text, not yet checked; throws DataException if it can't be written. */
    abstract byte[] json(SinkRecord record);

    static ValueForm of(Object value) {
        return Arrays.stream(values()).filter(form -> form.takes.test(value)).findFirst().orElseThrow();
    }

    private static byte[] copy(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }
}
