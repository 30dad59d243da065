package org.maredata.connect.capture;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.DateTimeException;
import java.time.ZoneId;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.common.config.ConfigException;

/** Reads the option {@code layout}. What it has beyond what is needed here is for others, and passed over. */
final class LayoutOption {
    static final String NAME = "layout";

    private static final Set<String> DELETES = Set.of("keep", "mirror");
    private static final ObjectMapper MAPPER = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private LayoutOption() {
    }

    /** Throws ConfigException with the place of the first mistake. */
    static RowLayout read(String text) {
        JsonNode layout = parsed(text);
        List<RowField> fields = members(layout, "fields", LayoutOption::field);
        List<RowColumn> key = members(layout, "key", LayoutOption::keyColumn);
        Set<String> names = fields.stream().map(RowField::name).collect(Collectors.toSet());
        require(names.size() == fields.size(), "fields: two have one name");
        String deletes = string(layout, "", "deletes");
        require(DELETES.contains(deletes), "deletes must be keep or mirror, not " + deletes);
        int before = layout.has("files_before") ? number(layout, "", "files_before") : 0;
        return new RowLayout(fields, key, deletes.equals("mirror"), before);
    }

    private static JsonNode parsed(String text) {
        try {
            JsonNode layout = MAPPER.readTree(text);
            require(layout.isObject(), "it must be a JSON object");
            return layout;
        } catch (JsonProcessingException e) {
            throw new ConfigException(NAME + ": it is no JSON (" + e.getOriginalMessage() + "); `mare capture` writes it");
        }
    }

    private static RowField field(JsonNode field, String place) {
        String name = string(field, place, "name");
        Kind kind = kind(string(field, place, "kind"), place);
        List<RowColumn> columns = members(field, place, "columns", LayoutOption::column);
        int wanted = kind == Kind.PLACE ? 2 : 1;
        require(columns.size() == wanted, place + "columns: a " + kind.text() + " has " + wanted + ", not " + columns.size());
        return new RowField(name, kind, columns, zone(string(field, place, "zone"), place), flag(field, place, "as_string"));
    }

    private static RowColumn keyColumn(JsonNode column, String place) {
        RowColumn read = column(column, place);
        require(Kind.ofKey(read) != null, place + "a " + read.type() + " can't be part of a key");
        return read;
    }

    private static RowColumn column(JsonNode column, String place) {
        return new RowColumn(string(column, place, "name"), string(column, place, "type"), flag(column, place, "nullable"),
                number(column, place, "digits"), flag(column, place, "json"));
    }

    private static Kind kind(String name, String place) {
        return Arrays.stream(Kind.values()).filter(kind -> kind.text().equals(name)).findFirst().orElseThrow(
                () -> new ConfigException(NAME + ": " + place + "there is no kind " + name));
    }

    private static ZoneId zone(String name, String place) {
        try {
            return ZoneId.of(name);
        } catch (DateTimeException e) {
            throw new ConfigException(NAME + ": " + place + "the worker's Java knows no time zone " + name);
        }
    }

    private static <T> List<T> members(JsonNode parent, String name, BiFunction<JsonNode, String, T> read) {
        return members(parent, "", name, read);
    }

    private static <T> List<T> members(JsonNode parent, String place, String name, BiFunction<JsonNode, String, T> read) {
        JsonNode list = parent.path(name);
        require(list.isArray() && !list.isEmpty(), place + name + " must be a list with at least one entry");
        return IntStream.range(0, list.size()).mapToObj(i -> read.apply(list.get(i), place + name + "[" + i + "]: ")).toList();
    }

    private static String string(JsonNode parent, String place, String name) {
        require(parent.path(name).isTextual() && !parent.get(name).textValue().isEmpty(), place + name + " must be a text");
        return parent.get(name).textValue();
    }

    private static boolean flag(JsonNode parent, String place, String name) {
        require(parent.path(name).isBoolean(), place + name + " must be true or false");
        return parent.get(name).booleanValue();
    }

    private static int number(JsonNode parent, String place, String name) {
        JsonNode found = parent.path(name);
        require(found.isInt() && found.intValue() >= 0, place + name + " must be an integer, at least 0");
        return found.intValue();
    }

    private static void require(boolean condition, String otherwise) {
        if (!condition) {
            throw new ConfigException(NAME + ": " + otherwise);
        }
    }
}
