package org.maredata.connect;

import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * A record's JSON that has been checked whole: one object, on one line, in UTF-8. What the converter hands to the
 * sink, which so needn't read it again; to every other taker {@link #toString} is the text.
 */
public final class CheckedJson {
    /**
     * Which fields a reader knows the places of.
     *
     * @param slots the number of each such top-level field
     * @param instants for each of them the number of its instant, -1 if it isn't a timestamp
     */
    record Layout(Map<String, Integer> slots, int[] instants) {
    }

    private final byte[] text;
    private final Layout layout;
    private final long[] places;

    /**
     * @param layout null if no places are known
     * @param places for each slot where its value begins (upper half) and ends (lower half), quotes included, 0 if it
     *     is missing or null; then the instants in microseconds since 1970. A text among them holds no escapes, an
     *     integer isn't {@code -0}
     */
    CheckedJson(byte[] text, Layout layout, long[] places) {
        this.text = text;
        this.layout = layout;
        this.places = places;
    }

    /** The text itself; not to be changed. */
    public byte[] bytes() {
        return text;
    }

    /** Tells which fields' places are known: equal by identity for all records of a converter; null if none are. */
    public Map<String, Integer> slots() {
        return layout == null ? null : layout.slots;
    }

    /** Where the value in a slot begins; 0 if it is missing or null. */
    public int start(int slot) {
        return (int) (places[slot] >>> Integer.SIZE);
    }

    /** The byte behind it. */
    public int end(int slot) {
        return (int) places[slot];
    }

    /** The instant in microseconds since 1970; {@link Timestamps#INVALID} if it is missing, null or no timestamp. */
    public long instant(int slot) {
        int at = layout.instants[slot];
        return at < 0 || places[slot] == 0 ? Timestamps.INVALID : places[at];
    }

    @Override
    public String toString() {
        return new String(text, StandardCharsets.UTF_8);
    }
}
