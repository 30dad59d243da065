package org.maredata.connect.elasticsearch;

import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.http.Header;
import org.apache.http.HttpHost;
import org.apache.http.impl.nio.reactor.IOReactorConfig;
import org.apache.http.message.BasicHeader;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.Range;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.common.config.ConfigDef.Width;
import org.apache.kafka.common.config.ConfigException;
import org.elasticsearch.client.RestClient;
import org.elasticsearch.client.RestClientBuilder;

/** The connector's configuration, its documentation, and what is made of it. */
public final class ElasticsearchSinkConfig extends AbstractConfig {
    static final String URL = "connection.url";
    static final String USERNAME = "connection.username";
    static final String PASSWORD = "connection.password";
    static final String INDEX = "index";
    static final String DOCUMENT_ID = "document.id";
    static final String BATCH_DOCUMENTS = "batch.documents";
    static final String BATCH_BYTES = "batch.bytes";
    static final String MAX_BUFFERED = "max.buffered.records";
    static final String REQUEST_TIMEOUT = "request.timeout.ms";
    static final String CONNECT_TIMEOUT = "connect.timeout.ms";
    static final String BACKOFF = "retry.backoff.ms";
    static final String BACKOFF_MAX = "retry.backoff.max.ms";

    private static final String CONNECTION = "Connection";
    private static final String DOCUMENTS = "Documents";
    private static final String SENDING = "Sending";

    ElasticsearchSinkConfig(Map<String, String> properties) {
        super(definition(), properties, false);
        if (getString(USERNAME).isEmpty() != getPassword(PASSWORD).value().isEmpty()) {
            throw new ConfigException("Set both " + USERNAME + " and " + PASSWORD + ", or neither");
        }
        if (getInt(BACKOFF_MAX) < getInt(BACKOFF)) {
            throw new ConfigException(BACKOFF_MAX + " must be at least " + BACKOFF);
        }
    }

    /** The options, with what each means. */
    public static ConfigDef definition() {
        ConfigDef definition = new ConfigDef();
        define(definition, CONNECTION, URL, Type.LIST, ConfigDef.NO_DEFAULT_VALUE,
                validator("http:// or https:// URLs", ElasticsearchSinkConfig::requireUrls), Importance.HIGH,
                "Where Elasticsearch is, such as http://elasticsearch:9200; several nodes of one cluster with commas.");
        define(definition, CONNECTION, USERNAME, Type.STRING, "", null, Importance.MEDIUM,
                "The user, if Elasticsearch asks for one. It needs the index privileges create_index, auto_configure "
                + "and write.");
        define(definition, CONNECTION, PASSWORD, Type.PASSWORD, "", null, Importance.MEDIUM, "The user's password.");
        define(definition, CONNECTION, CONNECT_TIMEOUT, Type.INT, 3_000, Range.atLeast(1), Importance.LOW,
                "How long a connection may take to be made, in milliseconds.");
        define(definition, CONNECTION, REQUEST_TIMEOUT, Type.INT, 30_000, Range.atLeast(1), Importance.LOW,
                "How long Elasticsearch may be silent during a request before it is sent again, in milliseconds.");
        define(definition, DOCUMENTS, INDEX, Type.STRING, "{topic}",
                validator("a template", (String text) -> new Template(INDEX, text)), Importance.HIGH,
                "The index a record goes to: a text with placeholders. {topic} is the record's topic, {field} the text, "
                + "integer or boolean of a top-level field, {field:yyyy.MM} the month in UTC of a field with a timestamp "
                + "(any pattern of Java's DateTimeFormatter). Put into small letters.");
        define(definition, DOCUMENTS, DOCUMENT_ID, Type.STRING, "{topic}+{partition}+{offset}",
                validator("a template", (String text) -> new Template(DOCUMENT_ID, text)), Importance.HIGH,
                "The document's _id, made like the index; also {partition}, {offset}, and {field:epoch_micros}, the "
                + "microseconds since 1970 of a timestamp. A record whose id is already there takes the place of the "
                + "former one, so that delivering twice stores once. At most 512 bytes.");
        define(definition, SENDING, BATCH_DOCUMENTS, Type.INT, 5_000, Range.between(1, 100_000), Importance.MEDIUM,
                "The most documents in one bulk request. One is sent at a time for each task, with what has arrived.");
        define(definition, SENDING, BATCH_BYTES, Type.INT, 5 * 1024 * 1024, Range.atLeast(1024), Importance.MEDIUM,
                "The most bytes in one bulk request; a larger single document is sent alone.");
        define(definition, SENDING, MAX_BUFFERED, Type.INT, 20_000, Range.atLeast(1), Importance.MEDIUM,
                "The most records a task holds that aren't settled; beyond them, or beyond "
                + ElasticsearchSinkTask.BUFFERED_BULKS + " full bulks, it stops reading from Kafka for a while.");
        define(definition, SENDING, BACKOFF, Type.INT, 100, Range.atLeast(1), Importance.LOW,
                "The wait before something is sent again, in milliseconds. It doubles with each failure; a random part "
                + "of up to half is taken off.");
        define(definition, SENDING, BACKOFF_MAX, Type.INT, 10_000, Range.atLeast(1), Importance.LOW,
                "The longest wait before something is sent again, in milliseconds.");
        return definition;
    }

