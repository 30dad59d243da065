package org.maredata.connect.elasticsearch;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.Range;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.common.config.ConfigDef.ValidString;
import org.apache.kafka.common.config.ConfigDef.Width;
import org.apache.kafka.common.config.ConfigException;
import org.elasticsearch.client.RestClient;
import org.maredata.connect.RetryPolicy;

/** The connector's configuration, its documentation, and what is made of it. */
public final class ElasticsearchSinkConfig extends AbstractConfig {
    static final String URL = "connection.url";
    static final String USERNAME = "connection.username";
    static final String PASSWORD = "connection.password";
    static final String API_KEY = "connection.api.key";
    static final String CA_FILE = "connection.ca.file";
    static final String CHECK = "connection.check";
    static final String COMPRESSION = "connection.compression";
    static final String REQUEST_TIMEOUT = "request.timeout.ms";
    static final String CONNECT_TIMEOUT = "connect.timeout.ms";
    static final String INDEX = "index";
    static final String DOCUMENT_ID = "document.id";
    static final String OPERATION = "write.operation";
    static final String NULL_VALUE = "null.value";
    static final String VERSION = "document.version";
    static final String COORDINATES = "document.kafka.field";
    static final String FLIGHT = "flight";
    static final String BATCH_DOCUMENTS = "batch.documents";
    static final String BATCH_BYTES = "batch.bytes";
    static final String LINGER = "linger.ms";
    static final String MAX_BUFFERED = "max.buffered.records";
    static final String BACKOFF = "retry.backoff.ms";
    static final String BACKOFF_MAX = "retry.backoff.max.ms";

    private static final String CONNECTION = "Connection";
    private static final String DOCUMENTS = "Documents";
    private static final String SENDING = "Sending";
    private static final String NO_COMPRESSION = "none";
    private static final String GZIP = "gzip";

    ElasticsearchSinkConfig(Map<String, String> properties) {
        super(definition(), properties, false);
        if (getString(USERNAME).isEmpty() != getPassword(PASSWORD).value().isEmpty()) {
            throw new ConfigException("Set both " + USERNAME + " and " + PASSWORD + ", or neither");
        }
        if (!getString(USERNAME).isEmpty() && !getPassword(API_KEY).value().isEmpty()) {
            throw new ConfigException("Set either " + API_KEY + " or " + USERNAME + " and " + PASSWORD);
        }
        if (getInt(BACKOFF_MAX) < getInt(BACKOFF)) {
            throw new ConfigException(BACKOFF_MAX + " must be at least " + BACKOFF);
        }
        boolean create = WriteOperation.named(getString(OPERATION)) == WriteOperation.CREATE;
        if (create && Versioning.named(getString(VERSION)) != Versioning.NONE) {
            throw new ConfigException(VERSION + " must be none with " + OPERATION
                    + "=create: Elasticsearch takes no versions there");
        }
        if (NullValue.named(getString(NULL_VALUE)) == NullValue.DELETE) {
            requireNoFields(INDEX);
            requireNoFields(DOCUMENT_ID);
        }
    }

    /** The options, with what each means. */
    public static ConfigDef definition() {
        ConfigDef definition = new ConfigDef();
        defineConnection(definition);
        defineDocuments(definition);
        defineSending(definition);
        return definition;
    }

    DocumentWriter documentWriter() {
        return new DocumentWriter(template(INDEX), template(DOCUMENT_ID), WriteOperation.named(getString(OPERATION)),
                NullValue.named(getString(NULL_VALUE)), Versioning.named(getString(VERSION)), getString(COORDINATES));
    }

    List<Lane> lanes() {
        return Stream.generate(() -> new Lane(getInt(BATCH_DOCUMENTS), getInt(BATCH_BYTES), getInt(LINGER),
                new RetryPolicy(getInt(BACKOFF), getInt(BACKOFF_MAX), System::nanoTime, Math::random), System::nanoTime))
                .limit(getInt(FLIGHT)).toList();
    }

    boolean isToBeChecked() {
        return getBoolean(CHECK);
    }

