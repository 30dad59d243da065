package org.maredata.connect;

import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;

/** Makes one line in the log a minute of any number of warnings: the last one, and how many of each kind there were. */
public final class Complaints {
    private static final long MINUTE = 60_000_000_000L;

    private final Consumer<String> log;
    private final LongSupplier nanoTime;
    private final Map<String, Integer> silenced = new TreeMap<>();
    private String latest;
    private boolean anyLogged;
    private long lastLogged;

    /** @param nanoTime a clock like System.nanoTime */
    public Complaints(Consumer<String> log, LongSupplier nanoTime) {
        this.log = log;
        this.nanoTime = nanoTime;
    }

    public void warn(String kind, String message) {
        latest = message;
        silenced.merge(kind, 1, Integer::sum);
        flush();
    }

    /** To be called now and then: logs what was held back, once its minute is over. */
    public void flush() {
        if (latest == null || anyLogged && nanoTime.getAsLong() - lastLogged < MINUTE) {
            return;
        }
        boolean alone = silenced.values().stream().mapToInt(Integer::intValue).sum() == 1;
        log.accept(alone ? latest : latest + " (the last of these since the line before: " + silenced.entrySet().stream()
                .map(kind -> kind.getValue() + " " + kind.getKey()).collect(Collectors.joining(", ")) + ")");
        silenced.clear();
        latest = null;
        anyLogged = true;
        lastLogged = nanoTime.getAsLong();
    }
}
