package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import org.junit.jupiter.api.Test;

class SinkMetricsTest {
    private static final MBeanServer SERVER = ManagementFactory.getPlatformMBeanServer();

    @Test
    void aTaskThatStopsLateLeavesItsSuccessorsMetricsAlone() throws Exception {
        SinkMetrics late = new SinkMetrics("late", "0");
        SinkMetrics successor = new SinkMetrics("late", "0");
        successor.deadLetter();
        late.close();
        assertEquals(1L, SERVER.getAttribute(name("late"), "DeadLetters"));
        successor.close();
        assertFalse(SERVER.isRegistered(name("late")));
    }

    /** Connect starts a task's successor while one that it gave up on is still stopping: neither may fail. */
    @Test
    void aTaskStartsWhileItsPredecessorStops() throws Exception {
        ExecutorService other = Executors.newSingleThreadExecutor();
        try {
            SinkMetrics current = new SinkMetrics("at-once", "0");
            for (int i = 0; i < 20_000; i++) {
                CompletableFuture<Void> stopped = CompletableFuture.runAsync(current::close, other);
                current = new SinkMetrics("at-once", "0");
                stopped.get();
                assertTrue(SERVER.isRegistered(name("at-once")));
            }
            current.close();
        } finally {
            other.shutdownNow();
        }
    }

    private static ObjectName name(String connector) throws Exception {
        return new ObjectName("org.maredata.connect:type=elasticsearch-sink,connector=" + ObjectName.quote(connector) + ",task=0");
    }
}