    /** A client that is ready to use; it connects with its first request. */
    RestClient connect() {
        return new Connection(getList(URL), getInt(CONNECT_TIMEOUT), getInt(REQUEST_TIMEOUT), getInt(FLIGHT),
                getString(USERNAME), getPassword(PASSWORD).value(), getPassword(API_KEY).value(), getString(CA_FILE),
                getString(COMPRESSION).equals(GZIP)).open();
    }

    private static void defineConnection(ConfigDef definition) {
        define(definition, CONNECTION, URL, Type.LIST, ConfigDef.NO_DEFAULT_VALUE,
                validator("http:// or https:// URLs", Connection::requireUrls), Importance.HIGH,
                "Where Elasticsearch is, such as http://elasticsearch:9200; several nodes of one cluster with commas. They "
                + "take turns; one that doesn't answer is left out for a minute, longer each time, and its request goes to "
                + "the next.");
        define(definition, CONNECTION, USERNAME, Type.STRING, "", null, Importance.MEDIUM,
                "The user, if Elasticsearch asks for one. It needs the index privileges create_index, auto_configure and "
                + "write, and view_index_metadata, so that a refused document can be told from an index that couldn't be "
                + "created.");
        define(definition, CONNECTION, PASSWORD, Type.PASSWORD, "", null, Importance.MEDIUM, "The user's password.");
        define(definition, CONNECTION, API_KEY, Type.PASSWORD, "", null, Importance.MEDIUM,
                "An API key instead of user and password, in the form that Elasticsearch calls encoded.");
        define(definition, CONNECTION, CA_FILE, Type.STRING, "",
                validator("a PEM file", Connection::requireCertificates), Importance.MEDIUM,
                "A file with the certificates, in PEM, by which an https:// server is to be known; without it, those that "
                + "the worker's Java trusts. That the certificate is for the host's name is always checked.");
        define(definition, CONNECTION, COMPRESSION, Type.STRING, NO_COMPRESSION, ValidString.in(NO_COMPRESSION, GZIP),
                Importance.LOW, "gzip spares the network at the price of the worker's CPU.");
        define(definition, CONNECTION, CHECK, Type.BOOLEAN, true, null, Importance.LOW,
                "Whether a configuration is only accepted if Elasticsearch answers and knows the user. A connector that "
                + "runs never stops because Elasticsearch is away, whatever is set here.");
        define(definition, CONNECTION, CONNECT_TIMEOUT, Type.INT, 3_000, Range.atLeast(1), Importance.LOW,
                "How long a connection may take to be made, in milliseconds.");
        define(definition, CONNECTION, REQUEST_TIMEOUT, Type.INT, 30_000, Range.atLeast(1), Importance.LOW,
                "How long Elasticsearch may be silent during a request before it is sent again, in milliseconds.");
    }

    private static void defineDocuments(ConfigDef definition) {
        define(definition, DOCUMENTS, INDEX, Type.STRING, "{topic}",
                validator("a template", (String text) -> new Template(INDEX, text)), Importance.HIGH,
                "The index a record goes to: a text with placeholders. {topic} is the record's topic, {field} the text, "
                + "integer or boolean of a top-level field, {field:yyyy.MM} the month in UTC of a field with a timestamp "
                + "(any pattern of Java's DateTimeFormatter). Put into small letters.");
        define(definition, DOCUMENTS, DOCUMENT_ID, Type.STRING, "{topic}+{partition}+{offset}",
                validator("a template", (String text) -> new Template(DOCUMENT_ID, text)), Importance.HIGH,
                "The document's _id, made like the index; also {key}, the record's key (a text or integer), {partition}, "
                + "{offset}, and {field:epoch_micros}, the microseconds since 1970 of a timestamp. At most 512 bytes.");
        define(definition, DOCUMENTS, OPERATION, Type.STRING, WriteOperation.INDEX.text(),
                ValidString.in(WriteOperation.names().toArray(String[]::new)), Importance.MEDIUM,
                sentences(Arrays.stream(WriteOperation.values()), WriteOperation::text, WriteOperation::description)
                + " Either way delivering twice stores once.");
        define(definition, DOCUMENTS, NULL_VALUE, Type.STRING, NullValue.REFUSE.text(),
                ValidString.in(NullValue.names().toArray(String[]::new)), Importance.MEDIUM,
                "What a record without a value does. "
                + sentences(Arrays.stream(NullValue.values()), NullValue::text, NullValue::description));
        define(definition, DOCUMENTS, VERSION, Type.STRING, Versioning.NONE.text(),
                ValidString.in(Versioning.names().toArray(String[]::new)), Importance.LOW,
                sentences(Arrays.stream(Versioning.values()), Versioning::text, Versioning::description));
        define(definition, DOCUMENTS, COORDINATES, Type.STRING, "", validator("a field's name", (String name) -> {
            if (name.startsWith("_") || name.indexOf('.') >= 0) {
                throw new ConfigException(COORDINATES, name, "write a name that doesn't begin with _ and has no point");
            }
        }), Importance.LOW, "The name of an object to be added to each document, with the record's topic, partition, offset "
                + "and timestamp (milliseconds since 1970) in Kafka. Empty for none.");
    }

