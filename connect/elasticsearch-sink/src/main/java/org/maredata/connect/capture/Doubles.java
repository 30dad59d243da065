package org.maredata.connect.capture;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;

/** A double as the shortest text that is read as the same one, in the form of Python's {@code repr}. */
final class Doubles {
    private static final int MOST_DIGITS = 17;
    private static final int LEAST_EXPONENT = -4;
    private static final int MOST_PLAIN_DIGITS = 16;

    private Doubles() {
    }

    /** JSON text of a finite number. */
    static String text(double number) {
        if (number == 0) {
            return 1 / number < 0 ? "-0.0" : "0.0";
        }
        BigDecimal shortest = shortest(Math.abs(number)).stripTrailingZeros();
        String digits = shortest.unscaledValue().toString();
        int exponent = digits.length() - shortest.scale() - 1;
        String sign = number < 0 ? "-" : "";
        return sign + (exponent >= LEAST_EXPONENT && exponent < MOST_PLAIN_DIGITS ? plain(shortest) : scientific(digits, exponent));
    }

    /** Java's own text has digits too many now and then (JDK-4511638, mended in 19). */
    private static BigDecimal shortest(double number) {
        BigDecimal exact = new BigDecimal(number);
        BigDecimal found = new BigDecimal(Double.toString(number));
        for (int digits = Math.min(found.stripTrailingZeros().precision(), MOST_DIGITS); digits > 0; digits--) {
            BigDecimal shorter = rounded(exact, number, digits);
            if (shorter == null) {
                break;
            }
            found = shorter;
        }
        return found;
    }

    /** The nearest of that many digits that is read as the number; null if there is none. */
    private static BigDecimal rounded(BigDecimal exact, double number, int digits) {
        // Below a power of two its neighbours are nearer than above: there the nearest can be wrong, and the next right.
        for (RoundingMode mode : new RoundingMode[] {RoundingMode.HALF_EVEN, RoundingMode.UP, RoundingMode.DOWN}) {
            BigDecimal candidate = exact.round(new MathContext(digits, mode));
            if (candidate.doubleValue() == number) {
                return candidate;
            }
        }
        return null;
    }

    private static String plain(BigDecimal number) {
        String text = number.toPlainString();
        return text.indexOf('.') < 0 ? text + ".0" : text;
    }

    private static String scientific(String digits, int exponent) {
        String mantissa = digits.length() == 1 ? digits : digits.charAt(0) + "." + digits.substring(1);
        int size = Math.abs(exponent);
        return mantissa + 'e' + (exponent < 0 ? '-' : '+') + (size < 10 ? "0" : "") + size;
    }
}
