package org.maredata.connect;

import java.util.function.DoubleSupplier;
import java.util.function.LongSupplier;

/**
 * When the next attempt may be made: at once while all is well, after waits of chance below a growing limit while it isn't
 * ("full jitter", which brings many tasks back most evenly).
 */
public final class RetryPolicy {
    private final long firstMs;
    private final long maxMs;
    private final LongSupplier nanoTime;
    private final DoubleSupplier random;
    private int failures;
    private long due;

    /**
     * @param nanoTime a clock like System.nanoTime
     * @param random gives numbers from 0 to 1, so that many tasks don't come back in step
     */
    public RetryPolicy(long firstMs, long maxMs, LongSupplier nanoTime, DoubleSupplier random) {
        this.firstMs = firstMs;
        this.maxMs = maxMs;
        this.nanoTime = nanoTime;
        this.random = random;
        this.due = nanoTime.getAsLong();
    }

    public void succeeded() {
        failures = 0;
        due = nanoTime.getAsLong();
    }

    /**
     * Something has to be sent again.
     *
     * @param progress true if some documents of the bulk were settled: then the wait doesn't grow, so that one
     *     index in trouble doesn't hold up the others for long
     */
    public void failed(boolean progress) {
        failures = progress ? 1 : failures + 1;
        double wait = Math.min((double) maxMs, firstMs * Math.pow(2, failures - 1));
        due = nanoTime.getAsLong() + (long) (wait * random.getAsDouble() * 1_000_000);
    }

    public boolean isDue() {
        return nanoTime.getAsLong() - due >= 0;
    }

    /** How long it is until then, in whole milliseconds, rounded up; 0 if it is due. */
    public long waitMs() {
        return Math.max(0, (due - nanoTime.getAsLong() + 999_999) / 1_000_000);
    }
}