    private static void defineSending(ConfigDef definition) {
        define(definition, SENDING, FLIGHT, Type.INT, 3, Range.between(1, 32), Importance.MEDIUM,
                "The most bulk requests under way at once for each task. Documents with one id are never in two of them.");
        define(definition, SENDING, BATCH_DOCUMENTS, Type.INT, 5_000, Range.between(1, 100_000), Importance.MEDIUM,
                "The most documents in one bulk request.");
        define(definition, SENDING, BATCH_BYTES, Type.INT, 5 * 1024 * 1024, Range.atLeast(1024), Importance.MEDIUM,
                "The most bytes in one bulk request; a larger single document is sent alone.");
        define(definition, SENDING, LINGER, Type.INT, 50, Range.between(0, 10_000), Importance.LOW,
                "How long a document may wait for others to go with it, in milliseconds.");
        define(definition, SENDING, MAX_BUFFERED, Type.INT, 20_000, Range.atLeast(1), Importance.MEDIUM,
                "The most records a task holds that aren't settled; beyond them, or beyond "
                + ElasticsearchSinkTask.BUFFERED_BULKS + " full bulks of bytes, it stops reading from Kafka for a while.");
        define(definition, SENDING, BACKOFF, Type.INT, 100, Range.atLeast(1), Importance.LOW,
                "The longest first wait before something is sent again, in milliseconds. It doubles with each failure; the "
                + "wait itself is anything up to it, by chance.");
        define(definition, SENDING, BACKOFF_MAX, Type.INT, 10_000, Range.atLeast(1), Importance.LOW,
                "The longest wait before something is sent again, in milliseconds.");
    }

    private Template template(String option) {
        return new Template(option, getString(option));
    }

    private void requireNoFields(String option) {
        if (!template(option).fields().isEmpty()) {
            throw new ConfigException(option, getString(option), "with " + NULL_VALUE + "=delete it can't be made of fields, "
                    + "since a record without a value has none: write {key}, {topic}, {partition} or {offset}");
        }
    }

    private static void define(ConfigDef definition, String group, String name, Type type, Object defaultValue,
            ConfigDef.Validator validator, Importance importance, String documentation) {
        int order = (int) definition.configKeys().values().stream().filter(key -> group.equals(key.group)).count();
        definition.define(name, type, defaultValue, validator, importance, documentation, group, order, Width.MEDIUM, name);
    }

    private static <T> String sentences(Stream<T> values, Function<T, String> name,
            Function<T, String> description) {
        return values.map(value -> name.apply(value) + ": " + description.apply(value))
                .collect(Collectors.joining(". ", "", "."));
    }

    private static <T> ConfigDef.Validator validator(String description, Consumer<T> check) {
        return ConfigDef.LambdaValidator.with((name, value) -> {
            if (value != null) {
                @SuppressWarnings("unchecked")
                T typed = (T) value;
                check.accept(typed);
            }
        }, () -> description);
    }
}
