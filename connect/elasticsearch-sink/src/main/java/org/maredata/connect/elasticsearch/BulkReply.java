package org.maredata.connect.elasticsearch;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.SocketTimeoutException;
import java.util.ArrayList;
import java.util.List;
import org.apache.http.conn.ConnectTimeoutException;

/**
 * What came back for a bulk.
 *
 * @param whole the answer to the request; only if it is STORED there are items
 * @param explanation what to tell a person about it
 * @param items the answer to each document, in the order of the request
 */
record BulkReply(Answer whole, String explanation, List<Item> items) {
    /** The answer to one document, and Elasticsearch's type and reason if there is an error. */
    record Item(Answer answer, String explanation) {
    }

    /** What of Elasticsearch's answer is read; it leaves out the rest, which would be most of it. */
    static final String FILTER = "errors,error,status,items.*.status,items.*.error";

    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final int LONGEST_EXPLANATION = 2000;

    static BulkReply noAnswer(Throwable problem) {
        Answer answer = problem instanceof SocketTimeoutException && !(problem instanceof ConnectTimeoutException)
                ? Answer.TOO_SLOW : Answer.NO_ANSWER;
        return new BulkReply(answer, problem.toString(), List.of());
    }

    /** @param documents how many were sent */
    static BulkReply of(int status, byte[] body, int documents) {
        JsonNode reply;
        try {
            reply = MAPPER.readTree(body);
        } catch (IOException e) {
            // A proxy's page, or nothing.
            reply = MAPPER.missingNode();
        }
        JsonNode error = reply.path("error");
        Answer whole = Answer.of(status, error.path("type").asText(), explain(error));
        String explanation = ("HTTP status " + status + " " + explain(error)).strip();
        if (whole != Answer.STORED) {
            return new BulkReply(whole, explanation, List.of());
        }
        List<Item> items = new ArrayList<>(documents);
        for (JsonNode action : reply.path("items")) {
            // One entry, named by the action.
            for (JsonNode item : action) {
                JsonNode itemError = item.path("error");
                String itemExplanation = explain(itemError);
                items.add(new Item(Answer.of(item.path("status").asInt(), itemError.path("type").asText(),
                        itemExplanation), itemExplanation));
            }
        }
        if (items.size() != documents) {
            return new BulkReply(Answer.UNEXPECTED, "HTTP status " + status + " with answers to " + items.size()
                    + " of " + documents + " documents", List.of());
        }
        return new BulkReply(whole, explanation, items);
    }

    private static String explain(JsonNode error) {
        StringBuilder text = new StringBuilder();
        for (JsonNode cause = error; !cause.isMissingNode(); cause = cause.path("caused_by")) {
            text.append(text.isEmpty() ? "" : "; caused by ");
            text.append(cause.isTextual() ? cause.asText() : cause.path("type").asText() + ": " + cause.path("reason").asText());
        }
        return text.length() > LONGEST_EXPLANATION ? text.substring(0, LONGEST_EXPLANATION) + "…" : text.toString();
    }
}
