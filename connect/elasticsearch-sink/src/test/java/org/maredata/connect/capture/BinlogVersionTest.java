package org.maredata.connect.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.maredata.connect.RefusedException;

class BinlogVersionTest {
    @ParameterizedTest
    @CsvSource({"mare.000001, 4, 0, 1099511627780", "a.b.12, 0, 0, 13194139533312", "mare.000001, 4, 2, 3298534883332",
        "x.8388607, 1099511627775, 0, 9223372036854775807", "x.1000000, 1, 0, 1099511627776000001"})
    void fileAndPositionAreOneNumber(String file, String position, long before, long version) {
        assertEquals(version, BinlogVersion.of(file, position, before));
    }

    @Test
    void itGrowsWithThePositionAndWithTheFileWhateverThePositionIs() {
        long last = -1;
        for (int file = 999_998; file < 1_000_002; file++) {
            for (long position : new long[] {4, 5, 1L << 30, (1L << 32) + 1, (1L << 40) - 1}) {
                long version = BinlogVersion.of(String.format("mare.%06d", file), Long.toString(position), 0);
                assertTrue(version > last);
                last = version;
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"mare, 4, wrong_type", "mare.00x, 4, wrong_type", "mare.1, -4, wrong_type", "mare.1, 4.5, wrong_type",
        "mare.1, 1099511627776, out_of_limits", "mare.8388608, 4, out_of_limits", "mare.99999999999999999999, 4, wrong_type"})
    void whatIsNoPlaceInALogIsRefused(String file, String position, String code) {
        RefusedException e = assertThrows(RefusedException.class, () -> BinlogVersion.of(file, position, 0));
        assertEquals(code, e.reason().code());
    }
}
