package org.maredata.connect.elasticsearch;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.function.IntPredicate;

/** The body of a bulk request, and the records that its documents were made of, in the same order. */
final class Bulk {
    private final ByteBuilder body;
    private OffsetTracker.Position[] positions;
    /** Where each document's lines end in the body. */
    private int[] ends;
    private int count;

    Bulk() {
        this(1 << 16, 256);
    }

    private Bulk(int bytes, int documents) {
        body = new ByteBuilder(bytes);
        positions = new OffsetTracker.Position[documents];
        ends = new int[documents];
    }

    /** To be written to; each document is concluded by {@link #end}. */
    ByteBuilder body() {
        return body;
    }

    /** What has been written since the last call is this record's. */
    void end(OffsetTracker.Position position) {
        if (count == ends.length) {
            ends = Arrays.copyOf(ends, 2 * count);
            positions = Arrays.copyOf(positions, 2 * count);
        }
        positions[count] = position;
        ends[count++] = body.length();
    }

    int count() {
        return count;
    }

    boolean isEmpty() {
        return count == 0;
    }

    int bytes() {
        return body.length();
    }

    OffsetTracker.Position position(int document) {
        return positions[document];
    }

    /** The document's first line without the name of the action: two equal ones overwrite each other. */
    String target(int document) {
        String action = action(document);
        return action.substring(action.indexOf('{', 1));
    }

    /** The document's first line. */
    String action(int document) {
        int start = start(document);
        int end = start;
        while (body.array()[end] != '\n') {
            end++;
        }
        return new String(body.array(), start, end - start, StandardCharsets.UTF_8);
    }

    /** Keeps only some of the documents. */
    void retain(IntPredicate kept) {
        int all = count;
        int start = 0;
        count = 0;
        body.truncate(0);
        for (int i = 0; i < all; i++) {
            int end = ends[i];
            if (kept.test(i)) {
                // Copied within the one array, never to behind where it is read.
                body.add(body.array(), start, end);
                positions[count] = positions[i];
                ends[count++] = body.length();
            }
            start = end;
        }
        Arrays.fill(positions, count, all, null);
    }

    /** Takes documents from the front of another bulk as long as both limits allow, but one if this one is empty. */
    void takeFrom(Bulk other, int maxDocuments, long maxBytes) {
        int taken = 0;
        while (taken < other.count && (count == 0 || count < maxDocuments
                && body.length() + other.ends[taken] - other.start(taken) <= maxBytes)) {
            body.add(other.body.array(), other.start(taken), other.ends[taken]);
            end(other.positions[taken++]);
        }
        int gone = taken;
        other.retain(i -> i >= gone);
    }

    /** Makes it empty, to be filled again. */
    void clear() {
        Arrays.fill(positions, 0, count, null);
        count = 0;
        body.truncate(0);
    }

    private int start(int document) {
        return document == 0 ? 0 : ends[document - 1];
    }
}
