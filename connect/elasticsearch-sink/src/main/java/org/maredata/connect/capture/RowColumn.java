package org.maredata.connect.capture;

import org.maredata.connect.Reason;
import org.maredata.connect.RefusedException;

/**
 * A column as the server's catalogue knows it.
 *
 * @param type the catalogue's data_type, in small letters
 * @param digits of fractions of a second
 * @param json whether it holds JSON: MariaDB's are texts with a check
 */
record RowColumn(String name, String type, boolean nullable, int digits, boolean json) {
    /** A value that can't be of this column. */
    RefusedException wrong(Cell cell) {
        String came = cell.text() == null ? "a JSON object or array" : "the JSON " + switch (cell.type()) {
            case VALUE_STRING -> "string ";
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> "number ";
            default -> "";
        } + Reason.quote(cell.text());
        return Reason.WRONG_TYPE.because("column " + name + ", a " + type + ", came as " + came
                + ": the source must be set as the README of this transform says");
    }
}
