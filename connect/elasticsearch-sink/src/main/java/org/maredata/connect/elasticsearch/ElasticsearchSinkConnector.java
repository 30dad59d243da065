package org.maredata.connect.elasticsearch;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.Config;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.config.ConfigValue;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;
import org.maredata.connect.Version;

/** Stores the records of Kafka topics as documents in Elasticsearch. All work is done by the task. */
public final class ElasticsearchSinkConnector extends SinkConnector {
    /** Tells each task which one it is, for its metrics; no option. */
    static final String TASK_NUMBER = "task.number";

    private Map<String, String> properties;

    @Override
    public void start(Map<String, String> properties) {
        new ElasticsearchSinkConfig(properties);
        this.properties = Map.copyOf(properties);
    }

    @Override
    public Class<? extends Task> taskClass() {
        return ElasticsearchSinkTask.class;
    }

    @Override
    public List<Map<String, String>> taskConfigs(int maxTasks) {
        return IntStream.range(0, maxTasks).mapToObj(number -> {
            Map<String, String> task = new HashMap<>(properties);
            task.put(TASK_NUMBER, String.valueOf(number));
            return task;
        }).toList();
    }

    @Override
    public Config validate(Map<String, String> properties) {
        Config config = super.validate(properties);
        boolean eachIsValid = config.configValues().stream().allMatch(value -> value.errorMessages().isEmpty());
        if (eachIsValid) {
            try {
                ElasticsearchSinkConfig options = new ElasticsearchSinkConfig(properties);
                if (options.isToBeChecked()) {
                    ConnectionCheck.of(options).ifPresent(complaint ->
                            complain(config, complaint.options()::contains, complaint.sentence()));
                }
            } catch (ConfigException e) {
                // About options that don't fit together; a form shows it at the first of them.
                ConfigValue first = config.configValues().stream()
                        .filter(value -> e.getMessage().contains(value.name())).findFirst().orElseThrow();
                first.addErrorMessage(e.getMessage());
            }
        }
        return config;
    }

    @Override
    public ConfigDef config() {
        return ElasticsearchSinkConfig.definition();
    }

    @Override
    public boolean alterOffsets(Map<String, String> properties, Map<TopicPartition, Long> offsets) {
        // Offsets are only in Kafka, and a document's id makes delivering again harmless.
        return true;
    }

    @Override
    public void stop() {
        // The tasks hold everything there is to close.
    }

    @Override
    public String version() {
        return Version.text();
    }

    private static void complain(Config config, Predicate<String> about, String sentence) {
        config.configValues().stream().filter(value -> about.test(value.name()))
                .forEach(value -> value.addErrorMessage(sentence));
    }
}
