package org.maredata.connect.capture;

import com.fasterxml.jackson.core.JsonToken;
import java.util.LinkedHashMap;
import java.util.Map;
import org.maredata.connect.StrictJson;

/**
 * One value of an envelope. A number stays the text that came: neither a digit nor the sign of a zero is lost.
 *
 * @param text null of an object and of an array
 * @param members of an object; null of anything else
 */
record Cell(JsonToken type, String text, Map<String, Cell> members) {
    /** The members of the object that the reader is in, which it then has left. */
    static Map<String, Cell> membersOf(StrictJson json) {
        Map<String, Cell> members = new LinkedHashMap<>();
        while (json.next() != JsonToken.END_OBJECT) {
            String name = json.text();
            members.put(name, read(json, json.next()));
        }
        return members;
    }

    boolean isNull() {
        return type == JsonToken.VALUE_NULL;
    }

    private static Cell read(StrictJson json, JsonToken type) {
        if (type == JsonToken.START_OBJECT) {
            return new Cell(type, null, membersOf(json));
        }
        if (type == JsonToken.START_ARRAY) {
            json.skip();
            return new Cell(type, null, null);
        }
        return new Cell(type, json.text(), null);
    }
}
