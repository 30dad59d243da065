package org.maredata.connect.elasticsearch;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** A bulk under way. The future never fails: trouble is a reply, too. */
record InFlightBulk(List<Document> documents, CompletableFuture<BulkReply> reply) {
    boolean isAnswered() {
        return reply.isDone();
    }

    BulkOutcome outcome() {
        return new BulkOutcome(documents, reply.join());
    }

    /** Waits until it is answered, or for that long in milliseconds. */
    void await(long ms) {
        try {
            reply.get(ms, TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            // The caller looks again later.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (ExecutionException e) {
            throw new IllegalStateException(e);
        }
    }
}
