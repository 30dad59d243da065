package org.maredata.connect.capture;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.maredata.connect.Reason;

/**
 * What a row's document is made of.
 *
 * @param key the columns that the _id is made of
 * @param mirrorsDeletes whether a deleted row's document is deleted
 * @param filesBefore see {@link BinlogVersion#of}
 */
record RowLayout(List<RowField> fields, List<RowColumn> key, boolean mirrorsDeletes, long filesBefore) {
    /** The row's document: JSON on one line. NULL and dates that no calendar has are left out. */
    byte[] document(Map<String, Cell> image) {
        StringBuilder document = new StringBuilder("{");
        for (RowField field : fields) {
            String value = value(field, image);
            if (value != null) {
                document.append(document.length() > 1 ? "," : "").append(Kind.quoted(field.name())).append(':').append(value);
            }
        }
        return document.append('}').toString().getBytes(StandardCharsets.UTF_8);
    }

    String id(Map<String, Cell> image) {
        return RowId.of(key, image);
    }

    /** A column's value in a row's image. */
    static Cell cell(Map<String, Cell> image, RowColumn column) {
        Cell cell = image.get(column.name());
        if (cell == null) {
            throw Reason.MISSING_FIELD.because("the row has no column " + column.name()
                    + ": the table was altered; make the capture anew");
        }
        return cell;
    }

    private static String value(RowField field, Map<String, Cell> image) {
        List<Cell> cells = new ArrayList<>(field.columns().size());
        for (RowColumn column : field.columns()) {
            cells.add(cell(image, column));
        }
        return cells.stream().anyMatch(Cell::isNull) ? null : field.kind().json(field, cells);
    }
}
