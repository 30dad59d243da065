package org.maredata.connect;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Proves in one pass over the bytes that a record is valid and already in the form in which it is stored, so that
 * nothing has to be built or written anew. It knows only the plain ways of writing JSON: whatever it isn't sure of
 * (escapes, exponents, nested unknown fields, another form of time, anything wrong) it leaves to {@link StrictJson},
 * which alone refuses records. So it may say no too often, but never yes too often.
 *
 * <p>Positions are handed on as return values; {@link #NO} says that it isn't sure.
 */
final class CanonicalReader {
    private static final int NO = -1;
    /** More digits than a double holds exactly would need rounding: that is left to Double.parseDouble. */
    private static final int EXACT_DIGITS = 15;
    private static final int LONG_DIGITS = 18;
    private static final int LONGEST_NUMBER = 30;
    private static final int LONGEST_NAME = 64;
    private static final int MOST_UNKNOWN = 8;
    private static final double[] POWERS = new double[EXACT_DIGITS + 1];

    static {
        double power = 1;
        for (int i = 0; i < POWERS.length; i++) {
            POWERS[i] = power;
            power *= 10;
        }
    }

    /** The fields of one object; more than 64 don't fit into the mask of those seen. */
    private static final class Level {
        private final byte[][] names;
        private final ReadingField[] fields;
        private final Level[] objects;
        /** Where each field's instant goes, behind the places of all fields; -1 if it isn't a timestamp. */
        private final int[] instants;
        private final long required;
        private final boolean top;

        Level(ReadingSchema schema, boolean top) {
            List<ReadingField> all = schema.fields();
            this.top = top;
            this.fields = all.toArray(ReadingField[]::new);
            this.names = all.stream().map(field -> field.field().name().getBytes(StandardCharsets.UTF_8)).toArray(byte[][]::new);
            this.objects = all.stream().map(field -> field.object() == null ? null : new Level(field.object(), false))
                    .toArray(Level[]::new);
            long mask = 0;
            int next = fields.length;
            this.instants = new int[fields.length];
            for (int i = 0; i < fields.length; i++) {
                instants[i] = fields[i].kind() == FieldKind.TIMESTAMP ? next++ : -1;
                mask |= fields[i].isRequired() ? 1L << i : 0;
            }
            this.required = mask;
        }

        int find(byte[] text, int from, int to) {
            int length = to - from;
            for (int i = 0; i < names.length; i++) {
                byte[] name = names[i];
                if (name.length == length && name[0] == text[from] && matches(name, text, from)) {
                    return i;
                }
            }
            return NO;
        }

        private static boolean matches(byte[] name, byte[] text, int from) {
            for (int i = 1; i < name.length; i++) {
                if (name[i] != text[from + i]) {
                    return false;
                }
            }
            return true;
        }
    }

    private final Level top;
    private final CheckedJson.Layout layout;
    private final int places;

    private CanonicalReader(ReadingSchema schema) {
        this.top = new Level(schema, true);
        Map<String, Integer> slots = new HashMap<>();
        int next = top.fields.length;
        for (int i = 0; i < top.fields.length; i++) {
            slots.put(top.fields[i].field().name(), i);
            next += top.instants[i] < 0 ? 0 : 1;
        }
        this.layout = new CheckedJson.Layout(slots, top.instants);
        this.places = next;
    }

    /** Null if the schema is beyond what it can read. */
    static CanonicalReader of(ReadingSchema schema) {
        return isReadable(schema, 1) ? new CanonicalReader(schema) : null;
    }

    /** The record, or null if it isn't sure. */
    CheckedJson read(byte[] text) {
        long[] found = new long[places];
        int at = blanks(text, 0);
        if (at == text.length || text[at] != '{') {
            return null;
        }
        at = object(text, at + 1, top, found);
        return at != NO && blanks(text, at) == text.length ? new CheckedJson(text, layout, found) : null;
    }

    private static boolean isReadable(ReadingSchema schema, int depth) {
        return depth <= ReadingConverter.MAX_DEPTH && schema.fields().size() <= Long.SIZE
                && schema.fields().stream().allMatch(field -> !field.field().name().isEmpty()
                        && (field.object() == null || isReadable(field.object(), depth + 1)));
    }

    /** @param from behind the opening brace; returns the place behind the closing one */
    private static int object(byte[] text, int from, Level level, long[] places) {
        long seen = 0;
        int[] unknown = null;
        int unknowns = 0;
        int at = blanks(text, from);
        if (at < text.length && text[at] == '}') {
            return level.required == 0 ? at + 1 : NO;
        }
        while (at < text.length && text[at] == '"') {
            int name = at + 1;
            int nameEnd = name(text, name);
            if (nameEnd == NO) {
                return NO;
            }
            at = blanks(text, nameEnd + 1);
            if (at == text.length || text[at] != ':') {
                return NO;
            }
            at = blanks(text, at + 1);
            if (at == text.length) {
                return NO;
            }
            int start = at;
            int slot = level.find(text, name, nameEnd);
            if (slot >= 0) {
                boolean isNull = text[at] == 'n';
                if ((seen & 1L << slot) != 0 || isNull && level.fields[slot].isRequired()) {
                    return NO;
                }
                seen |= 1L << slot;
                at = isNull ? word(text, at, "null") : value(text, at, level, slot, places);
                if (places != null && !isNull) {
                    places[slot] = (long) start << Integer.SIZE | at;
                }
            } else {
                if (!level.top || unknowns == MOST_UNKNOWN || !isStorable(text, name, nameEnd)) {
                    return NO;
                }
                unknown = unknown == null ? new int[2 * MOST_UNKNOWN] : unknown;
                if (isAmong(unknown, unknowns, text, name, nameEnd)) {
                    return NO;
                }
                unknown[2 * unknowns] = name;
                unknown[2 * unknowns++ + 1] = nameEnd;
                at = scalar(text, at);
            }
            if (at == NO) {
                return NO;
            }
            at = blanks(text, at);
            if (at == text.length) {
                return NO;
            }
            if (text[at] == '}') {
                return (seen & level.required) == level.required ? at + 1 : NO;
            }
            if (text[at] != ',') {
                return NO;
            }
            at = blanks(text, at + 1);
        }
        return NO;
    }

    private static int value(byte[] text, int at, Level level, int slot, long[] places) {
        ReadingField field = level.fields[slot];
        return switch (field.kind()) {
            case INTEGER -> integer(text, at, field);
            case NUMBER -> number(text, at, field);
            case TIMESTAMP -> timestamp(text, at, places, level.instants[slot]);
            case TEXT -> text[at] == '"' ? string(text, at + 1, field.maxLength()) : NO;
            case OBJECT -> text[at] == '{' ? object(text, at + 1, level.objects[slot], null) : NO;
        };
    }

    private static int integer(byte[] text, int from, ReadingField field) {
        boolean negative = text[from] == '-';
        int first = negative ? from + 1 : from;
        int at = first;
        long value = 0;
        while (at < text.length && isDigit(text[at]) && at - first <= LONG_DIGITS) {
            value = value * 10 + text[at++] - '0';
        }
        int digits = at - first;
        boolean plain = digits > 0 && digits <= LONG_DIGITS && (text[first] != '0' || digits == 1 && !negative);
        return plain && field.holds(negative ? -value : value) ? at : NO;
    }

    private static int number(byte[] text, int from, ReadingField field) {
        boolean negative = text[from] == '-';
        int first = negative ? from + 1 : from;
        int at = first;
        long value = 0;
        while (at < text.length && isDigit(text[at]) && at - first <= EXACT_DIGITS) {
            value = value * 10 + text[at++] - '0';
        }
        int digits = at - first;
        if (digits == 0 || digits > 1 && text[first] == '0') {
            return NO;
        }
        int fraction = 0;
        if (at < text.length && text[at] == '.') {
            int point = at++;
            while (at < text.length && isDigit(text[at]) && digits + at - point <= EXACT_DIGITS + 1) {
                value = value * 10 + text[at++] - '0';
            }
            fraction = at - point - 1;
            if (fraction == 0) {
                return NO;
            }
        }
        // -0 has two ways to be written as part of an id.
        if (digits + fraction > EXACT_DIGITS || negative && value == 0 && fraction == 0) {
            return NO;
        }
        // Both are exact, so the quotient is rounded once: the same double that Double.parseDouble gives.
        double exact = value / POWERS[fraction];
        return field.holds(negative ? -exact : exact) ? at : NO;
    }

    private static int timestamp(byte[] text, int at, long[] places, int instant) {
        int end = at + Timestamps.CANONICAL_LENGTH + 1;
        if (end >= text.length || text[at] != '"' || text[end] != '"') {
            return NO;
        }
        long micros = Timestamps.canonicalMicros(text, at + 1);
        if (places != null) {
            places[instant] = micros;
        }
        return micros == Timestamps.INVALID ? NO : end + 1;
    }

    /** A value of an unknown field. */
    private static int scalar(byte[] text, int at) {
        return switch (text[at]) {
            case '"' -> string(text, at + 1, Integer.MAX_VALUE);
            case 't' -> word(text, at, "true");
            case 'f' -> word(text, at, "false");
            case 'n' -> word(text, at, "null");
            default -> anyNumber(text, at);
        };
    }

    private static int anyNumber(byte[] text, int from) {
        int first = text[from] == '-' ? from + 1 : from;
        int at = digits(text, first);
        if (at == first || at - first > 1 && text[first] == '0') {
            return NO;
        }
        if (at < text.length && text[at] == '.') {
            int point = at;
            at = digits(text, at + 1);
            if (at == point + 1) {
                return NO;
            }
        }
        return at - from <= LONGEST_NUMBER ? at : NO;
    }

    private static int digits(byte[] text, int from) {
        int at = from;
        while (at < text.length && isDigit(text[at])) {
            at++;
        }
        return at;
    }

    private static int word(byte[] text, int at, String word) {
        int end = at + word.length();
        if (end > text.length) {
            return NO;
        }
        for (int i = at; i < end; i++) {
            if (text[i] != word.charAt(i - at)) {
                return NO;
            }
        }
        return end;
    }

    /** The closing quote of a name of plain ASCII. */
    private static int name(byte[] text, int from) {
        for (int at = from; at < text.length; at++) {
            byte c = text[at];
            if (c == '"') {
                return at;
            }
            // Bytes above 0x7f are negative.
            if (c < ' ' || c == '\\') {
                return NO;
            }
        }
        return NO;
    }

    /** The place behind the closing quote of a string without escapes. */
    private static int string(byte[] text, int from, int maxLength) {
        int characters = 0;
        int at = from;
        while (at < text.length) {
            byte c = text[at];
            if (c == '"') {
                return characters <= maxLength ? at + 1 : NO;
            }
            if (c == '\\' || c >= 0 && c < ' ') {
                return NO;
            }
            int length = c >= 0 ? 1 : sequence(text, at);
            if (length == NO) {
                return NO;
            }
            at += length;
            characters++;
        }
        return NO;
    }

    /** The length of a character of several bytes in valid UTF-8. */
    private static int sequence(byte[] text, int at) {
        int first = text[at] & 0xff;
        int length = first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3
                : first >= 0xf0 && first <= 0xf4 ? 4 : NO;
        if (length == NO || at + length > text.length) {
            return NO;
        }
        int second = text[at + 1] & 0xff;
        // No longer forms than needed, no surrogates, nothing beyond Unicode.
        int least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        int most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (second < least || second > most) {
            return NO;
        }
        for (int i = at + 2; i < at + length; i++) {
            if ((text[i] & 0xc0) != 0x80) {
                return NO;
            }
        }
        return length;
    }

    private static boolean isStorable(byte[] text, int from, int to) {
        boolean blank = true;
        for (int i = from; i < to; i++) {
            if (text[i] == '.') {
                return false;
            }
            blank &= text[i] == ' ';
        }
        return !blank && text[from] != '_' && to - from <= LONGEST_NAME;
    }

    private static boolean isAmong(int[] spans, int count, byte[] text, int from, int to) {
        for (int i = 0; i < count; i++) {
            if (Arrays.equals(text, spans[2 * i], spans[2 * i + 1], text, from, to)) {
                return true;
            }
        }
        return false;
    }

    /** Line breaks aren't among them: they have to be taken out. */
    private static int blanks(byte[] text, int from) {
        int at = from;
        while (at < text.length && (text[at] == ' ' || text[at] == '\t')) {
            at++;
        }
        return at;
    }

    private static boolean isDigit(byte c) {
        return c >= '0' && c <= '9';
    }
}
