package org.maredata.connect;

/** What Java's strings can hold and UTF-8 can't. */
public final class Texts {
    private Texts() {
    }

    /** True if a surrogate stands alone: such a text has no bytes in UTF-8. */
    public static boolean hasHalfPair(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (!Character.isSurrogate(c)) {
                continue;
            }
            boolean pair = Character.isHighSurrogate(c) && i + 1 < text.length()
                    && Character.isLowSurrogate(text.charAt(i + 1));
            if (!pair) {
                return true;
            }
            i++;
        }
        return false;
    }
}
