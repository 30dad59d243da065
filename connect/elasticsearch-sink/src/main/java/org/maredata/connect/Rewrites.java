package org.maredata.connect;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The record's own text with a few strings replaced, and on one line. Every other byte stays as it came. */
final class Rewrites {
    private record Rewrite(int from, int to, byte[] text) {
    }

    private final byte[] original;
    private final List<Rewrite> rewrites = new ArrayList<>(1);

    Rewrites(byte[] original) {
        this.original = original;
    }

    /**
     * Puts a string in place of the JSON string between the two bytes, quotes included. The new one must need
     * no escapes. To be called in the order of the text.
     */
    void text(int from, int to, String text) {
        byte[] quoted = ('"' + text + '"').getBytes(StandardCharsets.UTF_8);
        if (!Arrays.equals(original, from, to, quoted, 0, quoted.length)) {
            rewrites.add(new Rewrite(from, to, quoted));
        }
    }

    /** The whole text. Valid JSON has line breaks only between its tokens, where a space means the same. */
    byte[] apply() {
        byte[] text = original.clone();
        if (!rewrites.isEmpty()) {
            ByteArrayOutputStream pieces = new ByteArrayOutputStream(original.length + 16 * rewrites.size());
            int done = 0;
            for (Rewrite rewrite : rewrites) {
                pieces.write(original, done, rewrite.from - done);
                pieces.writeBytes(rewrite.text);
                done = rewrite.to;
            }
            pieces.write(original, done, original.length - done);
            text = pieces.toByteArray();
        }
        for (int i = 0; i < text.length; i++) {
            if (text[i] == '\n' || text[i] == '\r') {
                text[i] = ' ';
            }
        }
        return text;
    }
}
