package org.maredata.connect.elasticsearch;

import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.connect.sink.SinkRecord;
import org.maredata.connect.CheckedJson;
import org.maredata.connect.Reason;
import org.maredata.connect.StrictJson;

/**
 * Makes the lines of a bulk request of records, straight into the bulk's body: what isn't checked yet is checked,
 * and what is checked is only copied. Used by the task's thread only.
 */
final class DocumentWriter {
    /** Where the documents of an id are collected. */
    interface Destination {
        /**
         * @param idHash the same for equal ids
         * @param bytes how many the document's lines will have, or a few less
         */
        Bulk bulk(int idHash, int bytes);
    }

    /** Elasticsearch's own parser gives up there. */
    private static final int MAX_DEPTH = 1000;
    /** One longer id would make Elasticsearch refuse a bulk as a whole. In bytes of UTF-8. */
    private static final int LONGEST_ID = 512;
    private static final int MOST_DAYS = 10_000;
    private static final byte[] ACTION_END = "}}\n".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] QUOTE = {'"'};
    private static final byte[] LINE_BREAK = {'\n'};

    private final Template index;
    private final Template id;
    private final WriteOperation operation;
    private final NullValue nullValue;
    private final Versioning versioning;
    private final byte[] coordinates;
    private final Set<String> wanted = new HashSet<>();
    private final boolean isByDay;
    private final ByteBuilder idJson = new ByteBuilder(64);
    /** The beginnings of actions by the day of the index, all of one topic. */
    private final Map<Long, byte[]> actions = new HashMap<>();
    private String topic = "";
    private long lastDay = -1;
    private byte[] lastAction;

    /** @param coordinates the name of the field that takes the record's place in Kafka; empty for none */
    DocumentWriter(Template index, Template id, WriteOperation operation, NullValue nullValue, Versioning versioning,
            String coordinates) {
        this.index = index;
        this.id = id;
        this.operation = operation;
        this.nullValue = nullValue;
        this.versioning = versioning;
        this.coordinates = coordinates.isEmpty() ? null : escaped(coordinates);
        this.isByDay = index.isByDay();
        wanted.addAll(index.fields());
        wanted.addAll(id.fields());
    }

    /** Throws DataException, beginning with a reason's code, if the record can't become a document. */
    void write(SinkRecord record, OffsetTracker.Position position, Destination destination) {
        Object value = record.value();
        idJson.truncate(0);
        if (value == null) {
            writeNull(record, position, destination);
        } else if (value instanceof CheckedJson json && isByDay && json.slots() != null && writeId(record, json)) {
            long day = index.day(json);
            byte[] action = day < 0 ? null : action(record, json, day);
            if (action == null) {
                action = slowly(record, values(json.bytes()));
            }
            write(action, json.bytes(), record, position, destination);
        } else {
            byte[] source = ValueForm.of(value).json(record);
            write(slowly(record, values(source)), source, record, position, destination);
        }
    }

    /** The text as it stands in JSON, without the quotes. */
    static byte[] escaped(String text) {
        return new String(JsonStringEncoder.getInstance().quoteAsString(text)).getBytes(StandardCharsets.UTF_8);
    }

    private void writeNull(SinkRecord record, OffsetTracker.Position position, Destination destination) {
        if (nullValue == NullValue.REFUSE) {
            throw Reason.NULL_VALUE.because("the record has no value, and this sink deletes nothing");
        }
        slowly(record, Map.of());
        byte[] action = action("delete", indexName(record, Map.of()));
        write(action, null, record, position, destination);
    }

    private void write(byte[] action, byte[] source, SinkRecord record, OffsetTracker.Position position,
            Destination destination) {
        // Before the bulk is touched: a record without a version must leave nothing in it.
        long version = versioning.of(record);
        int size = action.length + idJson.length() + ACTION_END.length + 1 + (source == null ? 0 : source.length + 1);
        Bulk bulk = destination.bulk(idJson.spreadHash(), size);
        ByteBuilder body = bulk.body();
        body.add(action);
        body.add(idJson.array(), 0, idJson.length());
        body.add(QUOTE);
        Versioning.write(body, version);
        body.add(ACTION_END);
        if (source != null) {
            writeSource(body, source, record);
            body.add(LINE_BREAK);
        }
        bulk.end(position);
    }

    private void writeSource(ByteBuilder body, byte[] source, SinkRecord record) {
        if (coordinates == null) {
            body.add(source);
            return;
        }
        int end = source.length - 1;
        while (source[end] != '}') {
            end--;
        }
        int last = end - 1;
        while (source[last] == ' ' || source[last] == '\t') {
            last--;
        }
        body.add(source, 0, end);
        // A record that has a field of that name is refused by Elasticsearch as one with a name twice.
        body.add(source[last] == '{' ? "\"" : ",\"");
        body.add(coordinates);
        body.add("\":{\"topic\":\"");
        body.add(escaped(record.originalTopic()));
        body.add("\",\"partition\":" + record.originalKafkaPartition() + ",\"offset\":" + record.originalKafkaOffset()
                + (record.timestamp() == null ? "" : ",\"timestamp\":" + record.timestamp()) + "}");
        body.add(source, end, source.length);
    }

    private boolean writeId(SinkRecord record, CheckedJson json) {
        boolean written = id.write(idJson, record, json) && idJson.length() > 0 && idJson.length() <= LONGEST_ID;
        if (!written) {
            idJson.truncate(0);
        }
        return written;
    }

    /** Index and id from the values; the id is left in its place, the beginning of the action is returned. */
    private byte[] slowly(SinkRecord record, Map<String, Template.Value> values) {
        String documentId = id.text(record, values);
        int idLength = documentId.getBytes(StandardCharsets.UTF_8).length;
        if (idLength == 0 || idLength > LONGEST_ID) {
            throw Reason.OUT_OF_LIMITS.because("an id must have 1 to " + LONGEST_ID + " bytes, not "
                    + Reason.quote(documentId));
        }
        idJson.truncate(0);
        idJson.add(escaped(documentId));
        return action(operation.text(), indexName(record, values));
    }

    private byte[] action(SinkRecord record, CheckedJson json, long day) {
        if (!topic.equals(record.topic()) || actions.size() > MOST_DAYS) {
            topic = record.topic();
            actions.clear();
            lastAction = null;
        }
        if (lastAction == null || day != lastDay) {
            byte[] action = actions.get(day);
            if (action == null) {
                action = action(operation.text(), indexName(record, values(json.bytes())));
                actions.put(day, action);
            }
            lastDay = day;
            lastAction = action;
        }
        return lastAction;
    }

    private String indexName(SinkRecord record, Map<String, Template.Value> values) {
        // Elasticsearch has no index names in capitals, but Kafka has such topics.
        String name = index.text(record, values).toLowerCase(Locale.ROOT);
        if (name.isEmpty()) {
            throw Reason.OUT_OF_LIMITS.because("an index name must have a character");
        }
        return name;
    }

    private static byte[] action(String operation, String indexName) {
        ByteBuilder action = new ByteBuilder(64);
        action.add("{\"" + operation + "\":{\"_index\":\"");
        action.add(escaped(indexName));
        action.add("\",\"_id\":\"");
        byte[] exact = new byte[action.length()];
        System.arraycopy(action.array(), 0, exact, 0, exact.length);
        return exact;
    }

    /**
     * Reads the text whole, because a bulk is made of lines: whatever follows the object, or a line break
     * inside it, would be read by Elasticsearch as the next action.
     */
    private Map<String, Template.Value> values(byte[] source) {
        Map<String, Template.Value> values = new HashMap<>();
        try (StrictJson json = new StrictJson(source, MAX_DEPTH)) {
            while (json.next() != JsonToken.END_OBJECT) {
                String name = json.text();
                JsonToken type = json.next();
                if (wanted.contains(name)) {
                    values.put(name, new Template.Value(type, json.text()));
                }
                json.skip();
            }
            json.end();
        }
        for (byte b : source) {
            if (b == '\n' || b == '\r') {
                throw Reason.MALFORMED.because("there is a line break between the tokens; write the object on one line");
            }
        }
        return values;
    }
}
