package org.maredata.connect.elasticsearch;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/** The documents that wait to be sent, in order, and how many of them go into the next bulk. */
final class BulkQueue {
    private final int maxDocuments;
    private final long maxBytes;
    private final Deque<Document> documents = new ArrayDeque<>();
    private long bytes;
    private int limit;

    BulkQueue(int maxDocuments, long maxBytes) {
        this.maxDocuments = maxDocuments;
        this.maxBytes = maxBytes;
        this.limit = maxDocuments;
    }

    void add(Document document) {
        documents.addLast(document);
        bytes += document.size();
    }

    /** Puts documents of a bulk back to where they were; the later ones must not overtake them. */
    void putBack(List<Document> taken) {
        for (int i = taken.size() - 1; i >= 0; i--) {
            documents.addFirst(taken.get(i));
            bytes += taken.get(i).size();
        }
    }

    /** The next bulk: within both limits, but at least one document if there is one. */
    List<Document> take() {
        List<Document> bulk = new ArrayList<>();
        long size = 0;
        while (!documents.isEmpty() && bulk.size() < limit
                && (bulk.isEmpty() || size + documents.peekFirst().size() <= maxBytes)) {
            Document document = documents.removeFirst();
            size += document.size();
            bulk.add(document);
        }
        bytes -= size;
        return bulk;
    }

    /** After a bulk that was too much as a whole: the next ones are at most half of it. */
    void halve(int sent) {
        limit = Math.max(1, sent / 2);
    }

    /** After a bulk that was taken: the next one may be larger again. */
    void grow() {
        limit = (int) Math.min(maxDocuments, limit * 2L);
    }

    /** Forgets the documents of lost partitions. */
    void dropLost() {
        documents.removeIf(document -> document.position().isLost());
        bytes = documents.stream().mapToLong(Document::size).sum();
    }

    boolean isEmpty() {
        return documents.isEmpty();
    }

    long bytes() {
        return bytes;
    }
}
