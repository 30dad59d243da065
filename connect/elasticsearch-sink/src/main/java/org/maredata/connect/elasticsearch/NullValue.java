package org.maredata.connect.elasticsearch;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What a record without a value does. */
enum NullValue {
    REFUSE("it becomes a dead letter"),
    DELETE("it deletes the document with its id, which must then be made without fields of the value, as must the index");

    private final String description;

    NullValue(String description) {
        this.description = description;
    }

    String description() {
        return description;
    }

    String text() {
        return name().toLowerCase(Locale.ROOT);
    }

    static NullValue named(String name) {
        return valueOf(name.toUpperCase(Locale.ROOT));
    }

    static List<String> names() {
        return Arrays.stream(values()).map(NullValue::text).toList();
    }
}
