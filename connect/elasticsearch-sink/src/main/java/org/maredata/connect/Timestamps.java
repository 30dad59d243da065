package org.maredata.connect;

import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.YearMonth;
import java.time.ZoneOffset;

/**
 * The one rule for instants: what is read as one, and the form it is written in. It must agree to the
 * microsecond with the other programs that compute a reading's identity, so it is spelled out here and
 * doesn't follow a library's idea of ISO 8601.
 */
public final class Timestamps {
    /** The answer of {@link #micros} for a text that isn't an instant; real ones are never negative. */
    public static final long INVALID = -1;
    /** 2262-04-11T23:47:16.854775Z, the last microsecond that Elasticsearch's date_nanos can hold. */
    public static final long LAST = Long.MAX_VALUE / 1000;

    /** Not {@link #INVALID}: -1 is a second of 1969, which an offset west of Greenwich makes valid. */
    private static final long NO_SECONDS = Long.MIN_VALUE;
    /** How many characters {@link #canonical} has. */
    static final int CANONICAL_LENGTH = "YYYY-MM-DD HH:MM:SS.ffffff".length();

    private static final int[] DAYS_BEFORE_MONTH = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    private static final int LAST_YEAR = 2262;
    private static final int SECONDS_LENGTH = "YYYY-MM-DD HH:MM:SS".length();
    private static final int MAX_OFFSET_MINUTES = 18 * 60;
    private static final int MAX_FRACTION_DIGITS = 9;
    private static final int MICROS_DIGITS = 6;

    private Timestamps() {
    }

    /**
     * The instant in microseconds since 1970 UTC, or {@link #INVALID}. Without a zone it is UTC; digits
     * beyond the sixth are cut. Accepted: date, {@code T}, {@code t} or a space, time to the second, up to
     * nine digits behind a point or comma, and {@code Z}, {@code z} or an offset up to 18 hours.
     */
    public static long micros(String text) {
        long seconds = seconds(text);
        if (seconds == NO_SECONDS) {
            return INVALID;
        }
        int at = SECONDS_LENGTH;
        int micros = 0;
        if (at < text.length() && (text.charAt(at) == '.' || text.charAt(at) == ',')) {
            int start = ++at;
            while (at < text.length() && isDigit(text.charAt(at))) {
                at++;
            }
            int digits = at - start;
            if (digits < 1 || digits > MAX_FRACTION_DIGITS) {
                return INVALID;
            }
            micros = number(text, start, Math.min(digits, MICROS_DIGITS));
            for (int i = digits; i < MICROS_DIGITS; i++) {
                micros *= 10;
            }
        }
        int offset = offsetMinutes(text, at);
        if (Math.abs(offset) > MAX_OFFSET_MINUTES) {
            return INVALID;
        }
        long instant = (seconds - offset * 60L) * 1_000_000 + micros;
        return instant < 0 || instant > LAST ? INVALID : instant;
    }

    /**
     * The instant in microseconds since 1970 of a text that is written exactly as {@link #canonical} writes it, or
     * {@link #INVALID}. The text must have {@link #CANONICAL_LENGTH} bytes from {@code at} on.
     */
    static long canonicalMicros(byte[] text, int at) {
        int year = number(text, at, 4);
        int month = number(text, at + 5, 2);
        int day = number(text, at + 8, 2);
        int hour = number(text, at + 11, 2);
        int minute = number(text, at + 14, 2);
        int second = number(text, at + 17, 2);
        int micros = number(text, at + 20, 6);
        boolean form = text[at + 4] == '-' && text[at + 7] == '-' && text[at + 10] == ' ' && text[at + 13] == ':'
                && text[at + 16] == ':' && text[at + 19] == '.';
        // A part that isn't a number is negative.
        if (!form || (hour | minute | second | micros) < 0 || hour > 23 || minute > 59 || second > 59
                || year < 1970 || year > LAST_YEAR || month < 1 || month > 12) {
            return INVALID;
        }
        boolean leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        int length = DAYS_BEFORE_MONTH[month] - DAYS_BEFORE_MONTH[month - 1] + (leap && month == 2 ? 1 : 0);
        if (day < 1 || day > length) {
            return INVALID;
        }
        int leapDays = (year - 1969) / 4 - (year - 1901) / 100 + (year - 1601) / 400 + (leap && month > 2 ? 1 : 0);
        long days = 365L * (year - 1970) + leapDays + DAYS_BEFORE_MONTH[month - 1] + day - 1;
        long instant = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros;
        return instant > LAST ? INVALID : instant;
    }

