package org.maredata.connect;

import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.components.Versioned;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.storage.Converter;

/**
 * A strict converter for the values of sinks: what passes it can be stored by a database with that schema,
 * and what can't is refused with its {@link Reason} before any sink sees it. It converts no value to
 * another type; only timestamps are brought into one form.
 */
public final class ReadingConverter implements Converter, Versioned {
    /** How deep a record may be nested, itself included; what every program on a reading's way accepts. */
    static final int MAX_DEPTH = 32;

    private ReadingSchema schema;
    private ReadingOutput output;
    /** Null if every record has to be read the long way. */
    private CanonicalReader canonical;

    @Override
    public void configure(Map<String, ?> properties, boolean isKey) {
        if (isKey) {
            throw new ConfigException("ReadingConverter converts values: set it as value.converter, not key.converter");
        }
        ReadingConverterConfig config = new ReadingConverterConfig(properties);
        this.schema = config.schema();
        this.output = config.output();
        this.canonical = output == ReadingOutput.JSON ? CanonicalReader.of(schema) : null;
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] value) {
        if (value == null) {
            throw Reason.NULL_VALUE.because("the record has no value, and a reading can't be deleted that way");
        }
        CheckedJson checked = canonical == null ? null : canonical.read(value);
        if (checked != null) {
            return new SchemaAndValue(null, checked);
        }
        Rewrites text = new Rewrites(value);
        try (StrictJson json = new StrictJson(value, MAX_DEPTH)) {
            return output.of(read(json, text), text);
        }
    }

    @Override
    public byte[] fromConnectData(String topic, Schema schema, Object value) {
        throw new DataException("ReadingConverter only reads: use it in a sink, and another converter in a source");
    }

    @Override
    public ConfigDef config() {
        return ReadingConverterConfig.definition();
    }

    @Override
    public String version() {
        return Version.text();
    }

    private Struct read(StrictJson json, Rewrites text) {
        try {
            Struct reading = schema.read(json, text);
            json.end();
            return reading;
        } catch (RefusedException e) {
            // A complaint about a field only counts once the rest of the text has been found to be sound.
            if (!e.reason().isAboutTheText()) {
                json.end();
            }
            throw e;
        }
    }
}
