package org.maredata.connect.elasticsearch;

import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.config.ConfigDef;

/** What the README says of the sink, from the code itself. */
public final class ElasticsearchSinkDocumentation {
    private ElasticsearchSinkDocumentation() {
    }

    public static ConfigDef options() {
        return ElasticsearchSinkConfig.definition();
    }

    /** What Elasticsearch answers, and what the task does then. */
    public static List<List<String>> answers() {
        return Arrays.stream(Answer.values())
                .map(answer -> List.of(answer.description(), answer.treatment().description())).toList();
    }

    public static List<List<String>> metrics() {
        return Arrays.stream(Metric.values()).map(metric -> List.of("`" + metric.attribute() + "`", metric.description()))
                .toList();
    }

    public static List<List<String>> valueForms() {
        return Arrays.stream(ValueForm.values())
                .map(form -> List.of(form.name().toLowerCase(java.util.Locale.ROOT), form.description())).toList();
    }
}
