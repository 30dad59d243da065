package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ComplaintsTest {
    private long now = -5;

    @Test
    void oneOfAKindAMinute() {
        List<String> log = new ArrayList<>();
        Complaints complaints = new Complaints(log::add, () -> now);
        for (int second = 0; second < 121; second++) {
            complaints.warn("busy", "busy " + second);
            if (second == 30) {
                complaints.warn("away", "away");
            }
            now += 1_000_000_000L;
        }
        assertEquals(List.of("busy 0", "away", "busy 60 (and 59 more like it before)", "busy 120 (and 59 more like it before)"), log);
    }
}
