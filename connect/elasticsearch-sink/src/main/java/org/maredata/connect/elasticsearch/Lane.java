package org.maredata.connect.elasticsearch;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.CompletableFuture;
import java.util.function.LongSupplier;
import org.maredata.connect.RetryPolicy;

/**
 * The documents of some ids, in order, with at most one bulk of them under way. All documents with one id are in
 * one lane, and what has to be sent again goes before everything that came later: so of two documents with one id
 * never both are under way, and the later one stays. Used by the task's thread only.
 */
final class Lane {
    private static final int SPARE_BULKS = 2;

    private final int maxDocuments;
    private final long maxBytes;
    private final long lingerNanos;
    private final RetryPolicy retry;
    private final LongSupplier nanoTime;
    private final Deque<Bulk> waiting = new ArrayDeque<>();
    private final Deque<Bulk> spare = new ArrayDeque<>();
    private Bulk open = new Bulk();
    private Bulk sent;
    private CompletableFuture<BulkReply> reply;
    private long openedAt;
    private int limit;
    private boolean startsWithRetries;

    /** @param lingerMs how long the first document of a bulk waits for others */
    Lane(int maxDocuments, long maxBytes, long lingerMs, RetryPolicy retry, LongSupplier nanoTime) {
        this.maxDocuments = maxDocuments;
        this.maxBytes = maxBytes;
        this.lingerNanos = lingerMs * 1_000_000;
        this.retry = retry;
        this.nanoTime = nanoTime;
        this.limit = maxDocuments;
    }

    /** The bulk that the next document, of that size in bytes, is to be written to. */
    Bulk open(int bytes) {
        if (!open.isEmpty() && (open.count() >= maxDocuments || open.bytes() + bytes > maxBytes)) {
            seal();
        }
        if (open.isEmpty()) {
            openedAt = nanoTime.getAsLong();
        }
        return open;
    }

    /** How many bytes wait or are under way. */
    long bytes() {
        return waiting.stream().mapToLong(Bulk::bytes).sum() + open.bytes() + (sent == null ? 0 : sent.bytes());
    }

    boolean isUnderWay() {
        return sent != null;
    }

    /** True if something waits to be sent. */
    boolean hasMore() {
        return !waiting.isEmpty() || !open.isEmpty();
    }

    /** How long it is until {@link #next} gives something, in milliseconds, if nothing is under way. */
    long waitMs() {
        long linger = waiting.isEmpty() ? (openedAt + lingerNanos - nanoTime.getAsLong() + 999_999) / 1_000_000 : 0;
        return Math.max(retry.waitMs(), Math.max(0, linger));
    }

    /**
     * The bulk to be sent now, or null; {@link #sent} must follow.
     *
     * @param hurried true if one that isn't full shall not wait for more documents
     */
    Bulk next(boolean hurried) {
        if (sent != null || !retry.isDue()) {
            return null;
        }
        boolean full = open.count() >= limit || open.bytes() >= maxBytes;
        boolean ripe = full || hurried || nanoTime.getAsLong() - openedAt >= lingerNanos;
        if (!open.isEmpty() && (startsWithRetries || waiting.isEmpty() && ripe)) {
            seal();
        }
        Bulk first = waiting.peekFirst();
        if (first == null) {
            return null;
        }
        if (first.count() > limit) {
            Bulk part = fresh();
            part.takeFrom(first, limit, maxBytes);
            return part;
        }
        waiting.removeFirst();
        // One document that isn't taken for long must not hold up the others by going alone.
        while (startsWithRetries && !waiting.isEmpty() && first.count() < limit && first.bytes() < maxBytes) {
            int before = first.count();
            first.takeFrom(waiting.peekFirst(), limit, maxBytes);
            if (waiting.peekFirst().isEmpty()) {
                waiting.removeFirst();
            } else if (first.count() == before) {
                break;
            }
        }
        return first;
    }

    void sent(Bulk bulk, CompletableFuture<BulkReply> reply) {
        this.sent = bulk;
        this.reply = reply;
    }

    boolean isAnswered() {
        return sent != null && reply.isDone();
    }

    /** Takes the bulk that was under way out of the lane. */
    Bulk answered() {
        Bulk bulk = sent;
        sent = null;
        return bulk;
    }

    BulkReply reply() {
        return reply.join();
    }

    /** Everything of that bulk is settled. */
    void done(Bulk bulk) {
        bulk.clear();
        // One that a giant document has stretched is given up.
        if (!startsWithRetries && spare.size() < SPARE_BULKS && bulk.body().array().length <= 2 * maxBytes) {
            spare.add(bulk);
        }
        startsWithRetries = false;
        limit = (int) Math.min(maxDocuments, limit * 2L);
        retry.succeeded();
    }

    /**
     * Puts what is left of a bulk back to where it was: what came later must not overtake it.
     *
     * @param documents how many it had
     */
    void again(Bulk bulk, BulkOutcome outcome, int documents) {
        startsWithRetries = true;
        if (!bulk.isEmpty()) {
            waiting.addFirst(bulk);
        }
        if (outcome.mustSplit()) {
            // It was too much as a whole.
            limit = Math.max(1, documents / 2);
        }
        if (outcome.trouble() == Answer.STORED) {
            retry.succeeded();
        } else {
            // Some of its documents may be settled: then one index in trouble must not hold up the others for long.
            retry.failed(outcome.sentAgain() < documents);
        }
    }

    void dropLost() {
        waiting.forEach(Lane::dropLost);
        waiting.removeIf(Bulk::isEmpty);
        dropLost(open);
    }

    private static void dropLost(Bulk bulk) {
        bulk.retain(i -> !bulk.position(i).isLost());
    }

    private void seal() {
        waiting.addLast(open);
        open = fresh();
    }

    private Bulk fresh() {
        return spare.isEmpty() ? new Bulk() : spare.removeFirst();
    }
}