    DocumentReader documentReader() {
        return new DocumentReader(new Template(INDEX, getString(INDEX)), new Template(DOCUMENT_ID, getString(DOCUMENT_ID)));
    }

    BulkQueue queue() {
        return new BulkQueue(getInt(BATCH_DOCUMENTS), getInt(BATCH_BYTES));
    }

    RetryPolicy retryPolicy() {
        return new RetryPolicy(getInt(BACKOFF), getInt(BACKOFF_MAX), System::nanoTime, Math::random);
    }

    /** A client that is ready to use; it connects with its first request. */
    RestClient connect() {
        List<URI> urls = getList(URL).stream().map(URI::create).toList();
        RestClientBuilder builder = RestClient.builder(urls.stream()
                .map(url -> new HttpHost(url.getHost(), url.getPort(), url.getScheme())).toArray(HttpHost[]::new));
        String path = urls.get(0).getPath();
        if (!path.isEmpty() && !path.equals("/")) {
            builder.setPathPrefix(path);
        }
        if (!getString(USERNAME).isEmpty()) {
            byte[] login = (getString(USERNAME) + ":" + getPassword(PASSWORD).value()).getBytes(StandardCharsets.UTF_8);
            builder.setDefaultHeaders(new Header[] {
                new BasicHeader("Authorization", "Basic " + Base64.getEncoder().encodeToString(login))});
        }
        builder.setRequestConfigCallback(request -> request
                .setConnectTimeout(getInt(CONNECT_TIMEOUT)).setSocketTimeout(getInt(REQUEST_TIMEOUT)));
        builder.setHttpClientConfigCallback(http -> http.setDefaultIOReactorConfig(
                IOReactorConfig.custom().setIoThreadCount(1).setSoKeepAlive(true).build()));
        return builder.build();
    }

    private static void define(ConfigDef definition, String group, String name, Type type, Object defaultValue,
            ConfigDef.Validator validator, Importance importance, String documentation) {
        int order = (int) definition.configKeys().values().stream().filter(key -> group.equals(key.group)).count();
        definition.define(name, type, defaultValue, validator, importance, documentation, group, order, Width.MEDIUM, name);
    }

    private static void requireUrls(Object value) {
        List<?> urls = (List<?>) value;
        if (urls.isEmpty()) {
            throw new ConfigException(URL, value, "write at least one URL, such as http://elasticsearch:9200");
        }
        String path = null;
        for (Object text : urls) {
            URI url = url(text);
            boolean http = "http".equalsIgnoreCase(url.getScheme()) || "https".equalsIgnoreCase(url.getScheme());
            if (!http || url.getHost() == null || url.getRawQuery() != null || url.getRawFragment() != null) {
                throw new ConfigException(URL, text, "write it like http://elasticsearch:9200");
            }
            if (url.getRawUserInfo() != null) {
                // The value isn't repeated: it holds a password, and this text ends up in logs.
                throw new ConfigException("Take the user and password out of " + URL + " and set " + USERNAME + " and "
                        + PASSWORD);
            }
            if (path != null && !path.equals(url.getPath())) {
                throw new ConfigException(URL, value, "all URLs must have the same path");
            }
            path = url.getPath();
        }
    }

    private static URI url(Object text) {
        try {
            return new URI(String.valueOf(text));
        } catch (URISyntaxException e) {
            throw new ConfigException(URL + " must be like http://elasticsearch:9200");
        }
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
