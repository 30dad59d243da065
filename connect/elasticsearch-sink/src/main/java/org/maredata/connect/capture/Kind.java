package org.maredata.connect.capture;

import com.fasterxml.jackson.core.io.JsonStringEncoder;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.maredata.connect.Reason;

/** How a field's value is written as JSON: the same as {@code mare extract} writes. */
enum Kind {
    INTEGER {
        @Override
        String json(RowField field, List<Cell> cells) {
            return Values.number(field.column(), cells.get(0));
        }
    },
    BOOLEAN {
        @Override
        String json(RowField field, List<Cell> cells) {
            return Values.number(field.column(), cells.get(0)).equals("0") ? "false" : "true";
        }
    },
    DECIMAL {
        @Override
        String json(RowField field, List<Cell> cells) {
            String number = Values.number(field.column(), cells.get(0));
            return field.asString() ? '"' + number + '"' : number;
        }
    },
    DOUBLE {
        @Override
        String json(RowField field, List<Cell> cells) {
            return Values.number(field.column(), cells.get(0));
        }
    },
    TEXT {
        @Override
        String json(RowField field, List<Cell> cells) {
            return quoted(Values.text(field.column(), cells.get(0)));
        }
    },
    SET {
        @Override
        String json(RowField field, List<Cell> cells) {
            String members = Values.text(field.column(), cells.get(0));
            return members.isEmpty() ? "[]"
                    : Arrays.stream(members.split(",", -1)).map(Kind::quoted).collect(Collectors.joining(",", "[", "]"));
        }
    },
    JSON {
        @Override
        String json(RowField field, List<Cell> cells) {
            return JsonColumn.json(Values.text(field.column(), cells.get(0)));
        }
    },
    TIME {
        @Override
        String json(RowField field, List<Cell> cells) {
            return quoted(Values.time(field.column(), cells.get(0)));
        }
    },
    DATE {
        @Override
        String json(RowField field, List<Cell> cells) {
            LocalDate date = Values.date(field.column(), cells.get(0));
            return date.getYear() == 0 ? null : quoted(date.toString());
        }
    },
    DATETIME {
        @Override
        String json(RowField field, List<Cell> cells) {
            LocalDateTime local = Values.moment(field.column(), cells.get(0));
            return local == null || local.getYear() == 0 ? null : quoted(UTC.format(utc(field, local)));
        }
    },
    BYTES {
        @Override
        String json(RowField field, List<Cell> cells) {
            return quoted(Base64.getEncoder().encodeToString(Values.bytes(field.column(), cells.get(0))));
        }
    },
    /** A POINT column. */
    POINT {
        @Override
        String json(RowField field, List<Cell> cells) {
            return Point.json(field.column(), cells.get(0));
        }
    },
    /** A longitude and a latitude column. */
    PLACE {
        @Override
        String json(RowField field, List<Cell> cells) {
            return "{\"lon\":" + Values.number(field.columns().get(0), cells.get(0)) + ",\"lat\":"
                    + Values.number(field.columns().get(1), cells.get(1)) + '}';
        }
    };

    private static final DateTimeFormatter UTC = DateTimeFormatter.ofPattern("uuuu-MM-dd HH:mm:ss.SSSSSS", Locale.ROOT);
    private static final int LAST_YEAR = 9999;

    /**
     * The value's JSON text; null for what is left out: a date that no calendar has. Throws RefusedException for a
     * value that can't be told, or isn't what the column holds.
     *
     * @param cells one for each of the field's columns, none of them NULL
     */
    abstract String json(RowField field, List<Cell> cells);

    String text() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** What a column of the type is as part of a key; null for one that can't be. */
    static Kind ofKey(RowColumn column) {
        if (column.json()) {
            return null;
        }
        return switch (column.type()) {
            case "tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit" -> INTEGER;
            case "decimal", "numeric" -> DECIMAL;
            case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "uuid" -> TEXT;
            case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob" -> BYTES;
            case "datetime", "timestamp" -> DATETIME;
            case "date" -> DATE;
            case "time" -> TIME;
            default -> null;
        };
    }

    /** A JSON string. */
    static String quoted(String text) {
        return '"' + new String(JsonStringEncoder.getInstance().quoteAsString(text)) + '"';
    }

    private static LocalDateTime utc(RowField field, LocalDateTime local) {
        // Of two offsets the first one: the clocks had it first.
        List<ZoneOffset> offsets = field.zone().getRules().getValidOffsets(local);
        if (offsets.isEmpty()) {
            throw Reason.BAD_TIMESTAMP.because("column " + field.column().name() + ": the clocks of " + field.zone()
                    + " never showed " + local);
        }
        LocalDateTime utc = local.minusSeconds(offsets.get(0).getTotalSeconds());
        if (utc.getYear() < 1 || utc.getYear() > LAST_YEAR) {
            throw Reason.BAD_TIMESTAMP.because("column " + field.column().name() + ": " + local + " in " + field.zone()
                    + " is beyond the calendar");
        }
        return utc;
    }
}
