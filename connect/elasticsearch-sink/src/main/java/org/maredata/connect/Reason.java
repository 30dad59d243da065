package org.maredata.connect;

import java.util.Locale;

/** Why a record is refused. The code begins the exception's message, so a dead letter can be counted by it. */
public enum Reason {
    NULL_VALUE("The record has no value. It never deletes anything."),
    ENCODING("The text isn't valid UTF-8."),
    MALFORMED("The text isn't exactly one JSON object (RFC 8259), or a number in it has over 1000 digits."),
    TOO_DEEP("Objects and arrays are nested too deep."),
    DUPLICATE_FIELD("A name occurs twice in one object, at any depth."),
    FIELD_NAME("A top-level name is blank, begins with _, contains a point or is longer than 512 characters: "
            + "Elasticsearch can't store it."),
    MISSING_FIELD("A required field is missing or null."),
    WRONG_TYPE("A value isn't of its field's JSON type."),
    OUT_OF_LIMITS("A value is outside its field's limits, or can't be held: an integer beyond 64 bits, an "
            + "infinite number, a text with half a surrogate pair."),
    BAD_TIMESTAMP("A timestamp can't be read, or isn't between 1970 and 2262-04-11T23:47:16.854775Z.");

    private static final int LONGEST_QUOTE = 80;

    private final String description;

    Reason(String description) {
        this.description = description;
    }

    /** {@code null_value} and so on. */
    public String code() {
        return name().toLowerCase(Locale.ROOT);
    }

    public String description() {
        return description;
    }

    /** True when the text can't be trusted at all: these come before every complaint about a field. */
    boolean isAboutTheText() {
        return compareTo(DUPLICATE_FIELD) <= 0;
    }

    /** The exception for it; the sentence names the field and what was found. */
    public RefusedException because(String sentence) {
        return new RefusedException(this, sentence);
    }

    /** What was found, short enough for a header and on one line whatever it holds. */
    public static String quote(String found) {
        String shown = found.length() > LONGEST_QUOTE ? found.substring(0, LONGEST_QUOTE) + "…" : found;
        StringBuilder quoted = new StringBuilder("'");
        shown.codePoints().forEach(c -> {
            if (Character.isISOControl(c) || Character.getType(c) == Character.SURROGATE) {
                quoted.append(String.format("\\u%04x", c));
            } else {
                quoted.appendCodePoint(c);
            }
        });
        return quoted.append('\'').toString();
    }
}
