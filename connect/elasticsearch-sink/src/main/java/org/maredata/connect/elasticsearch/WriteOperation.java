package org.maredata.connect.elasticsearch;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What a bulk says of a document. */
enum WriteOperation {
    INDEX("a record takes the place of the document with its id"),
    CREATE("the first record with an id stays, later ones are passed over");

    private final String description;

    WriteOperation(String description) {
        this.description = description;
    }

    String description() {
        return description;
    }

    /** As the configuration and a bulk name it. */
    String text() {
        return name().toLowerCase(Locale.ROOT);
    }

    static WriteOperation named(String name) {
        return valueOf(name.toUpperCase(Locale.ROOT));
    }

    static List<String> names() {
        return Arrays.stream(values()).map(WriteOperation::text).toList();
    }
}
