package org.maredata.connect.capture;

import com.fasterxml.jackson.core.JsonToken;
import java.util.Map;
import org.maredata.connect.Reason;
import org.maredata.connect.StrictJson;

/** A change as Debezium writes it with JsonConverter and schemas.enable=false. */
final class Envelope {
    /** Envelope, image, and a POINT or what else Debezium makes an object; more than any that is known. */
    private static final int MAX_DEPTH = 16;

    private final Map<String, Cell> members;

    private Envelope(Map<String, Cell> members) {
        this.members = members;
    }

    /** Throws RefusedException for anything that isn't an envelope. */
    static Envelope read(byte[] text) {
        try (StrictJson json = new StrictJson(text, MAX_DEPTH)) {
            Envelope envelope = new Envelope(Cell.membersOf(json));
            json.end();
            return envelope;
        }
    }

    Operation operation() {
        Cell op = members.get("op");
        if (op == null || op.type() != JsonToken.VALUE_STRING) {
            throw Reason.MISSING_FIELD.because("the value has no op, so it is no change as Debezium writes it: set "
                    + "value.converter=org.apache.kafka.connect.json.JsonConverter and "
                    + "value.converter.schemas.enable=false in the source");
        }
        return Operation.of(op.text());
    }

    /** The row's values by the names of its columns; {@code which} is before or after. */
    Map<String, Cell> image(String which) {
        return object(members, which);
    }

    /** The number that stands where the change stands in the binary log; later transactions have greater ones. */
    long version(long filesBefore) {
        Map<String, Cell> source = object(members, "source");
        return BinlogVersion.of(text(source, "file", JsonToken.VALUE_STRING), text(source, "pos", JsonToken.VALUE_NUMBER_INT),
                filesBefore);
    }

    private static Map<String, Cell> object(Map<String, Cell> members, String name) {
        Cell found = members.get(name);
        if (found == null || found.type() != JsonToken.START_OBJECT) {
            throw Reason.MISSING_FIELD.because("the change has no object " + name + (name.equals("before")
                    ? ": the server must log whole rows (binlog_row_image=FULL)" : ""));
        }
        return found.members();
    }

    private static String text(Map<String, Cell> source, String name, JsonToken type) {
        Cell found = source.get(name);
        if (found == null || found.type() != type) {
            throw Reason.MISSING_FIELD.because("the change doesn't say where it stands in the binary log: source." + name
                    + " is missing, or of another type");
        }
        return found.text();
    }
}
