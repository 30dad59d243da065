package org.maredata.connect;

import java.util.Arrays;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.Type;

/** The converter's configuration, and its documentation. */
public final class ReadingConverterConfig extends AbstractConfig {
    static final String SCHEMA_CONTENT = "schema.content";
    static final String OUTPUT = "output";

    ReadingConverterConfig(Map<String, ?> properties) {
        super(definition(), properties, false);
    }

    ReadingSchema schema() {
        return ReadingSchema.parse(getString(SCHEMA_CONTENT));
    }

    ReadingOutput output() {
        return ReadingOutput.named(getString(OUTPUT));
    }

    /** The options, with what each means. */
    public static ConfigDef definition() {
        return new ConfigDef()
                .define(SCHEMA_CONTENT, Type.STRING, ConfigDef.NO_DEFAULT_VALUE, new SchemaValidator(), Importance.HIGH,
                        "The schema of a record as Connect's JsonConverter takes it: a struct with fields of type int64, "
                        + "double, string, or struct. A string named " + FieldKind.TIMESTAMP_SCHEMA + " is a timestamp. "
                        + "Limits are the fields' parameters: minimum and maximum (inclusive), max_length (characters).")
                .define(OUTPUT, Type.STRING, ReadingOutput.STRUCT.configName(),
                        ConfigDef.ValidString.in(ReadingOutput.names().toArray(String[]::new)), Importance.HIGH,
                        "What the sink gets. " + Arrays.stream(ReadingOutput.values())
                        .map(output -> output.configName() + ": " + output.description())
                        .collect(Collectors.joining(". ")) + ".");
    }

    private static final class SchemaValidator implements ConfigDef.Validator {
        @Override
        public void ensureValid(String name, Object value) {
            ReadingSchema.parse(String.valueOf(value));
        }

        @Override
        public String toString() {
            return "a Connect schema as JSON";
        }
    }
}
