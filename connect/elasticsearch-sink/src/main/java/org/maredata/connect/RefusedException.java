package org.maredata.connect;

import org.apache.kafka.connect.errors.DataException;

/** One record that can't be taken; the framework or the errant-record reporter puts it in the dead letters. */
public final class RefusedException extends DataException {
    private static final long serialVersionUID = 1L;

    private final Reason reason;

    RefusedException(Reason reason, String sentence) {
        super(reason.code() + ": " + sentence);
        this.reason = reason;
    }

    public Reason reason() {
        return reason;
    }
}
