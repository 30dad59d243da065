package org.maredata.connect.jdbc;

import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.Config;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.ConnectorContext;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;
import org.maredata.connect.Version;

/** Debezium's JDBC sink with {@link JdbcSinkTask} for its tasks; the configuration is Debezium's own. */
public final class JdbcSinkConnector extends SinkConnector {
    /** Made when it is first needed: Connect makes one of each connector while it is still looking for plugins. */
    private SinkConnector debezium;

    @Override
    public String version() {
        return Version.text();
    }

    @Override
    public ConfigDef config() {
        return Debezium.inside(debezium(), () -> debezium.config());
    }

    @Override
    public Config validate(Map<String, String> properties) {
        return Debezium.inside(debezium(), () -> debezium.validate(properties));
    }

    @Override
    public void initialize(ConnectorContext context) {
        super.initialize(context);
        debezium().initialize(context);
    }

    @Override
    public void start(Map<String, String> properties) {
        Debezium.inside(debezium, () -> debezium.start(properties));
    }

    @Override
    public Class<? extends Task> taskClass() {
        return JdbcSinkTask.class;
    }

    @Override
    public List<Map<String, String>> taskConfigs(int maxTasks) {
        return Debezium.inside(debezium, () -> debezium.taskConfigs(maxTasks));
    }

    @Override
    public void stop() {
        Debezium.inside(debezium, debezium::stop);
    }

    @Override
    public boolean alterOffsets(Map<String, String> properties, Map<TopicPartition, Long> offsets) {
        return true;
    }

    private SinkConnector debezium() {
        if (debezium == null) {
            debezium = Debezium.connector();
        }
        return debezium;
    }
}
