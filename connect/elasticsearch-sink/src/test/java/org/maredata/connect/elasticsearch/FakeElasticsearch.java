package org.maredata.connect.elasticsearch;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.zip.GZIPInputStream;
import javax.net.ssl.SSLContext;

/** Real HTTP with scripted answers. Without a script it does what it is told in a bulk, deleting included. */
final class FakeElasticsearch implements AutoCloseable {
    /** One line pair of a bulk. */
    record Doc(String index, String id, String source) {
    }

    /** What is answered to one request. */
    interface Reply {
        void to(HttpExchange exchange, List<Doc> docs) throws Exception;
    }

    final List<List<Doc>> requests = Collections.synchronizedList(new ArrayList<>());
    final List<String> headers = Collections.synchronizedList(new ArrayList<>());
    final Map<String, String> stored = Collections.synchronizedMap(new LinkedHashMap<>());

    /** What was sent, as text. */
    final List<String> bodies = Collections.synchronizedList(new ArrayList<>());
    /** How much of its answer each bulk asked for. */
    final List<String> filters = Collections.synchronizedList(new ArrayList<>());
    /** Whether bulks that don't ask for items get none; a proxy could answer otherwise. */
    volatile boolean obeysFilter;
    /** What was asked besides bulks, and the status that it is answered with. */
    final List<String> questions = Collections.synchronizedList(new ArrayList<>());
    volatile int answerToQuestions = 200;

    private static final ObjectMapper MAPPER = new ObjectMapper();
    private final Queue<Reply> script = new ConcurrentLinkedQueue<>();
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private volatile Reply always = items(doc -> null);
    private HttpServer server;
    private int port;

    private final SSLContext tls;

    FakeElasticsearch() {
        this(null);
    }

    /** @param tls null for plain HTTP */
    FakeElasticsearch(SSLContext tls) {
        this.tls = tls;
        start();
    }

    void start() {
        try {
            InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
            if (tls == null) {
                server = HttpServer.create(address, 0);
            } else {
                HttpsServer secure = HttpsServer.create(address, 0);
                secure.setHttpsConfigurator(new HttpsConfigurator(tls));
                server = secure;
            }
            port = server.getAddress().getPort();
            server.createContext("/", this::handle);
            server.setExecutor(threads);
            server.start();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** Refuses connections from now on. */
    void stop() {
        server.stop(0);
    }

    String url() {
        return (tls == null ? "http" : "https") + "://127.0.0.1:" + port;
    }

    /** The answers to the next requests. */
    FakeElasticsearch answers(Reply... replies) {
        script.addAll(List.of(replies));
        return this;
    }

    /** The answer when the script is at its end. */
    void answersAlways(Reply reply) {
        always = reply;
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }

    Reply whole(int status, String body) {
        return (exchange, docs) -> send(exchange, status, body);
    }

    Reply dropsConnection() {
        return (exchange, docs) -> exchange.close();
    }

    /** Says that the answer is longer than what comes before the connection ends. */
    Reply breaksOff(String body) {
        return (exchange, docs) -> {
            byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, bytes.length + 100);
            exchange.getResponseBody().write(bytes);
            exchange.getResponseBody().flush();
            exchange.close();
        };
    }

    /** Does what it is told and never says so. */
    Reply storesInSilence() {
        return (exchange, docs) -> {
            docs.forEach(doc -> item(doc, null));
            exchange.close();
        };
    }

    /** Answers once it is let go. */
    Reply after(CountDownLatch latch, Reply reply) {
        return (exchange, docs) -> {
            latch.await();
            reply.to(exchange, docs);
        };
    }

    /** Each document is stored for a null, or else answered with this error: {@code 400 {"type":…}}. */
    Reply items(Function<Doc, String> error) {
        return (exchange, docs) -> {
            List<String> items = docs.stream().map(doc -> item(doc, error.apply(doc))).collect(Collectors.toList());
            if (obeysFilter && !filter(exchange).contains("items")) {
                send(exchange, 200, "{\"errors\":" + items.stream().anyMatch(item -> item.contains("\"error\"")) + "}");
                return;
            }
            send(exchange, 200, "{\"errors\":true,\"items\":[" + String.join(",", items) + "]}");
        };
    }

    static String error(int status, String type, String reason) {
        return status + " {\"type\":\"" + type + "\",\"reason\":\"" + reason + "\"}";
    }

    private String item(Doc doc, String error) {
        if (error == null) {
            if (doc.source == null) {
                stored.remove(doc.index + "/" + doc.id);
            } else {
                stored.put(doc.index + "/" + doc.id, doc.source);
            }
            return "{\"index\":{\"status\":201}}";
        }
        return "{\"index\":{\"status\":" + error.substring(0, 3) + ",\"error\":" + error.substring(4) + "}}";
    }

    private void handle(HttpExchange exchange) throws IOException {
        if (!exchange.getRequestMethod().equals("POST")) {
            questions.add(exchange.getRequestMethod() + " " + exchange.getRequestURI());
            exchange.sendResponseHeaders(answerToQuestions, -1);
            exchange.close();
            return;
        }
        byte[] sent = exchange.getRequestBody().readAllBytes();
        boolean gzip = "gzip".equals(exchange.getRequestHeaders().getFirst("Content-Encoding"));
        String body = new String(gzip ? new GZIPInputStream(new ByteArrayInputStream(sent)).readAllBytes() : sent,
                StandardCharsets.UTF_8);
        bodies.add((gzip ? "gzip " : "") + body);
        List<Doc> docs = parse(body);
        headers.add(exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath() + " "
                + exchange.getRequestHeaders().getFirst("Content-Type") + " "
                + exchange.getRequestHeaders().getFirst("Authorization"));
        filters.add(filter(exchange));
        Reply reply = script.poll();
        requests.add(docs);
        try {
            (reply == null ? always : reply).to(exchange, docs);
        } catch (Exception e) {
            exchange.close();
        }
    }

    private static String filter(HttpExchange exchange) {
        return exchange.getRequestURI().getQuery().replaceFirst("^filter_path=", "");
    }

    private static List<Doc> parse(String body) throws IOException {
        List<Doc> docs = new ArrayList<>();
        String[] lines = body.split("\n");
        for (int i = 0; i < lines.length; i++) {
            Map.Entry<String, JsonNode> action = MAPPER.readTree(lines[i]).properties().iterator().next();
            String index = action.getValue().path("_index").asText();
            String id = action.getValue().path("_id").asText();
            docs.add(new Doc(index, id, action.getKey().equals("delete") ? null : lines[++i]));
        }
        return docs;
    }

    private static void send(HttpExchange exchange, int status, String body) throws IOException {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }
}
