package org.maredata.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class RetryPolicyTest {
    private long now = Long.MAX_VALUE - 1_000_000;

    private List<Long> waits(RetryPolicy retry, int failures, boolean progress) {
        List<Long> waits = new ArrayList<>();
        for (int i = 0; i < failures; i++) {
            retry.failed(progress);
            waits.add(retry.waitMs());
            now += retry.waitMs() * 1_000_000 - 1;
            assertFalse(retry.isDue());
            now += 1;
            assertTrue(retry.isDue());
        }
        return waits;
    }

    @Test
    void waitsGrowToTheLongestAndStay() {
        RetryPolicy retry = new RetryPolicy(100, 1500, () -> now, () -> 1);
        assertTrue(retry.isDue());
        assertEquals(List.of(100L, 200L, 400L, 800L, 1500L, 1500L), waits(retry, 6, false));
        waits(retry, 2000, false);
        assertEquals(List.of(1500L), waits(retry, 1, false));
        retry.succeeded();
        assertTrue(retry.isDue());
        assertEquals(List.of(100L), waits(retry, 1, false));
    }

    @Test
    void progressKeepsTheWaitShort() {
        assertEquals(List.of(100L, 100L, 100L), waits(new RetryPolicy(100, 1500, () -> now, () -> 1), 3, true));
    }

    @Test
    void theWaitIsAnythingUpToTheLimit() {
        assertEquals(List.of(25L, 50L, 100L), waits(new RetryPolicy(100, 1500, () -> now, () -> 0.25), 3, false));
        RetryPolicy lucky = new RetryPolicy(100, 1500, () -> now, () -> 0);
        lucky.failed(false);
        assertTrue(lucky.isDue());
    }
}
