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
import org.maredata.connect.Reason;
import org.maredata.connect.StrictJson;

/** Makes a document of a record: checks its text, and finds its index and id, in one pass. */
final class DocumentReader {
    /** Elasticsearch's own parser gives up there. */
    private static final int MAX_DEPTH = 1000;
    /** One longer id would make Elasticsearch refuse a bulk as a whole. In bytes of UTF-8. */
    private static final int LONGEST_ID = 512;

    private final Template index;
    private final Template id;
    private final Set<String> wanted = new HashSet<>();

    DocumentReader(Template index, Template id) {
        this.index = index;
        this.id = id;
        wanted.addAll(index.fields());
        wanted.addAll(id.fields());
    }

    /** Throws DataException, beginning with a reason's code, if the record can't become a document. */
    Document read(SinkRecord record, OffsetTracker.Position position) {
        if (record.value() == null) {
            throw Reason.NULL_VALUE.because("the record has no value, and this sink deletes nothing");
        }
        byte[] source = ValueForm.of(record.value()).json(record);
        Map<String, Template.Value> values = check(source);
        // Elasticsearch has no index names in capitals, but Kafka has such topics.
        String indexName = index.text(record, values).toLowerCase(Locale.ROOT);
        String documentId = id.text(record, values);
        int idLength = documentId.getBytes(StandardCharsets.UTF_8).length;
        if (indexName.isEmpty() || idLength == 0 || idLength > LONGEST_ID) {
            throw Reason.OUT_OF_LIMITS.because("an index name must have a character, and an id 1 to " + LONGEST_ID
                    + " bytes, not " + Reason.quote(indexName) + " and " + Reason.quote(documentId));
        }
        byte[] action = ("{\"index\":{\"_index\":\"" + escaped(indexName) + "\",\"_id\":\"" + escaped(documentId) + "\"}}")
                .getBytes(StandardCharsets.UTF_8);
        return new Document(record, position, new Document.Target(indexName, documentId), action, source);
    }

    /**
     * Reads the text whole, because a bulk is made of lines: whatever follows the object, or a line break
     * inside it, would be read by Elasticsearch as the next action.
     */
    private Map<String, Template.Value> check(byte[] source) {
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

    private static String escaped(String text) {
        return new String(JsonStringEncoder.getInstance().quoteAsString(text));
    }
}
