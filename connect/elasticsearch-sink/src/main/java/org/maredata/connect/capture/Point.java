package org.maredata.connect.capture;

import com.fasterxml.jackson.core.JsonToken;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Set;
import org.maredata.connect.Reason;

/** A POINT, which Debezium writes as an object of its bytes (WKB) and its SRID. */
final class Point {
    /** SRIDs in which x is a longitude and y a latitude; null stands for 0. */
    private static final Set<String> DEGREES = Set.of("0", "4326", "null");
    private static final int LENGTH = 1 + 4 + 2 * Double.BYTES;
    private static final byte LITTLE_ENDIAN = 1;
    private static final int POINT = 1;

    private Point() {
    }

    /** A geo_point as a JSON object. */
    static String json(RowColumn column, Cell cell) {
        if (cell.type() != JsonToken.START_OBJECT || !cell.members().containsKey("wkb")) {
            throw column.wrong(cell);
        }
        Cell srid = cell.members().get("srid");
        if (srid != null && !DEGREES.contains(srid.text())) {
            throw Reason.OUT_OF_LIMITS.because("column " + column.name() + ": a place of SRID " + srid.text()
                    + " is not in degrees of longitude and latitude");
        }
        byte[] wkb = Values.bytes(column, cell.members().get("wkb"));
        ByteBuffer bytes = ByteBuffer.wrap(wkb).order(ByteOrder.LITTLE_ENDIAN);
        if (wkb.length != LENGTH || bytes.get() != LITTLE_ENDIAN || bytes.getInt() != POINT) {
            throw Reason.WRONG_TYPE.because("column " + column.name() + ": no point");
        }
        return "{\"lon\":" + Doubles.text(bytes.getDouble()) + ",\"lat\":" + Doubles.text(bytes.getDouble()) + '}';
    }
}
