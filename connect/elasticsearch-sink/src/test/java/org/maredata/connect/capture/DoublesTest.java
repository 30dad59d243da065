package org.maredata.connect.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DoublesTest {
    /** As Python prints them. */
    @ParameterizedTest
    @ValueSource(strings = {"0.0", "-0.0", "1.0", "-1.5", "0.1", "100.0", "0.0001", "1e-05", "9999999999999998.0", "1e+16",
        "1.2345678901234568e+16", "2e+23", "1e+22", "1e+23", "9.5e-05", "5e-324", "1.7976931348623157e+308", "2.2250738585072014e-308",
        "2.225073858507201e-308", "5.684341886080802e-14", "9007199254740992.0", "4.35", "2.0024e-05", "9.007199254740994e+16",
        "1.1805916207174113e+21", "3.4028234663852886e+38", "2.2e-322", "8.41e+21", "7.38905609893065"})
    void theTextIsTheShortest(String text) {
        assertEquals(text, Doubles.text(Double.parseDouble(text)));
    }

    @Test
    void theTextIsReadAsTheNumberAndIsNeverLongerThanJavas() {
        Random random = new Random(5);
        for (int i = 0; i < 4_000; i++) {
            double number = Double.longBitsToDouble(random.nextLong());
            if (Double.isFinite(number)) {
                String text = Doubles.text(number);
                assertEquals(number, Double.parseDouble(text));
                assertTrue(digits(text) <= digits(Double.toString(number)), text);
            }
        }
    }

    private static int digits(String number) {
        return new BigDecimal(number).stripTrailingZeros().precision();
    }
}
