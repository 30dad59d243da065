package org.maredata.connect;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.stream.StreamSupport;

/** The test vectors that every program on a reading's way shares; elsewhere with -Dmaredata.vectors=folder. */
public final class Vectors {
    private static final Path FOLDER = Path.of(System.getProperty("maredata.vectors", "../../tests/vectors"));

    private Vectors() {
    }

    public static String schema() {
        return text("schema.json");
    }

    static List<JsonNode> timestamps() {
        return list("timestamps.json");
    }

    public static List<JsonNode> records() {
        return list("records.json");
    }

    /** Keys of rows, as Debezium writes their values, and their ids. */
    public static List<JsonNode> rowIds() {
        return list("row_ids.json");
    }

    public static byte[] line(JsonNode vector) {
        return vector.has("line") ? vector.get("line").asText().getBytes(StandardCharsets.UTF_8)
                : Base64.getDecoder().decode(vector.get("base64").asText());
    }

    private static List<JsonNode> list(String file) {
        try {
            JsonNode list = new ObjectMapper().readTree(text(file));
            return StreamSupport.stream(list.spliterator(), false).toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String text(String file) {
        try {
            return Files.readString(FOLDER.resolve(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
