package org.maredata.connect.elasticsearch;

import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.sink.SinkRecord;
import org.maredata.connect.ReadingConverter;
import org.maredata.connect.Timestamps;
import org.maredata.connect.Vectors;

/**
 * Not a test: prints the CPU that the converter, the task and HTTP take for each document, with a server that only
 * counts. Argument: how many documents (1000000). The consumer and Connect's own share are not in it.
 */
public final class SinkBenchmark {
    private static final int BATCH = 4000;
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final OperatingSystemMXBean PROCESS =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private SinkBenchmark() {
    }

    public static void main(String[] arguments) throws Exception {
        int documents = arguments.length == 0 ? 1_000_000 : Integer.parseInt(arguments[0]);
        try (CountingServer server = new CountingServer();
                TaskHarness worker = new TaskHarness("http://127.0.0.1:" + server.port(), true,
                        "index", "readings-{timestamp:yyyy.MM}", "document.id", "{sensor_id}-{timestamp:epoch_micros}",
                        "batch.documents", "4000", "flight", "3", "linger.ms", "50",
                        "max.buffered.records", "16000")) {
            List<byte[]> readings = readings();
            System.out.printf("one reading has %d bytes%n", readings.get(0).length);
            for (String run : List.of("cold", "warm", "warm", "warm")) {
                run(run, documents, server, worker, readings);
            }
        }
    }

    private static void run(String name, int documents, CountingServer server, TaskHarness worker, List<byte[]> readings)
            throws InterruptedException {
        ReadingConverter converter = new ReadingConverter();
        converter.configure(Map.of("schema.content", Vectors.schema(), "output", "json"), false);
        Map<Long, Long> before = threadTimes();
        long process = PROCESS.getProcessCpuTime();
        long serverBefore = server.cpu();
        long wall = System.nanoTime();
        long converting = 0;
        long putting = 0;
        long requests = server.requests.get();
        for (int done = 0; done < documents; done += BATCH) {
            long start = THREADS.getCurrentThreadCpuTime();
            List<SinkRecord> records = new ArrayList<>(BATCH);
            for (int i = done; i < done + BATCH; i++) {
                SchemaAndValue value = converter.toConnectData("readings", readings.get(i % readings.size()));
                records.add(new SinkRecord("readings", i & 1, null, null, value.schema(), value.value(), i));
            }
            long converted = THREADS.getCurrentThreadCpuTime();
            worker.put(records);
            // As Connect does while partitions are paused.
            while (!worker.context.paused.isEmpty()) {
                Thread.sleep(5);
                worker.put();
            }
            long put = THREADS.getCurrentThreadCpuTime();
            converting += converted - start;
            putting += put - converted;
        }
        int all = documents;
        worker.until(() -> Math.max(worker.committable(0), worker.committable(1)) >= all
                && Math.min(worker.committable(0), worker.committable(1)) >= all - 1);
        wall = System.nanoTime() - wall;
        double http = 0;
        for (Map.Entry<Long, Long> thread : threadTimes().entrySet()) {
            String title = THREADS.getThreadInfo(thread.getKey()) == null ? ""
                    : THREADS.getThreadInfo(thread.getKey()).getThreadName();
            if (title.startsWith("bulk-") || title.startsWith("I/O dispatcher") || title.startsWith("pool-")) {
                http += thread.getValue() - before.getOrDefault(thread.getKey(), 0L);
            }
        }
        long serverCpu = server.cpu() - serverBefore;
        System.out.printf("%s: %,d documents in %.1f s, %.0f a bulk; CPU us a document: converter %.2f, task %.2f, http %.2f,"
                + " all of the process but the server %.2f%n", name, documents, wall / 1e9,
                (double) documents / (server.requests.get() - requests), converting / 1e3 / documents,
                putting / 1e3 / documents, http / 1e3 / documents,
                (PROCESS.getProcessCpuTime() - process - serverCpu) / 1e3 / documents);
    }

