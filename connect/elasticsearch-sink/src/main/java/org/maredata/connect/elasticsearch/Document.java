package org.maredata.connect.elasticsearch;

import java.io.ByteArrayOutputStream;
import org.apache.kafka.connect.sink.SinkRecord;

/**
 * A record on its way into Elasticsearch.
 *
 * @param record what Connect delivered, kept for the dead letters
 * @param position its place in the tracker, to be marked once it is settled
 * @param target which document it becomes
 * @param action its first line in a bulk, without the line break
 * @param source its second line: one JSON object without a line break
 */
record Document(SinkRecord record, OffsetTracker.Position position, Target target, byte[] action, byte[] source) {
    /** Two documents with equal targets overwrite each other. */
    record Target(String index, String id) {
    }

    /** Its size in a bulk, in bytes. */
    int size() {
        return action.length + source.length + 2;
    }

    void writeTo(ByteArrayOutputStream body) {
        body.writeBytes(action);
        body.write('\n');
        body.writeBytes(source);
        body.write('\n');
    }
}
