package org.maredata.connect.elasticsearch;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import javax.net.ssl.SSLException;
import org.elasticsearch.client.Request;
import org.elasticsearch.client.ResponseException;
import org.elasticsearch.client.RestClient;

/** Tries whether Elasticsearch answers and knows the user, for a configuration that somebody is about to set. */
final class ConnectionCheck {
    /** What is wrong, and with which options. */
    record Complaint(List<String> options, String sentence) {
    }

    private ConnectionCheck() {
    }

    /** Empty if all is well; throws ConfigException if there can be no client at all. */
    static Optional<Complaint> of(ElasticsearchSinkConfig config) {
        try (RestClient client = config.connect()) {
            client.performRequest(new Request("GET", "/_security/_authenticate"));
            return Optional.empty();
        } catch (ResponseException e) {
            // Without security there is nobody to authenticate; any answer but these two is as good as a yes.
            int status = e.getResponse().getStatusLine().getStatusCode();
            return status == 401 || status == 403 ? Optional.of(login(config, status)) : Optional.empty();
        } catch (IOException e) {
            // The client wraps some of them.
            if (e instanceof SSLException || e.getCause() instanceof SSLException) {
                return Optional.of(new Complaint(List.of(ElasticsearchSinkConfig.CA_FILE), "Elasticsearch's certificate isn't "
                        + "trusted: name the file of the CA that signed it, and in connection.url the host that it was made "
                        + "for (" + e.getMessage() + ")"));
            }
            return Optional.of(new Complaint(List.of(ElasticsearchSinkConfig.URL), "Elasticsearch doesn't answer there: start "
                    + "it, or mend the address; or set connection.check=false to set the configuration all the same ("
                    + e + ")"));
        }
    }

    private static Complaint login(ElasticsearchSinkConfig config, int status) {
        List<String> options = config.getPassword(ElasticsearchSinkConfig.API_KEY).value().isEmpty()
                ? List.of(ElasticsearchSinkConfig.USERNAME, ElasticsearchSinkConfig.PASSWORD)
                : List.of(ElasticsearchSinkConfig.API_KEY);
        return new Complaint(options, "Elasticsearch doesn't let it in (" + status + "): mend the login");
    }
}
