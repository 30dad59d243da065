package org.maredata.connect.elasticsearch;

import java.nio.charset.StandardCharsets;
import java.util.regex.Pattern;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.sink.SinkRecord;
import org.maredata.connect.Reason;

/** The header in which a record brings its document's version along. */
public final class VersionHeader {
    public static final String NAME = "maredata.version";

    private static final Pattern DIGITS = Pattern.compile("[0-9]{1,19}");

    private VersionHeader() {
    }

    /** Throws RefusedException for a record without a version that Elasticsearch can take. */
    static long of(SinkRecord record) {
        Header header = record.headers().lastWithName(NAME);
        if (header == null || header.value() == null) {
            throw Reason.MISSING_FIELD.because("the record has no header " + NAME
                    + ", which is its document's version: set it, or document.version=none");
        }
        // A header converter may leave it as bytes or as a text.
        String text = header.value() instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8)
                : header.value().toString();
        try {
            if (DIGITS.matcher(text).matches()) {
                return Long.parseLong(text);
            }
        } catch (NumberFormatException e) {
            // Said below: it is above 2^63 - 1.
        }
        throw Reason.OUT_OF_LIMITS.because("the header " + NAME + " must be an integer from 0 to 2^63 - 1, not "
                + Reason.quote(text));
    }
}
