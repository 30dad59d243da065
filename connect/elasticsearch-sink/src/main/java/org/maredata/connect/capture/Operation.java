package org.maredata.connect.capture;

import org.maredata.connect.Reason;

/** What a change is. */
enum Operation {
    /** A row is there, with these values: created, changed, or found by a snapshot. */
    WRITE,
    DELETE,
    /** Of no one row: a truncated table, a message in the log. */
    OTHER;

    /** By the code in an envelope. */
    static Operation of(String code) {
        return switch (code) {
            case "c", "u", "r" -> WRITE;
            case "d" -> DELETE;
            case "t", "m" -> OTHER;
            default -> throw Reason.WRONG_TYPE.because("op must be c, u, r, d, t or m, not " + Reason.quote(code));
        };
    }
}
