package org.maredata.connect.elasticsearch;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.kafka.connect.sink.SinkRecord;

/** Whether Elasticsearch itself keeps a document from being replaced by an older record. */
enum Versioning {
    NONE("the document that arrives last stays") {
        @Override
        void write(ByteBuilder action, SinkRecord record) {
            // Nothing: Elasticsearch counts versions by itself.
        }
    },
    OFFSET("Kafka's offset is the document's external version, so that a request which arrives late can't replace a newer "
            + "one; right only if all records with one id are in one partition, and the topic is never made anew under the "
            + "same indices") {
        @Override
        void write(ByteBuilder action, SinkRecord record) {
            action.add(VERSION);
            action.add(record.originalKafkaOffset());
            action.add(EXTERNAL);
        }
    };

    private static final byte[] VERSION = ",\"version\":".getBytes(StandardCharsets.US_ASCII);
    // The same version is stored again: a conflict is answered before what it conflicts with is safe on the disk, so if
    // a record that is sent again were refused for its own first sending, Elasticsearch could still lose both.
    private static final byte[] EXTERNAL = ",\"version_type\":\"external_gte\"".getBytes(StandardCharsets.US_ASCII);

    private final String description;

    Versioning(String description) {
        this.description = description;
    }

    /** Adds to a document's action what says its version. */
    abstract void write(ByteBuilder action, SinkRecord record);

    String description() {
        return description;
    }

    String text() {
        return name().toLowerCase(Locale.ROOT);
    }

    static Versioning named(String name) {
        return valueOf(name.toUpperCase(Locale.ROOT));
    }

    static List<String> names() {
        return Arrays.stream(values()).map(Versioning::text).toList();
    }
}
