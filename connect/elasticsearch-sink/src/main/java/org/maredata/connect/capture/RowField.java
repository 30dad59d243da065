package org.maredata.connect.capture;

import java.time.ZoneId;
import java.util.List;

/**
 * A field of the documents.
 *
 * @param columns one, or those of a longitude and a latitude
 * @param zone of a DATETIME's local times
 * @param asString a DECIMAL as a JSON string
 */
record RowField(String name, Kind kind, List<RowColumn> columns, ZoneId zone, boolean asString) {
    RowColumn column() {
        return columns.get(0);
    }
}
