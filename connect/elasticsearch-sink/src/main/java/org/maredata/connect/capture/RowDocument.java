package org.maredata.connect.capture;

import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.components.Versioned;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Headers;
import org.apache.kafka.connect.transforms.Transformation;
import org.maredata.connect.Version;
import org.maredata.connect.elasticsearch.VersionHeader;

/**
 * Makes of a change of a MariaDB table, as Debezium writes it, the document that {@code mare extract} makes of the row:
 * its _id is the record's key, its JSON the value, and the place in the binary log the version in a header.
 */
public final class RowDocument<R extends ConnectRecord<R>> implements Transformation<R>, Versioned {
    /** Debezium's header on the first half of a changed key: the row lives on under another _id. */
    private static final String NEW_KEY = "__debezium.newkey";
    private static final ConfigDef CONFIG = new ConfigDef().define(LayoutOption.NAME, Type.STRING, ConfigDef.NO_DEFAULT_VALUE,
            ConfigDef.LambdaValidator.with(RowDocument::validate, () -> "a layout as JSON"), Importance.HIGH,
            "What a document is made of, as `mare capture` writes it. fields: a list of name, kind, columns, zone (of a "
            + "DATETIME's local times) and as_string (a DECIMAL as a JSON string). key: the columns of the _id. A column has "
            + "name, type (the catalogue's data_type), nullable, digits (of fractions of a second) and json. "
            + "deletes: keep, or mirror for deleted rows to delete their documents. files_before: added to the number of the "
            + "binary log's file, 0 without it.");

    private RowLayout layout;

    @Override
    public void configure(Map<String, ?> properties) {
        layout = LayoutOption.read((String) CONFIG.parse(properties).get(LayoutOption.NAME));
    }

    /** The record with a document or, to delete one, without a value; null for a change that does nothing here. */
    @Override
    public R apply(R record) {
        if (record.value() == null) {
            return null;
        }
        if (!(record.value() instanceof byte[] text)) {
            throw new DataException("RowDocument takes Debezium's own bytes: set value.converter to "
                    + "org.apache.kafka.connect.converters.ByteArrayConverter");
        }
        Envelope change = Envelope.read(text);
        return switch (change.operation()) {
            case WRITE -> {
                Map<String, Cell> row = change.image("after");
                yield record(record, change, row, layout.document(row));
            }
            case DELETE -> layout.mirrorsDeletes() || record.headers().lastWithName(NEW_KEY) != null
                    ? record(record, change, change.image("before"), null) : null;
            case OTHER -> null;
        };
    }

    @Override
    public ConfigDef config() {
        return definition();
    }

    /** The options, with what each means. */
    public static ConfigDef definition() {
        return new ConfigDef(CONFIG);
    }

    @Override
    public void close() {
        // Nothing is held.
    }

    @Override
    public String version() {
        return Version.text();
    }

    private R record(R record, Envelope change, Map<String, Cell> row, byte[] document) {
        Headers headers = new ConnectHeaders(record.headers());
        headers.remove(VersionHeader.NAME);
        headers.addLong(VersionHeader.NAME, change.version(layout.filesBefore()));
        return record.newRecord(record.topic(), record.kafkaPartition(), Schema.STRING_SCHEMA, layout.id(row), null, document,
                record.timestamp(), headers);
    }

    private static void validate(String name, Object value) {
        if (value == null) {
            throw new ConfigException(name + ": it is needed; `mare capture` writes it");
        }
        LayoutOption.read((String) value);
    }
}
