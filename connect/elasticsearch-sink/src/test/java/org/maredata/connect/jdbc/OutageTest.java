package org.maredata.connect.jdbc;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.sql.BatchUpdateException;
import java.sql.SQLDataException;
import java.sql.SQLException;
import java.sql.SQLNonTransientConnectionException;
import java.sql.SQLRecoverableException;
import java.sql.SQLSyntaxErrorException;
import java.sql.SQLTransactionRollbackException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class OutageTest {
    static Stream<SQLException> outages() {
        SQLException pools = new SQLException("Sorry, acquisition timeout!");
        pools.setStackTrace(new StackTraceElement[] {new StackTraceElement("io.agroal.pool.Pool", "get", "Pool.java", 1)});
        return Stream.of(
                new SQLException("closed", "08003"),
                new SQLException("the connection was killed", "70100"),
                new SQLNonTransientConnectionException("closed"),
                new SQLRecoverableException("closed", "HY000"),
                new SQLTransactionRollbackException("deadlock", "40001"),
                new BatchUpdateException("closed", "08S01", new int[0]),
                pools);
    }

    static Stream<Throwable> others() {
        return Stream.of(
                new SQLException("Cannot create table"),
                new SQLException("no default value", "HY000"),
                new SQLDataException("out of range", "22003"),
                new SQLSyntaxErrorException("no such table", "42S02"),
                new BatchUpdateException("part of the batch", new int[0]),
                new IllegalStateException("closed"));
    }

    @ParameterizedTest
    @MethodSource("outages")
    void anOutageIsFoundHoweverDeepItIs(SQLException outage) {
        assertTrue(Outage.caused(outage));
        assertTrue(Outage.caused(new RuntimeException(new RuntimeException(outage))));
    }

    @ParameterizedTest
    @MethodSource("others")
    void whatHappensAgainWithANewConnectionIsNone(Throwable failure) {
        assertFalse(Outage.caused(new RuntimeException(failure)));
    }

    @Test
    void aComplaintOfDebeziumsOwnIsNotThePools() {
        SQLException withoutStack = new SQLException("no stack");
        withoutStack.setStackTrace(new StackTraceElement[0]);
        assertFalse(Outage.caused(withoutStack));
    }
}