    private static Map<Long, Long> threadTimes() {
        Map<Long, Long> times = new HashMap<>();
        for (long id : THREADS.getAllThreadIds()) {
            times.put(id, THREADS.getThreadCpuTime(id));
        }
        return times;
    }

    private static List<byte[]> readings() {
        Random random = new Random(3);
        List<byte[]> readings = new ArrayList<>();
        for (int i = 0; i < 50_000; i++) {
            long micros = 1_704_067_200_000_000L + i * 173_000_111L;
            readings.add(String.format(java.util.Locale.ROOT, "{\"timestamp\": \"%s\", \"temperature\": %.1f, \"humidity\": %.2f, "
                    + "\"pressure\": %.2f, \"sensor_id\": %d, \"location\": {\"lon\": %.6f, \"lat\": %.6f}}",
                    Timestamps.canonical(micros), 10 + random.nextDouble() * 20, random.nextDouble() * 100,
                    990 + random.nextDouble() * 30, random.nextInt(500), random.nextDouble() * 6, 40 + random.nextDouble() * 5)
                    .getBytes(StandardCharsets.UTF_8));
        }
        return readings;
    }

    /** Answers every bulk as stored, as fast as it can. */
    private static final class CountingServer implements AutoCloseable {
        final AtomicLong requests = new AtomicLong();
        private final ServerSocket socket = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        private final List<Thread> threads = new ArrayList<>();

        CountingServer() throws IOException {
            start(() -> {
                while (true) {
                    Socket connection = socket.accept();
                    start(() -> serve(connection));
                }
            });
        }

        int port() {
            return socket.getLocalPort();
        }

        synchronized long cpu() {
            return threads.stream().mapToLong(thread -> Math.max(0, THREADS.getThreadCpuTime(thread.getId()))).sum();
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }

        private interface Work {
            void run() throws IOException;
        }

        private synchronized void start(Work work) {
            Thread thread = new Thread(() -> {
                try {
                    work.run();
                } catch (IOException e) {
                    // The benchmark is over.
                }
            });
            thread.setDaemon(true);
            threads.add(thread);
            thread.start();
        }

        private void serve(Socket connection) throws IOException {
            InputStream in = new BufferedInputStream(connection.getInputStream(), 1 << 18);
            OutputStream out = connection.getOutputStream();
            byte[] buffer = new byte[1 << 18];
            while (true) {
                String head = head(in);
                int length = contentLength(head);
                int lines = 0;
                while (length > 0) {
                    int read = in.read(buffer, 0, Math.min(buffer.length, length));
                    for (int i = 0; i < read; i++) {
                        lines += buffer[i] == '\n' ? 1 : 0;
                    }
                    length -= read;
                }
                requests.incrementAndGet();
                String items = ",\"items\":[" + "{\"index\":{\"status\":201}},".repeat(lines / 2 - 1)
                        + "{\"index\":{\"status\":201}}]";
                byte[] body = ("{\"errors\":false" + (head.contains("items") ? items : "") + "}")
                        .getBytes(StandardCharsets.US_ASCII);
                out.write(("HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
                        + "content-length: " + body.length + "\r\n\r\n").getBytes(StandardCharsets.US_ASCII));
                out.write(body);
            }
        }

        private static String head(InputStream in) throws IOException {
            StringBuilder head = new StringBuilder();
            while (head.length() < 4 || !head.substring(head.length() - 4).equals("\r\n\r\n")) {
                int b = in.read();
                if (b < 0) {
                    throw new IOException("closed");
                }
                head.append((char) b);
            }
            return head.toString();
        }

        private static int contentLength(String head) {
            String lower = head.toLowerCase(java.util.Locale.ROOT);
            int at = lower.indexOf("content-length:") + 15;
            return Integer.parseInt(lower.substring(at, lower.indexOf("\r\n", at)).strip());
        }
    }
}
