package org.maredata.connect.elasticsearch;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;
import org.apache.http.entity.ContentType;
import org.apache.http.nio.entity.NByteArrayEntity;
import org.apache.http.util.EntityUtils;
import org.elasticsearch.client.Request;
import org.elasticsearch.client.Response;
import org.elasticsearch.client.ResponseException;
import org.elasticsearch.client.ResponseListener;
import org.elasticsearch.client.RestClient;

/** Sends bulks without ever holding up its caller. */
final class BulkClient implements AutoCloseable {
    private static final ContentType NDJSON = ContentType.create("application/x-ndjson");
    /** How long closing may take, in milliseconds. */
    private static final long CLOSE_MS = 1000;

    private final Supplier<RestClient> connect;
    /** A host name is looked up by the thread that sends, and with a broken DNS that can take many seconds. */
    private final ExecutorService sender;
    private volatile RestClient client;

    /** @param connect makes a client; asked again if the one there was has died */
    BulkClient(Supplier<RestClient> connect) {
        this.connect = connect;
        this.client = connect.get();
        this.sender = Executors.newSingleThreadExecutor(work -> daemon(work, "bulk-sender"));
    }

    /** The future is completed with a reply in any case, on another thread. */
    CompletableFuture<BulkReply> send(List<Document> documents) {
        CompletableFuture<BulkReply> reply = new CompletableFuture<>();
        sender.execute(() -> {
            try {
                request(documents, reply);
            } catch (RuntimeException | Error e) {
                // An Error too: a future that nobody completes would hold the records for ever.
                reply.complete(BulkReply.noAnswer(e));
            }
        });
        return reply;
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
    }

    private void request(List<Document> documents, CompletableFuture<BulkReply> reply) {
        if (!client.isRunning()) {
            // Its I/O thread ends at an Error (out of memory, say), and then it refuses every request.
            close(client);
            client = connect.get();
        }
        ByteArrayOutputStream body = new ByteArrayOutputStream(documents.stream().mapToInt(Document::size).sum());
        documents.forEach(document -> document.writeTo(body));
        Request request = new Request("POST", "/_bulk");
        request.addParameter("filter_path", BulkReply.FILTER);
        request.setEntity(new NByteArrayEntity(body.toByteArray(), NDJSON));
        client.performRequestAsync(request, new ResponseListener() {
            @Override
            public void onSuccess(Response response) {
                reply.complete(read(response, documents.size()));
            }

            @Override
            public void onFailure(Exception e) {
                reply.complete(e instanceof ResponseException refused ? read(refused.getResponse(), documents.size())
                        : BulkReply.noAnswer(e));
            }
        });
    }

    private static BulkReply read(Response response, int documents) {
        try {
            byte[] body = response.getEntity() == null ? new byte[0] : EntityUtils.toByteArray(response.getEntity());
            return BulkReply.of(response.getStatusLine().getStatusCode(), body, documents);
        } catch (IOException | RuntimeException e) {
            return BulkReply.noAnswer(e);
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
