package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.maredata.connect.elasticsearch.TaskHarness.reading;

import java.io.IOException;
import java.io.InputStream;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Reaching Elasticsearch in all the ways that the options offer. */
class ConnectionTest {
    private static final String PASSWORD = "changeit";

    private static List<String> complaints(String option, Map<String, String> properties) {
        return new ElasticsearchSinkConnector().validate(properties).configValues().stream()
                .filter(value -> value.name().equals(option)).flatMap(value -> value.errorMessages().stream()).toList();
    }

    private static String onlyComplaint(String option, String... options) {
        Map<String, String> properties = new HashMap<>();
        for (int i = 0; i < options.length; i += 2) {
            properties.put(options[i], options[i + 1]);
        }
        List<String> found = complaints(option, properties);
        assertEquals(1, found.size(), found.toString());
        return found.get(0);
    }

    @Test
    void anApiKeyIsTheLogin() {
        try (FakeElasticsearch elasticsearch = new FakeElasticsearch();
                TaskHarness worker = new TaskHarness(elasticsearch.url(), true, "connection.api.key", "a2V5")) {
            worker.put(reading(0, "a"));
            worker.until(() -> worker.committable(0) == 1);
            assertTrue(elasticsearch.headers.get(0).endsWith("ApiKey a2V5"), elasticsearch.headers.get(0));
        }
    }

    @Test
    void bulksAreCompressedIfThatIsWished() {
        try (FakeElasticsearch elasticsearch = new FakeElasticsearch();
                TaskHarness worker = new TaskHarness(elasticsearch.url(), true, "connection.compression", "gzip")) {
            worker.put(reading(0, "a"));
            worker.until(() -> worker.committable(0) == 1);
            assertTrue(elasticsearch.bodies.get(0).startsWith("gzip {\"index\""), elasticsearch.bodies.get(0));
            assertEquals(1, elasticsearch.stored.size());
        }
    }

    @Test
    void anotherNodeTakesOverAndTheNodesTakeTurns() {
        try (FakeElasticsearch one = new FakeElasticsearch(); FakeElasticsearch two = new FakeElasticsearch();
                TaskHarness worker = new TaskHarness(one.url() + "," + two.url(), true, "batch.documents", "1")) {
            worker.put(LongStream.range(0, 10).mapToObj(i -> reading(i, "a" + i)).toList());
            worker.until(() -> worker.committable(0) == 10);
            assertTrue(one.stored.size() >= 3 && two.stored.size() >= 3, one.stored.size() + " and " + two.stored.size());
            int before = two.stored.size();
            one.stop();
            worker.put(LongStream.range(10, 20).mapToObj(i -> reading(i, "a" + i)).toList());
            worker.until(() -> worker.committable(0) == 20);
            assertEquals(before + 10, two.stored.size());
            assertEquals(List.of(), worker.deadLetters);
        }
    }

    @Test
    void aServerIsKnownByItsCaAndItsName(@TempDir Path folder) throws Exception {
        try (FakeElasticsearch right = new FakeElasticsearch(tls(folder, "right", "ip:127.0.0.1"));
                FakeElasticsearch misnamed = new FakeElasticsearch(tls(folder, "misnamed", "dns:elsewhere"))) {
            String ca = folder.resolve("right.pem").toString();
            try (TaskHarness worker = new TaskHarness(right.url(), true, "connection.ca.file", ca)) {
                worker.put(reading(0, "a"));
                worker.until(() -> worker.committable(0) == 1);
            }
            assertEquals(List.of(), complaints("connection.ca.file", Map.of("connection.url", right.url(), "connection.ca.file", ca)));
            assertTrue(onlyComplaint("connection.ca.file", "connection.url", right.url()).contains("isn't trusted"));
            assertTrue(onlyComplaint("connection.ca.file", "connection.url", misnamed.url(), "connection.ca.file",
                    folder.resolve("misnamed.pem").toString()).contains("isn't trusted"));
            assertTrue(onlyComplaint("connection.ca.file", "connection.url", right.url(), "connection.ca.file",
                    folder.resolve("misnamed.pem").toString()).contains("isn't trusted"));
        }
    }

    @Test
    void aConfigurationIsTriedBeforeItIsSet() throws IOException {
        try (FakeElasticsearch elasticsearch = new FakeElasticsearch()) {
            String url = elasticsearch.url();
            assertEquals(List.of(), complaints("connection.url", Map.of("connection.url", url)));
            assertEquals(List.of("GET /_security/_authenticate"), elasticsearch.questions);
            elasticsearch.answerToQuestions = 401;
            assertTrue(onlyComplaint("connection.password", "connection.url", url, "connection.username", "u",
                    "connection.password", "p").contains("mend the login"));
            assertTrue(onlyComplaint("connection.api.key", "connection.url", url, "connection.api.key", "k").contains("mend the login"));
            // Without security the question is an unknown one.
            elasticsearch.answerToQuestions = 400;
            assertEquals(List.of(), complaints("connection.url", Map.of("connection.url", url)));
        }
        int closed;
        try (ServerSocket socket = new ServerSocket(0)) {
            closed = socket.getLocalPort();
        }
        assertTrue(onlyComplaint("connection.url", "connection.url", "http://127.0.0.1:" + closed).contains("doesn't answer"));
        assertTrue(onlyComplaint("connection.url", "connection.url", "http://no-such-host.invalid").contains("doesn't answer"));
        assertEquals(List.of(), complaints("connection.url",
                Map.of("connection.url", "http://127.0.0.1:" + closed, "connection.check", "false")));
    }

    /** A server's identity, with a certificate signed by itself; that is left in the folder as name.pem. */
    private static SSLContext tls(Path folder, String name, String alternative) throws Exception {
        Path keys = folder.resolve(name + ".p12");
        Process keytool = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair", "-alias", "it", "-keyalg", "EC", "-dname", "CN=" + name, "-ext", "san=" + alternative,
                "-keystore", keys.toString(), "-storepass", PASSWORD, "-storetype", "PKCS12").redirectErrorStream(true).start();
        assertEquals("", new String(keytool.getInputStream().readAllBytes()).replaceAll("(?s)Generating.*", ""));
        assertEquals(0, keytool.waitFor());
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream file = Files.newInputStream(keys)) {
            store.load(file, PASSWORD.toCharArray());
        }
        Files.writeString(folder.resolve(name + ".pem"), "-----BEGIN CERTIFICATE-----\n"
                + Base64.getMimeEncoder().encodeToString(store.getCertificate("it").getEncoded()) + "\n-----END CERTIFICATE-----\n");
        KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(store, PASSWORD.toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(managers.getKeyManagers(), null, null);
        return context;
    }
}
