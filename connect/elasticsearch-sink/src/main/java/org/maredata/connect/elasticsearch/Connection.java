package org.maredata.connect.elasticsearch;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.apache.http.Header;
import org.apache.http.HttpHost;
import org.apache.http.impl.nio.reactor.IOReactorConfig;
import org.apache.http.message.BasicHeader;
import org.apache.kafka.common.config.ConfigException;
import org.elasticsearch.client.RestClient;
import org.elasticsearch.client.RestClientBuilder;

/**
 * How Elasticsearch is reached.
 *
 * @param timeoutMs how long it may be silent
 * @param requests how many may be under way at once
 * @param apiKey taken if there is no user
 * @param caFile empty for those that Java trusts
 */
record Connection(List<String> urls, int connectTimeoutMs, int timeoutMs, int requests, String user, String password,
        String apiKey, String caFile, boolean gzip) {

    /** A client that connects with its first request; throws ConfigException if the CA file can't be read. */
    RestClient open() {
        List<URI> nodes = urls.stream().map(URI::create).toList();
        RestClientBuilder builder = RestClient.builder(nodes.stream()
                .map(node -> new HttpHost(node.getHost(), node.getPort(), node.getScheme())).toArray(HttpHost[]::new));
        String path = nodes.get(0).getPath();
        if (!path.isEmpty() && !path.equals("/")) {
            builder.setPathPrefix(path);
        }
        if (!user.isEmpty()) {
            byte[] login = (user + ":" + password).getBytes(StandardCharsets.UTF_8);
            authorize(builder, "Basic " + Base64.getEncoder().encodeToString(login));
        } else if (!apiKey.isEmpty()) {
            authorize(builder, "ApiKey " + apiKey);
        }
        SSLContext trust = caFile.isEmpty() ? null : trust();
        builder.setCompressionEnabled(gzip);
        builder.setRequestConfigCallback(request -> request.setConnectTimeout(connectTimeoutMs).setSocketTimeout(timeoutMs));
        builder.setHttpClientConfigCallback(http -> {
            // One more, for asking whether an index is there.
            http.setMaxConnPerRoute(requests + 1).setMaxConnTotal((requests + 1) * nodes.size());
            http.setDefaultIOReactorConfig(IOReactorConfig.custom().setIoThreadCount(1).setSoKeepAlive(true).build());
            return trust == null ? http : http.setSSLContext(trust);
        });
        return builder.build();
    }

    static void requireUrls(List<?> urls) {
        String option = ElasticsearchSinkConfig.URL;
        if (urls.isEmpty()) {
            throw new ConfigException(option, urls, "write at least one URL, such as http://elasticsearch:9200");
        }
        String path = null;
        for (Object text : urls) {
            URI url = url(text);
            boolean http = "http".equalsIgnoreCase(url.getScheme()) || "https".equalsIgnoreCase(url.getScheme());
            if (!http || url.getHost() == null || url.getRawQuery() != null || url.getRawFragment() != null) {
                throw new ConfigException(option, text, "write it like http://elasticsearch:9200");
            }
            if (url.getRawUserInfo() != null) {
                // The value isn't repeated: it holds a password, and this text ends up in logs.
                throw new ConfigException("Take the user and password out of " + option + " and set "
                        + ElasticsearchSinkConfig.USERNAME + " and " + ElasticsearchSinkConfig.PASSWORD);
            }
            if (path != null && !path.equals(url.getPath())) {
                throw new ConfigException(option, urls, "all URLs must have the same path");
            }
            path = url.getPath();
        }
    }

    static void requireCertificates(String file) {
        if (!file.isEmpty()) {
            certificates(file);
        }
    }

    private static void authorize(RestClientBuilder builder, String credentials) {
        builder.setDefaultHeaders(new Header[] {new BasicHeader("Authorization", credentials)});
    }

    private SSLContext trust() {
        try {
            KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
            trusted.load(null, null);
            for (Certificate certificate : certificates(caFile)) {
                trusted.setCertificateEntry("ca" + trusted.size(), certificate);
            }
            TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            managers.init(trusted);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, managers.getTrustManagers(), null);
            return context;
        } catch (GeneralSecurityException | IOException e) {
            throw new ConfigException(ElasticsearchSinkConfig.CA_FILE, caFile,
                    "its certificates can't be used: " + e.getMessage());
        }
    }

    private static Collection<? extends Certificate> certificates(String file) {
        try (InputStream pem = Files.newInputStream(Path.of(file))) {
            Collection<? extends Certificate> found = CertificateFactory.getInstance("X.509").generateCertificates(pem);
            if (found.isEmpty()) {
                throw new IOException("there is no certificate in it");
            }
            return found;
        } catch (GeneralSecurityException | IOException e) {
            throw new ConfigException(ElasticsearchSinkConfig.CA_FILE, file, "name a PEM file with the CA's certificate that "
                    + "the worker may read (" + e + ")");
        }
    }

    private static URI url(Object text) {
        try {
            return new URI(String.valueOf(text));
        } catch (URISyntaxException e) {
            throw new ConfigException(ElasticsearchSinkConfig.URL + " must be like http://elasticsearch:9200");
        }
    }
}
