package org.maredata.connect.capture;

import com.fasterxml.jackson.core.JsonToken;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.time.DateTimeException;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Base64;
import org.maredata.connect.Reason;
import org.maredata.connect.Texts;

/** A column's value as the server would print it, from the form in which Debezium writes its type. */
final class Values {
    private static final LocalDateTime EPOCH = LocalDateTime.ofEpochSecond(0, 0, ZoneOffset.UTC);
    private static final int LAST_YEAR = 9999;
    private static final int MICRO_DIGITS = 6;
    private static final long MICROS = 1_000_000;

    private Values() {
    }

    /** A number's JSON text: a DECIMAL with all its digits, BIT as an integer. */
    static String number(RowColumn column, Cell cell) {
        return switch (column.type()) {
            case "bit" -> bits(column, cell);
            // The year 0000, which Debezium counts from 1900 as it does all others; there is no YEAR 1900.
            case "year" -> integer(column, cell).replace("1900", "0");
            case "decimal", "numeric" -> decimal(column, cell);
            // As a float it is the shortest text of 32 bits: the same number as a double has more digits.
            case "float" -> Doubles.text(Float.parseFloat(anyNumber(column, cell)));
            case "double" -> Doubles.text(Double.parseDouble(anyNumber(column, cell)));
            default -> integer(column, cell);
        };
    }

    static String text(RowColumn column, Cell cell) {
        String text = string(column, cell);
        switch (column.type()) {
            case "enum", "set":
                return unescaped(text);
            case "uuid":
                requireWhole(column, text);
                return text;
            default:
                return text;
        }
    }

    static byte[] bytes(RowColumn column, Cell cell) {
        return decoded(column, cell, string(column, cell));
    }

    /** A TIME as it is printed. */
    static String time(RowColumn column, Cell cell) {
        long micros = whole(column, cell);
        long seconds = Math.abs(micros) / MICROS;
        String text = (micros < 0 ? "-" : "") + padded(seconds / 3600, 2) + ':' + padded(seconds / 60 % 60, 2) + ':'
                + padded(seconds % 60, 2);
        return column.digits() == 0 ? text
                : text + '.' + padded(Math.abs(micros) % MICROS, MICRO_DIGITS).substring(0, column.digits());
    }

    /** A DATE. The zero date is null where the column can be NULL, and otherwise can't be told from 1970-01-01. */
    static LocalDate date(RowColumn column, Cell cell) {
        long days = whole(column, cell);
        requireNoZeroDate(column, days);
        try {
            return requireCalendar(column, LocalDate.ofEpochDay(days).atStartOfDay()).toLocalDate();
        } catch (DateTimeException e) {
            throw beyondCalendar(column, cell.text());
        }
    }

    /** A DATETIME, or a TIMESTAMP in UTC; null for the zero TIMESTAMP. */
    static LocalDateTime moment(RowColumn column, Cell cell) {
        if (column.type().equals("timestamp")) {
            LocalDateTime moment = instant(column, cell);
            // A TIMESTAMP begins a second later.
            return moment.equals(EPOCH) ? null : requireCalendar(column, moment);
        }
        long micros = whole(column, cell);
        requireNoZeroDate(column, micros);
        return requireCalendar(column, LocalDateTime.ofEpochSecond(Math.floorDiv(micros, MICROS),
                (int) Math.floorMod(micros, MICROS) * 1000, ZoneOffset.UTC));
    }

    static String padded(long number, int digits) {
        String text = Long.toString(number);
        return "0".repeat(Math.max(0, digits - text.length())) + text;
    }

    private static LocalDateTime instant(RowColumn column, Cell cell) {
        try {
            return OffsetDateTime.parse(string(column, cell)).withOffsetSameInstant(ZoneOffset.UTC).toLocalDateTime();
        } catch (DateTimeException e) {
            throw column.wrong(cell);
        }
    }

    private static void requireNoZeroDate(RowColumn column, long value) {
        if (value == 0 && !column.nullable()) {
            throw Reason.BAD_TIMESTAMP.because("column " + column.name() + " is 1970-01-01, or the zero date: of a NOT NULL "
                    + "column Debezium writes both alike; extraction can tell them");
        }
    }

