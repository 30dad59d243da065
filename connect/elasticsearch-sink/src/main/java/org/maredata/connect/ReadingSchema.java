package org.maredata.connect;

import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.json.JsonConverter;

/** The fields of a reading, or of an object inside it, and how its JSON becomes a Struct. */
final class ReadingSchema {
    /** Elasticsearch's longest field name, in characters. */
    private static final int LONGEST_NAME = 512;

    private final Schema schema;
    private final String path;
    private final Map<String, ReadingField> fields = new LinkedHashMap<>();
    private final List<ReadingField> required = new ArrayList<>();

    /** @param path what stands before the names of the fields in a message; empty for the reading itself */
    ReadingSchema(Schema schema, String path) {
        this.schema = schema;
        this.path = path;
        schema.fields().forEach(field -> {
            ReadingField reading = new ReadingField(field, path);
            fields.put(field.name(), reading);
            if (reading.isRequired()) {
                required.add(reading);
            }
        });
    }

    /** From Kafka Connect's JSON form of a schema, as JsonConverter reads it. */
    static ReadingSchema parse(String content) {
        try (JsonConverter converter = new JsonConverter()) {
            converter.configure(Map.of("schemas.enable", "false"), false);
            JsonNode tree = new ObjectMapper().readTree(content);
            Schema schema = converter.asConnectSchema(tree);
            if (schema == null || schema.type() != Schema.Type.STRUCT) {
                throw new ConfigException("schema.content must be a schema of type struct");
            }
            return new ReadingSchema(schema, "");
        } catch (com.fasterxml.jackson.core.JsonProcessingException | DataException e) {
            throw new ConfigException("schema.content can't be read as a Connect JSON schema: " + e.getMessage());
        }
    }

    Schema schema() {
        return schema;
    }

    List<ReadingField> fields() {
        return List.copyOf(fields.values());
    }

    /** Reads from behind the object's opening brace to its closing one. */
    Struct read(StrictJson json, Rewrites rewrites) {
        Struct struct = new Struct(schema);
        while (json.next() != JsonToken.END_OBJECT) {
            String name = json.text();
            ReadingField field = fields.get(name);
            if (field == null) {
                checkUnknown(name);
            }
            JsonToken value = json.next();
            if (field == null) {
                json.skip();
            } else if (value != JsonToken.VALUE_NULL) {
                struct.put(field.field(), field.read(json, rewrites));
            }
        }
        for (ReadingField field : required) {
            if (struct.get(field.field()) == null) {
                throw missing(field);
            }
        }
        return struct;
    }

    private boolean isReading() {
        return path.isEmpty();
    }

    private void checkUnknown(String name) {
        if (!isReading()) {
            throw Reason.WRONG_TYPE.because("field " + path + name + " is unknown; known are " + fields.keySet());
        }
        boolean storable = !name.startsWith("_") && name.indexOf('.') < 0
                && !name.codePoints().allMatch(ReadingSchema::isBlank)
                && (name.length() <= LONGEST_NAME || name.codePointCount(0, name.length()) <= LONGEST_NAME);
        if (!storable) {
            throw Reason.FIELD_NAME.because("the name " + Reason.quote(name)
                    + " is blank, begins with _, contains a point or is too long");
        }
    }

    private RefusedException missing(ReadingField field) {
        Reason reason = isReading() ? Reason.MISSING_FIELD : Reason.WRONG_TYPE;
        return reason.because("field " + field.path() + " is required, and was missing or null");
    }

    /** Every kind of white space, the non-breaking ones too (Python's idea of it, which the gateway has). */
    private static boolean isBlank(int c) {
        return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == 0x85;
    }
}
