package org.maredata.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ComplaintsTest {
    private long now = -5;

    @Test
    void oneLineAMinute() {
        List<String> log = new ArrayList<>();
        Complaints complaints = new Complaints(log::add, () -> now);
        for (int second = 0; second < 121; second++) {
            if (second == 30) {
                complaints.warn("AWAY", "away");
            }
            complaints.warn("BUSY", "busy " + second);
            now += 1_000_000_000L;
        }
        assertEquals(List.of("busy 0", "busy 60 (the last of these since the line before: 1 AWAY, 60 BUSY)",
                "busy 120 (the last of these since the line before: 60 BUSY)"), log);
    }

    @Test
    void whatWasHeldBackIsLoggedWhenItsMinuteIsOver() {
        List<String> log = new ArrayList<>();
        Complaints complaints = new Complaints(log::add, () -> now);
        complaints.warn("BUSY", "busy");
        complaints.warn("AWAY", "away");
        complaints.flush();
        assertEquals(List.of("busy"), log);
        now += 60_000_000_000L;
        complaints.flush();
        complaints.flush();
        assertEquals(List.of("busy", "away"), log);
    }
}
