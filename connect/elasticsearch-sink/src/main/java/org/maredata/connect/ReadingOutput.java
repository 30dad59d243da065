package org.maredata.connect;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;

/** What the converter hands to the sink. */
enum ReadingOutput {
    STRUCT("a Struct of the schema, for a sink that needs columns (JDBC); unknown fields are dropped") {
        @Override
        SchemaAndValue of(Struct reading, Rewrites text) {
            return new SchemaAndValue(reading.schema(), reading);
        }
    },
    JSON("the record's own text without a schema, for this plugin's Elasticsearch sink (to another, it is an object whose "
            + "toString() is the text); timestamps are put into the canonical form, line breaks become spaces, unknown "
            + "fields stay") {
        @Override
        SchemaAndValue of(Struct reading, Rewrites text) {
            return new SchemaAndValue(null, new CheckedJson(text.apply(), null, null));
        }
    };

    private final String description;

    ReadingOutput(String description) {
        this.description = description;
    }

    abstract SchemaAndValue of(Struct reading, Rewrites text);

    String description() {
        return description;
    }

    String configName() {
        return name().toLowerCase(Locale.ROOT);
    }

    static ReadingOutput named(String name) {
        return valueOf(name.toUpperCase(Locale.ROOT));
    }

    static List<String> names() {
        return Arrays.stream(values()).map(ReadingOutput::configName).toList();
    }
}
