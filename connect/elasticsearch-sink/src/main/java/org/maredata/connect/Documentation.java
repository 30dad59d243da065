package org.maredata.connect;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.config.ConfigDef;
import org.maredata.connect.capture.RowDocument;
import org.maredata.connect.elasticsearch.ElasticsearchSinkDocumentation;

/**
 * The tables of the README, made from the code. Without an argument they are printed; with the path of a
 * README they are put in their places there.
 */
public final class Documentation {
    private Documentation() {
    }

    public static void main(String[] arguments) throws IOException {
        if (arguments.length == 0) {
            tables().forEach((name, table) -> System.out.println(table));
            return;
        }
        Path readme = Path.of(arguments[0]);
        Files.writeString(readme, fill(Files.readString(readme)));
    }

    /** The README with its tables as the code has them; they stand between {@code <!-- name -->} and {@code <!-- end -->}. */
    static String fill(String readme) {
        String filled = readme;
        for (Map.Entry<String, String> table : tables().entrySet()) {
            String start = "<!-- " + table.getKey() + " -->\n";
            Matcher place = Pattern.compile(Pattern.quote(start) + ".*?(?=<!-- end -->)", Pattern.DOTALL).matcher(filled);
            if (!place.find()) {
                throw new IllegalArgumentException("The README has no " + start);
            }
            filled = filled.substring(0, place.start()) + start + table.getValue() + filled.substring(place.end());
        }
        return filled;
    }

    private static Map<String, String> tables() {
        Map<String, String> tables = new LinkedHashMap<>();
        tables.put("connector options", options(ElasticsearchSinkDocumentation.options()));
        tables.put("answers", table(List.of("Elasticsearch answers", "the task"), ElasticsearchSinkDocumentation.answers()));
        tables.put("value forms", table(List.of("value", "what it is"), ElasticsearchSinkDocumentation.valueForms()));
        tables.put("metrics", table(List.of("attribute", "meaning"), ElasticsearchSinkDocumentation.metrics()));
        tables.put("converter options", options(ReadingConverterConfig.definition()));
        tables.put("row document options", options(RowDocument.definition()));
        tables.put("reasons", table(List.of("code", "why a record is refused"), Arrays.stream(Reason.values())
                .map(reason -> List.of("`" + reason.code() + "`", reason.description())).toList()));
        return tables;
    }

    private static String options(ConfigDef definition) {
        return table(List.of("option", "default", "valid", "meaning"), definition.configKeys().values().stream()
                .map(key -> List.of("`" + key.name + "`", defaultOf(key),
                        key.validator == null ? "" : key.validator.toString(), key.documentation)).toList());
    }

    private static String defaultOf(ConfigDef.ConfigKey key) {
        if (!key.hasDefault()) {
            return "required";
        }
        Object value = key.type == ConfigDef.Type.PASSWORD ? "" : key.defaultValue;
        return value.toString().isEmpty() ? "" : "`" + value + "`";
    }

    private static String table(List<String> head, List<List<String>> rows) {
        StringBuilder table = new StringBuilder(row(head)).append(row(head.stream().map(cell -> "---").toList()));
        rows.forEach(cells -> table.append(row(cells)));
        return table.toString();
    }

    private static String row(List<String> cells) {
        return "| " + String.join(" | ", cells) + " |\n";
    }
}
