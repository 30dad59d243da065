package org.maredata.connect.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.apache.kafka.common.config.ConfigException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LayoutOptionTest {
    private static final String LAYOUT = Capture.layout("keep",
            Capture.field("v", "double", "UTC", false, Capture.column("v", "float", true, 0, 12)));

    /** A piece of a right layout, what stands there instead, and what is said of it. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{\"fields\"              | {fields               | layout: it is no JSON",
        "\"keep\"}                | \"keep\"}}            | layout: it is no JSON",
        "\"fields\":[             | \"others\":[          | layout: fields must be a list with at least one entry",
        "\"key\":[                | \"keys\":[            | layout: key must be a list with at least one entry",
        "\"deletes\":\"keep\"     | \"deletes\":\"drop\"  | layout: deletes must be keep or mirror, not drop",
        "\"deletes\":\"keep\"     | \"deletes\":true      | layout: deletes must be a text",
        "\"deletes\":             | \"files_before\":-1,\"deletes\": | layout: files_before must be an integer, at least 0",
        "\"kind\":\"double\"      | \"kind\":\"money\"    | layout: fields[0]: there is no kind money",
        "\"zone\":\"UTC\"         | \"zone\":\"Mars/X\"   | layout: fields[0]: the worker's Java knows no time zone Mars/X",
        "\"as_string\":false      | \"as_string\":0       | layout: fields[0]: as_string must be true or false",
        "\"kind\":\"double\"      | \"kind\":\"place\"    | layout: fields[0]: columns: a place has 2, not 1",
        "\"type\":\"float\",      | ``                    | layout: fields[0]: columns[0]: type must be a text",
        "\"nullable\":true,       | ``                    | layout: fields[0]: columns[0]: nullable must be true or false",
        "\"digits\":0              | \"digits\":1.5        | layout: fields[0]: columns[0]: digits must be an integer",
        "\"type\":\"int\"         | \"type\":\"double\"   | layout: key[0]: a double can't be part of a key",
        "}],\"key\"               | },{\"name\":\"v\",\"kind\":\"text\",\"zone\":\"UTC\",\"as_string\":false,\"columns\":[{\"name\":\"w\",\"type\":\"text\",\"nullable\":true,\"digits\":0,\"precision\":0,\"json\":false}]}],\"key\" | layout: fields: two have one name"})
    void eachMistakeIsNamed(String piece, String instead, String message) {
        assertTrue(LAYOUT.contains(piece), "the test itself");
        String wrong = LAYOUT.replace(piece, instead);
        ConfigException e = assertThrows(ConfigException.class, () -> Capture.transform(wrong));
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
    }

    @Test
    void aKeyOfJsonIsRefused() {
        String wrong = LAYOUT.substring(0, LAYOUT.lastIndexOf("false")) + "true}],\"deletes\":\"keep\"}";
        assertTrue(assertThrows(ConfigException.class, () -> LayoutOption.read(wrong)).getMessage().contains("key[0]"));
    }

    @Test
    void itIsRequired() {
        assertThrows(ConfigException.class, () -> new RowDocument<>().configure(Map.of()));
        assertThrows(ConfigException.class, () -> LayoutOption.read("null"));
    }

    @Test
    void whatItHasBeyondThatIsPassedOver() {
        assertEquals(LayoutOption.read(LAYOUT), LayoutOption.read(LAYOUT.replace("{\"fields\"", "{\"more\":[1],\"fields\"")
                .replace("\"type\":\"float\"", "\"type\":\"float\",\"column_type\":\"float\",\"unsigned\":false")));
    }
}
