package org.maredata.connect.elasticsearch;

import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import javax.management.Attribute;
import javax.management.AttributeList;
import javax.management.AttributeNotFoundException;
import javax.management.DynamicMBean;
import javax.management.JMException;
import javax.management.MBeanAttributeInfo;
import javax.management.MBeanInfo;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import org.apache.kafka.connect.errors.ConnectException;

/** The task's {@link Metric}s as an MBean: written by the task's thread, read by any. */
final class SinkMetrics implements DynamicMBean, AutoCloseable {
    /** Of the oldest record's timestamp, if there is none. */
    private static final long NONE = Long.MAX_VALUE;

    /** The newest of each name; guarded by this class. */
    private static final Map<ObjectName, SinkMetrics> REGISTERED = new HashMap<>();

    private final ObjectName name;
    private final Map<Metric, AtomicLong> values = new EnumMap<>(Metric.class);

    SinkMetrics(String connector, String task) {
        for (Metric metric : Metric.values()) {
            values.put(metric, new AtomicLong());
        }
        state(0, 0, null);
        try {
            name = new ObjectName("org.maredata.connect:type=elasticsearch-sink,connector=" + ObjectName.quote(connector)
                    + ",task=" + task);
            MBeanServer server = ManagementFactory.getPlatformMBeanServer();
            synchronized (SinkMetrics.class) {
                if (server.isRegistered(name)) {
                    // Of a task that was given up on because it didn't stop in time; it may be stopping just now.
                    server.unregisterMBean(name);
                }
                server.registerMBean(this, name);
                REGISTERED.put(name, this);
            }
        } catch (JMException e) {
            throw new ConnectException("The metrics can't be registered", e);
        }
    }

    /** @param oldestTimestamp in milliseconds since 1970; null if nothing is unacknowledged */
    void state(int bulks, int records, Long oldestTimestamp) {
        values.get(Metric.BULKS_IN_FLIGHT).set(bulks);
        values.get(Metric.UNACKNOWLEDGED_RECORDS).set(records);
        values.get(Metric.OLDEST_UNACKNOWLEDGED_LAG).set(oldestTimestamp == null ? NONE : oldestTimestamp);
    }

    void stored(int documents) {
        if (documents > 0) {
            values.get(Metric.DOCUMENTS_STORED).addAndGet(documents);
            values.get(Metric.LAST_SUCCESS).set(System.currentTimeMillis());
        }
    }

    void retried(int documents) {
        values.get(Metric.DOCUMENTS_RETRIED).addAndGet(documents);
    }

    void deadLetter() {
        values.get(Metric.DEAD_LETTERS).incrementAndGet();
    }

    @Override
    public Object getAttribute(String attribute) throws AttributeNotFoundException {
        Metric metric = Arrays.stream(Metric.values()).filter(m -> m.attribute().equals(attribute)).findFirst()
                .orElseThrow(() -> new AttributeNotFoundException(attribute));
        long value = values.get(metric).get();
        return metric == Metric.OLDEST_UNACKNOWLEDGED_LAG ? lag(value) : value;
    }

    @Override
    public AttributeList getAttributes(String[] attributes) {
        AttributeList list = new AttributeList();
        for (String attribute : attributes) {
            try {
                list.add(new Attribute(attribute, getAttribute(attribute)));
            } catch (AttributeNotFoundException e) {
                // By the interface's rule, what isn't there is left out.
            }
        }
        return list;
    }

    @Override
    public void setAttribute(Attribute attribute) throws AttributeNotFoundException {
        throw new AttributeNotFoundException(attribute.getName() + " can't be set");
    }

    @Override
    public AttributeList setAttributes(AttributeList attributes) {
        return new AttributeList();
    }

    @Override
    public Object invoke(String action, Object[] parameters, String[] signature) {
        throw new UnsupportedOperationException(action);
    }

    @Override
    public MBeanInfo getMBeanInfo() {
        return new MBeanInfo(SinkMetrics.class.getName(), "A task of the Elasticsearch sink", Arrays.stream(Metric.values())
                .map(metric -> new MBeanAttributeInfo(metric.attribute(), "long", metric.description(), true, false, false))
                .toArray(MBeanAttributeInfo[]::new), null, null, null);
    }

    @Override
    public void close() {
        synchronized (SinkMetrics.class) {
            if (!REGISTERED.remove(name, this)) {
                return; // A newer task of that number has taken the name.
            }
            try {
                ManagementFactory.getPlatformMBeanServer().unregisterMBean(name);
            } catch (JMException e) {
                // Somebody else has taken it out.
            }
        }
    }

    private static long lag(long oldest) {
        return oldest == NONE ? 0 : Math.max(0, System.currentTimeMillis() - oldest);
    }
}
