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
        long of(SinkRecord record) {
            return UNVERSIONED;
        }
    },
    OFFSET("Kafka's offset is the document's external version, so that a request which arrives late can't replace a newer "
            + "one; right only if all records with one id are in one partition, and the topic is never made anew under the "
            + "same indices") {
        @Override
        long of(SinkRecord record) {
            return record.originalKafkaOffset();
        }
    },
    HEADER("the record's header " + VersionHeader.NAME + ", an integer from 0 on, is the document's external version, of a "
            + "delete as well; of equal ones the later stays, and a record without it becomes a dead letter") {
        @Override
        long of(SinkRecord record) {
            return VersionHeader.of(record);
        }
    };

    private static final long UNVERSIONED = -1;
    private static final byte[] VERSION = ",\"version\":".getBytes(StandardCharsets.US_ASCII);
    // The same version is stored again: a conflict is answered before what it conflicts with is safe on the disk, so if
    // a record that is sent again were refused for its own first sending, Elasticsearch could still lose both.
    private static final byte[] EXTERNAL = ",\"version_type\":\"external_gte\"".getBytes(StandardCharsets.US_ASCII);

    private final String description;

    Versioning(String description) {
        this.description = description;
    }

    /** The version that the record's document is to have; for {@link #write}. Throws RefusedException if it has none. */
    abstract long of(SinkRecord record);

    /** Adds to a document's action what says its version. */
    static void write(ByteBuilder action, long version) {
        if (version == UNVERSIONED) {
            return; // Elasticsearch counts versions by itself.
        }
        action.add(VERSION);
        action.add(version);
        action.add(EXTERNAL);
    }

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
