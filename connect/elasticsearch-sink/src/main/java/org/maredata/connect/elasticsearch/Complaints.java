package org.maredata.connect.elasticsearch;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/** Lets one warning of a kind through in a minute, and says with the next how many there would have been. */
final class Complaints {
    private static final long MINUTE = 60_000_000_000L;

    private static final class Kind {
        private long last;
        private int silenced;
    }

    private final Consumer<String> log;
    private final LongSupplier nanoTime;
    private final Map<String, Kind> kinds = new HashMap<>();

    /** @param nanoTime a clock like System.nanoTime */
    Complaints(Consumer<String> log, LongSupplier nanoTime) {
        this.log = log;
        this.nanoTime = nanoTime;
    }

    void warn(String name, String message) {
        long now = nanoTime.getAsLong();
        Kind kind = kinds.get(name);
        if (kind != null && now - kind.last < MINUTE) {
            kind.silenced++;
            return;
        }
        int silenced = kind == null ? 0 : kind.silenced;
        log.accept(silenced == 0 ? message : message + " (and " + silenced + " more like it before)");
        Kind fresh = new Kind();
        fresh.last = now;
        kinds.put(name, fresh);
    }
}
