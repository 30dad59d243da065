package org.maredata.connect.jdbc;

import java.sql.SQLException;
import java.sql.SQLNonTransientConnectionException;
import java.sql.SQLRecoverableException;
import java.sql.SQLTransientException;

/** Tells trouble with the database, which a new connection or a little patience ends, from trouble with the data. */
final class Outage {
    /** SQL's class of connection exceptions, and MariaDB's state for a statement that was cut off from outside. */
    private static final String CONNECTION = "08";
    private static final String INTERRUPTED = "70100";
    /** Debezium's connection pool gives its own complaints no state. */
    private static final String POOL = "io.agroal.";

    private Outage() {
    }

    static boolean caused(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof SQLException trouble && ends(trouble)) {
                return true;
            }
        }
        return false;
    }

    private static boolean ends(SQLException trouble) {
        String state = trouble.getSQLState();
        return isTransient(trouble)
                || (state == null ? isThePools(trouble) : state.startsWith(CONNECTION) || state.equals(INTERRUPTED));
    }

    /** Locks and deadlocks among them. */
    private static boolean isTransient(SQLException trouble) {
        return trouble instanceof SQLTransientException
                || trouble instanceof SQLRecoverableException
                || trouble instanceof SQLNonTransientConnectionException;
    }

    private static boolean isThePools(SQLException trouble) {
        StackTraceElement[] thrown = trouble.getStackTrace();
        return thrown.length > 0 && thrown[0].getClassName().startsWith(POOL);
    }
}
