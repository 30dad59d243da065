package org.maredata.connect.capture;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.maredata.connect.Reason;

/**
 * The _id of a row, of its key alone: the columns' values joined by |. In texts % and | become %25 and %7C, and an empty
 * text %0, so that no two keys have one _id. One above 512 bytes becomes %sha256- and its SHA-256: nothing else begins
 * with %s.
 */
final class RowId {
    private static final int LONGEST = 512;
    private static final String EMPTY = "%0";
    private static final String HASHED = "%sha256-";
    private static final String ZERO_TIMESTAMP = "0000-00-00T00:00:00.000000";
    private static final DateTimeFormatter MOMENT = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS", Locale.ROOT);

    private RowId() {
    }

    static String of(List<RowColumn> key, Map<String, Cell> image) {
        return bounded(key.stream().map(column -> part(column, image)).collect(Collectors.joining("|")));
    }

    private static String part(RowColumn column, Map<String, Cell> image) {
        Cell cell = RowLayout.cell(image, column);
        if (cell.isNull()) {
            throw Reason.MISSING_FIELD.because("column " + column.name() + " of the key is NULL, so the row has no _id");
        }
        String printed = switch (Kind.ofKey(column)) {
            case TEXT -> Values.text(column, cell).replace("%", "%25").replace("|", "%7C");
            case DATETIME -> moment(Values.moment(column, cell));
            case BYTES -> HexFormat.of().formatHex(Values.bytes(column, cell));
            case DATE -> Values.date(column, cell).toString();
            case TIME -> Values.time(column, cell);
            default -> Values.number(column, cell);
        };
        return printed.isEmpty() ? EMPTY : printed;
    }

    private static String moment(LocalDateTime moment) {
        return moment == null ? ZERO_TIMESTAMP : MOMENT.format(moment);
    }

    private static String bounded(String id) {
        byte[] bytes = id.getBytes(StandardCharsets.UTF_8);
        if (bytes.length <= LONGEST) {
            return id;
        }
        try {
            return HASHED + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }
}
