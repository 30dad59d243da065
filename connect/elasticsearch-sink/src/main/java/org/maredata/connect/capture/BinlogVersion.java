package org.maredata.connect.capture;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.maredata.connect.Reason;

/**
 * A place in the binary log as one number: that of the file above 40 bits of position. Changes of one transaction can
 * have one and the same (MariaDB writes the transaction's begin into its events unless binlog_legacy_event_pos is ON):
 * of those the later record wins. A row's number in its event is no part of it, since it begins anew with each event.
 */
final class BinlogVersion {
    static final int POSITION_BITS = 40;

    private static final int FILE_BITS = Long.SIZE - 1 - POSITION_BITS;
    private static final Pattern FILE = Pattern.compile(".*\\.([0-9]{1,18})");
    private static final Pattern POSITION = Pattern.compile("[0-9]{1,18}");

    private BinlogVersion() {
    }

    /** @param filesBefore added to the file's number, for a log that was begun anew */
    static long of(String file, String position, long filesBefore) {
        Matcher number = FILE.matcher(file);
        if (!number.matches()) {
            throw Reason.WRONG_TYPE.because("source.file must be a binary log such as mariadb-bin.000042, not "
                    + Reason.quote(file));
        }
        if (!POSITION.matcher(position).matches()) {
            throw Reason.WRONG_TYPE.because("source.pos must be a position in the binary log, not " + Reason.quote(position));
        }
        long files = Long.parseLong(number.group(1)) + filesBefore;
        long bytes = Long.parseLong(position);
        if (files >>> FILE_BITS != 0 || bytes >>> POSITION_BITS != 0) {
            throw Reason.OUT_OF_LIMITS.because("the place " + Reason.quote(file) + " " + position + " (and " + filesBefore
                    + " files before) makes no version: the file's number must be below 2^" + FILE_BITS
                    + " and the position below 2^" + POSITION_BITS);
        }
        return files << POSITION_BITS | bytes;
    }
}