    /** {@code YYYY-MM-DD HH:MM:SS.ffffff} in UTC. */
    public static String canonical(long micros) {
        int fraction = (int) (micros % 1_000_000);
        LocalDateTime time = LocalDateTime.ofEpochSecond(micros / 1_000_000, 0, ZoneOffset.UTC);
        char[] text = "YYYY-MM-DD HH:MM:SS.ffffff".toCharArray();
        digits(text, 0, 4, time.getYear());
        digits(text, 5, 2, time.getMonthValue());
        digits(text, 8, 2, time.getDayOfMonth());
        digits(text, 11, 2, time.getHour());
        digits(text, 14, 2, time.getMinute());
        digits(text, 17, 2, time.getSecond());
        digits(text, 20, 6, fraction);
        return new String(text);
    }

    /** Seconds since 1970 of the first 19 characters read as UTC, or {@link #NO_SECONDS}. */
    private static long seconds(String text) {
        if (text.length() < SECONDS_LENGTH || "Tt ".indexOf(text.charAt(10)) < 0
                || text.charAt(4) != '-' || text.charAt(7) != '-'
                || text.charAt(13) != ':' || text.charAt(16) != ':') {
            return NO_SECONDS;
        }
        int year = number(text, 0, 4);
        int month = number(text, 5, 2);
        int day = number(text, 8, 2);
        int hour = number(text, 11, 2);
        int minute = number(text, 14, 2);
        int second = number(text, 17, 2);
        // An offset can carry 31 December 1969 into 1970, but nothing earlier.
        if (year < 1969 || month < 1 || month > 12 || !YearMonth.of(year, month).isValidDay(day)
                || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) {
            return NO_SECONDS;
        }
        return LocalDate.of(year, month, day).toEpochDay() * 86_400 + hour * 3600 + minute * 60 + second;
    }

    /** Minutes east of UTC of the zone that begins at {@code at} and ends the text; out of range if it is none. */
    private static int offsetMinutes(String text, int at) {
        int none = Integer.MAX_VALUE;
        int length = text.length() - at;
        if (length == 0) {
            return 0;
        }
        char sign = text.charAt(at);
        if (sign == 'Z' || sign == 'z') {
            return length == 1 ? 0 : none;
        }
        boolean colon = length == 6 && text.charAt(at + 3) == ':';
        if (sign != '+' && sign != '-' || !(length == 3 || length == 5 || colon)) {
            return none;
        }
        int hours = number(text, at + 1, 2);
        int minutes = length == 3 ? 0 : number(text, text.length() - 2, 2);
        if (hours < 0 || minutes < 0 || minutes > 59) {
            return none;
        }
        return (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
    }

    /** The number in {@code count} ASCII digits, or -1. */
    private static int number(String text, int from, int count) {
        int number = 0;
        for (int i = from; i < from + count; i++) {
            char c = text.charAt(i);
            if (!isDigit(c)) {
                return -1;
            }
            number = number * 10 + c - '0';
        }
        return number;
    }

    /** The number in {@code count} ASCII digits, or one below 0. */
    private static int number(byte[] text, int from, int count) {
        int number = 0;
        for (int i = from; i < from + count; i++) {
            int digit = text[i] - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            number = number * 10 + digit;
        }
        return number;
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    private static void digits(char[] text, int from, int count, int number) {
        int rest = number;
        for (int i = from + count - 1; i >= from; i--) {
            text[i] = (char) ('0' + rest % 10);
            rest /= 10;
        }
    }
}
