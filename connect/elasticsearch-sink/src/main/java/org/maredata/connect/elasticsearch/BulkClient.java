package org.maredata.connect.elasticsearch;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.apache.http.entity.ContentType;
import org.apache.http.nio.entity.NByteArrayEntity;
import org.apache.http.util.EntityUtils;
import org.elasticsearch.client.Request;
import org.elasticsearch.client.Response;
import org.elasticsearch.client.ResponseException;
import org.elasticsearch.client.ResponseListener;
import org.elasticsearch.client.RestClient;
import org.maredata.connect.elasticsearch.BulkReply.Extent;

/** Sends bulks, several at a time if asked to, without ever holding up its caller. */
final class BulkClient implements AutoCloseable {
    /** Whether an index is there, as far as it could be found out. */
    private enum Index {
        THERE, MISSING,
        /** The user may not ask: then a refusal is taken as it stands. */
        SECRET,
        UNKNOWN
    }

    /** A part of what there is to do for one bulk. */
    private interface Step {
        void run() throws IOException;
    }

    private static final ContentType NDJSON = ContentType.create("application/x-ndjson");
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final String CLOSED = "the client was closed before the bulk was answered";
    /** How long closing may take, in milliseconds. */
    private static final long CLOSE_MS = 1000;
    /** How long whole replies are asked for after an error: where there is one, more are likely. */
    static final long FULL_NANOS = TimeUnit.MINUTES.toNanos(1);

    private final Supplier<RestClient> connect;
    private final LongSupplier nanoTime;
    private final Semaphore answers = new Semaphore(0);
    /** A host name is looked up by the thread that sends, and with a broken DNS that can take many seconds. */
    private final ExecutorService sender;
    private final Set<CompletableFuture<BulkReply>> underWay = ConcurrentHashMap.newKeySet();
    private volatile RestClient client;
    /** Set by the HTTP client's threads. Two of them may do so at once: then either value is right. */
    private volatile long fullUntil;

    /** @param connect makes a client; asked again if the one there was has died */
    BulkClient(Supplier<RestClient> connect, LongSupplier nanoTime) {
        this.connect = connect;
        this.nanoTime = nanoTime;
        this.fullUntil = nanoTime.getAsLong();
        this.client = connect.get();
        this.sender = Executors.newSingleThreadExecutor(work -> daemon(work, "bulk-sender"));
    }

    /**
     * The future is completed with a reply in any case. The bulk must not change until then.
     *
     * <p>As long as all goes well only a short reply is asked for. One that speaks of an error doesn't say of which
     * document: the bulk is sent once more at once, and the full reply to that counts. It changes nothing for the
     * documents that the first request has stored: they are stored again with the same content, or are there already
     * (409, or 404 for one that is to be deleted).
     */
    CompletableFuture<BulkReply> send(Bulk bulk) {
        CompletableFuture<BulkReply> reply = new CompletableFuture<>();
        underWay.add(reply);
        reply.whenComplete((r, e) -> {
            underWay.remove(reply);
            answers.release();
        });
        execute(new Sending(bulk, reply, nanoTime.getAsLong() - fullUntil < 0 ? Extent.FULL : Extent.SHORT));
        return reply;
    }

