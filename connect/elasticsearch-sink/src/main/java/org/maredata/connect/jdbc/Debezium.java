package org.maredata.connect.jdbc;

import java.sql.Driver;
import java.sql.SQLException;
import java.util.Map;
import java.util.Properties;
import java.util.ServiceLoader;
import java.util.function.Supplier;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkConnector;
import org.apache.kafka.connect.sink.SinkTask;

/**
 * Debezium's JDBC sink in its own plugin folder. Connect finds a connector there by name, whoever asks; what the
 * connector loads itself has to be loaded with its own class loader in place.
 */
final class Debezium {
    private static final String CONNECTOR = "io.debezium.connector.jdbc.JdbcSinkConnector";

    private Debezium() {
    }

    static SinkConnector connector() {
        return create(CONNECTOR, SinkConnector.class, Debezium.class.getClassLoader());
    }

    static SinkTask task() {
        Class<? extends Task> type = connector().taskClass();
        return create(type.getName(), SinkTask.class, type.getClassLoader());
    }

    /** Opens a connection with the driver that Debezium brings, and closes it again. */
    static void logIn(Map<String, String> properties) throws SQLException {
        String url = properties.get("connection.url");
        Properties account = new Properties();
        account.setProperty("user", properties.getOrDefault("connection.username", ""));
        account.setProperty("password", properties.getOrDefault("connection.password", ""));
        for (Driver driver : ServiceLoader.load(Driver.class, connector().taskClass().getClassLoader())) {
            if (driver.acceptsURL(url)) {
                driver.connect(url, account).close();
                return;
            }
        }
        throw new ConnectException("Debezium's JDBC sink has no driver for this connection.url");
    }

    /** Calls {@code action} the way Connect would call the owner of {@code plugin}. */
    static <T> T inside(Object plugin, Supplier<T> action) {
        Thread thread = Thread.currentThread();
        ClassLoader before = thread.getContextClassLoader();
        thread.setContextClassLoader(plugin.getClass().getClassLoader());
        try {
            return action.get();
        } finally {
            thread.setContextClassLoader(before);
        }
    }

    static void inside(Object plugin, Runnable action) {
        inside(plugin, () -> {
            action.run();
            return null;
        });
    }

    private static <T> T create(String name, Class<T> kind, ClassLoader loader) {
        try {
            return kind.cast(Class.forName(name, true, loader).getDeclaredConstructor().newInstance());
        } catch (ReflectiveOperationException e) {
            throw new ConnectException("There is no " + name + ": Debezium's JDBC sink must be among the plugins", e);
        }
    }
}