    private static LocalDateTime requireCalendar(RowColumn column, LocalDateTime moment) {
        if (moment.getYear() < 0 || moment.getYear() > LAST_YEAR) {
            throw beyondCalendar(column, moment.toString());
        }
        return moment;
    }

    private static RuntimeException beyondCalendar(RowColumn column, String found) {
        return Reason.BAD_TIMESTAMP.because("column " + column.name() + " is " + Reason.quote(found)
                + ", beyond the calendar: set time.precision.mode=microseconds in the source");
    }

    /** Debezium drops the zero bytes at a UUID's end, as the binary log does, and puts them to its beginning. */
    private static void requireWhole(RowColumn column, String uuid) {
        if (uuid.startsWith("00") && !uuid.matches("[0-]+")) {
            throw Reason.OUT_OF_LIMITS.because("column " + column.name() + " is " + Reason.quote(uuid)
                    + ", which may be another UUID that ends with zeros: Debezium writes both alike; extraction can tell them");
        }
    }

    /** Debezium leaves the members of an ENUM or SET as the table's definition writes them, and escapes commas as well. */
    private static String unescaped(String text) {
        if (text.indexOf('\\') < 0) {
            return text;
        }
        StringBuilder plain = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c != '\\' || i + 1 == text.length()) {
                plain.append(c);
                continue;
            }
            char escaped = text.charAt(++i);
            switch (escaped) {
                case '0' -> plain.append('\0');
                case 'b' -> plain.append('\b');
                case 'n' -> plain.append('\n');
                case 'r' -> plain.append('\r');
                case 't' -> plain.append('\t');
                case 'Z' -> plain.append('\u001a');
                case '%', '_' -> plain.append('\\').append(escaped);
                default -> plain.append(escaped);
            }
        }
        return plain.toString();
    }

    private static String string(RowColumn column, Cell cell) {
        if (cell.type() != JsonToken.VALUE_STRING) {
            throw column.wrong(cell);
        }
        if (Texts.hasHalfPair(cell.text())) {
            throw Reason.OUT_OF_LIMITS.because("column " + column.name() + " holds half a surrogate pair");
        }
        return cell.text();
    }

    private static long whole(RowColumn column, Cell cell) {
        try {
            return Long.parseLong(integer(column, cell));
        } catch (NumberFormatException e) {
            throw column.wrong(cell);
        }
    }

    private static String integer(RowColumn column, Cell cell) {
        if (cell.type() == JsonToken.VALUE_NUMBER_INT) {
            return cell.text();
        }
        if (cell.type() == JsonToken.VALUE_STRING && column.type().equals("bigint")) {
            byte[] unsigned = decoded(column, cell, cell.text());
            if (unsigned.length > 0) {
                return new BigInteger(unsigned).toString();
            }
        }
        throw column.wrong(cell);
    }

    private static String anyNumber(RowColumn column, Cell cell) {
        if (cell.type() != JsonToken.VALUE_NUMBER_FLOAT && cell.type() != JsonToken.VALUE_NUMBER_INT) {
            throw column.wrong(cell);
        }
        return cell.text();
    }

    private static String decimal(RowColumn column, Cell cell) {
        try {
            return new BigDecimal(string(column, cell)).toPlainString();
        } catch (NumberFormatException e) {
            throw column.wrong(cell);
        }
    }

    private static String bits(RowColumn column, Cell cell) {
        if (cell.type() == JsonToken.VALUE_TRUE || cell.type() == JsonToken.VALUE_FALSE) {
            return cell.type() == JsonToken.VALUE_TRUE ? "1" : "0";
        }
        byte[] littleEndian = bytes(column, cell);
        byte[] bigEndian = new byte[littleEndian.length];
        for (int i = 0; i < bigEndian.length; i++) {
            bigEndian[i] = littleEndian[bigEndian.length - 1 - i];
        }
        return new BigInteger(1, bigEndian).toString();
    }

    private static byte[] decoded(RowColumn column, Cell cell, String base64) {
        try {
            return Base64.getDecoder().decode(base64);
        } catch (IllegalArgumentException e) {
            throw column.wrong(cell);
        }
    }
}