    /** Waits until some bulk has been answered since the last call, or for that long. */
    void awaitAnswer(long ms) {
        try {
            if (answers.tryAcquire(ms, TimeUnit.MILLISECONDS)) {
                answers.drainPermits();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        sender.shutdownNow();
        // The HTTP client waits for its own threads, for seconds if a server is silent.
        Thread closing = daemon(() -> close(client), "bulk-client-close");
        closing.start();
        try {
            closing.join(CLOSE_MS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        // Those that the sender hasn't come to, and those that the HTTP client has forgotten.
        underWay.forEach(reply -> reply.complete(BulkReply.noAnswer(new IllegalStateException(CLOSED))));
    }

    private void execute(Sending sending) {
        try {
            sender.execute(sending);
        } catch (RejectedExecutionException e) {
            sending.fail(e);
        }
    }

    /** A request to be made by the sender, and the future that its reply completes. */
    private final class Sending implements Runnable {
        private final Bulk bulk;
        private final CompletableFuture<BulkReply> reply;
        private final Extent asked;

        Sending(Bulk bulk, CompletableFuture<BulkReply> reply, Extent asked) {
            this.bulk = bulk;
            this.reply = reply;
            this.asked = asked;
        }

        @Override
        public void run() {
            orFail(this::request);
        }

        void fail(Throwable problem) {
            reply.complete(BulkReply.noAnswer(problem));
        }

        private void orFail(Step step) {
            try {
                step.run();
            } catch (IOException | RuntimeException | Error e) {
                // An Error too: a future that nobody completes would hold the records for ever.
                fail(e);
            }
        }

        private void request() {
            if (!client.isRunning()) {
                if (sender.isShutdown()) {
                    throw new IllegalStateException(CLOSED);
                }
                // Its I/O thread ends at an Error (out of memory, say), and then it refuses every request.
                BulkClient.close(client);
                client = connect.get();
            }
            Request request = new Request("POST", "/_bulk");
            request.addParameter("filter_path", asked.filter());
            request.setEntity(new NByteArrayEntity(bulk.body().array(), 0, bulk.bytes(), NDJSON));
            client.performRequestAsync(request, new ResponseListener() {
                @Override
                public void onSuccess(Response response) {
                    orFail(() -> answered(read(response)));
                }

                @Override
                public void onFailure(Exception e) {
                    if (e instanceof ResponseException refused) {
                        orFail(() -> reply.complete(read(refused.getResponse())));
                    } else {
                        fail(e);
                    }
                }
            });
        }

        private void answered(BulkReply answer) {
            if (answer.mustBeAskedInFull()) {
                fullUntil = nanoTime.getAsLong() + FULL_NANOS;
                execute(new Sending(bulk, reply, Extent.FULL));
            } else {
                confirm(bulk, answer, reply);
            }
        }

        private BulkReply read(Response response) throws IOException {
            byte[] body = response.getEntity() == null ? new byte[0] : EntityUtils.toByteArray(response.getEntity());
            return BulkReply.of(response.getStatusLine().getStatusCode(), body, bulk.count(), asked);
        }
    }

    /**
     * Elasticsearch says that an index couldn't be created in the way in which it refuses a document. Such a document
     * is no dead letter, so where the error could mean either, the index is asked for before the reply is handed on.
     */
    private void confirm(Bulk bulk, BulkReply answered, CompletableFuture<BulkReply> reply) {
        Map<String, CompletableFuture<Index>> indices = new HashMap<>();
        for (int i = 0; i < answered.items().size(); i++) {
            if (answered.items().get(i).dependsOnTheIndex()) {
                indices.computeIfAbsent(indexName(bulk, i), this::find);
            }
        }
        if (indices.isEmpty()) {
            reply.complete(answered);
            return;
        }
        CompletableFuture.allOf(indices.values().toArray(CompletableFuture[]::new)).thenApply(done -> {
            List<BulkReply.Item> items = new ArrayList<>(answered.items());
            for (int i = 0; i < items.size(); i++) {
                BulkReply.Item item = items.get(i);
                if (item.dependsOnTheIndex()) {
                    Index index = indices.get(indexName(bulk, i)).join();
                    if (index == Index.MISSING || index == Index.UNKNOWN) {
                        items.set(i, new BulkReply.Item(Answer.NOT_CREATED, item.type(), item.explanation()));
                    }
                }
            }
            return new BulkReply(answered.whole(), answered.explanation(), items);
        }).exceptionally(BulkReply::noAnswer).thenAccept(reply::complete);
    }

    private CompletableFuture<Index> find(String name) {
        CompletableFuture<Index> found = new CompletableFuture<>();
        Request request = new Request("HEAD", "/" + URLEncoder.encode(name, StandardCharsets.UTF_8));
        client.performRequestAsync(request, new ResponseListener() {
            @Override
            public void onSuccess(Response response) {
                found.complete(index(response));
            }

            @Override
            public void onFailure(Exception e) {
                found.complete(e instanceof ResponseException refused ? index(refused.getResponse()) : Index.UNKNOWN);
            }
        });
        return found;
    }

    private static Index index(Response response) {
        int status = response.getStatusLine().getStatusCode();
        return switch (status) {
            case 200 -> Index.THERE;
            case 404 -> Index.MISSING;
            case 400, 401, 403 -> Index.SECRET;
            default -> Index.UNKNOWN;
        };
    }

    private static String indexName(Bulk bulk, int document) {
        try {
            return MAPPER.readTree(bulk.action(document)).iterator().next().path("_index").asText();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void close(RestClient client) {
        try {
            client.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Thread daemon(Runnable work, String name) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        return thread;
    }
}
