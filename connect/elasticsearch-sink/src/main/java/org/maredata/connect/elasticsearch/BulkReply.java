package org.maredata.connect.elasticsearch;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * What came back for a bulk.
 *
 * @param whole the answer to the request; only if it is STORED there are items
 * @param explanation what to tell a person about it
 * @param items the answer to each document, in the order of the request; none if every document is stored
 */
record BulkReply(Answer whole, String explanation, List<Item> items) {
    /** The answer to one document, and Elasticsearch's type and reason if there is an error. */
    record Item(Answer answer, String type, String explanation) {
        private static final Item STORED = new Item(Answer.STORED, "", "");

        /** True if it is a refusal only in case that the document's index exists. */
        boolean dependsOnTheIndex() {
            return answer == Answer.REFUSED && !Answer.isAboutTheDocument(type);
        }
    }

    /** How much of its answer Elasticsearch is asked for, as a filter_path; it leaves out the rest. */
    enum Extent {
        /** Only whether there was any error. Writing an item for each document takes much of Elasticsearch's CPU. */
        SHORT("errors,error,status"),
        /** The status of each document, and its error. */
        FULL("errors,error,status,items.*.status,items.*.error");

        private final String filter;

        Extent(String filter) {
            this.filter = filter;
        }

        String filter() {
            return filter;
        }
    }

    private static final BulkReply ALL_STORED = new BulkReply(Answer.STORED, "", List.of());
    // To be asked for in full. Whoever didn't would send everything again, and lose nothing.
    private static final BulkReply SOME_ERROR = new BulkReply(Answer.UNEXPECTED,
            "not every document was stored, and the reply doesn't say which", List.of());
    private static final byte[] NO_ERRORS = "{\"errors\":false".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] END = "]}".getBytes(StandardCharsets.US_ASCII);
    private static final ObjectMapper MAPPER = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final int LONGEST_EXPLANATION = 2000;

    static BulkReply noAnswer(Throwable problem) {
        Answer answer = problem instanceof SocketTimeoutException ? Answer.TOO_SLOW : Answer.NO_ANSWER;
        return new BulkReply(answer, problem.toString(), List.of());
    }

    /**
     * @param documents how many were sent
     * @param asked the items are read if there are any, but only to a short question none are needed
     */
    static BulkReply of(int status, byte[] body, int documents, Extent asked) {
        if (status == 200 && saysAllStored(body, documents)) {
            return ALL_STORED;
        }
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
        if (asked == Extent.SHORT && reply.size() == 1 && reply.path("errors").isBoolean()) {
            return reply.path("errors").asBoolean() ? SOME_ERROR : ALL_STORED;
        }
        List<Item> items = new ArrayList<>(documents);
        for (JsonNode action : reply.path("items")) {
            // One entry, named by the action.
            for (Map.Entry<String, JsonNode> item : action.properties()) {
                items.add(item(item.getKey(), item.getValue()));
            }
        }
        if (items.size() != documents) {
            return new BulkReply(Answer.UNEXPECTED, "HTTP status " + status + " with answers to " + items.size()
                    + " of " + documents + " documents", List.of());
        }
        return new BulkReply(whole, explanation, items);
    }

    /** True if it only says that there was an error: which document it is about has to be asked for. */
    boolean mustBeAskedInFull() {
        return this == SOME_ERROR;
    }

    private static Item item(String action, JsonNode item) {
        JsonNode error = item.path("error");
        int status = item.path("status").asInt();
        if (error.isMissingNode() && (status >= 200 && status < 300 || action.equals("delete") && status == 404)) {
            // What is to be deleted and isn't there is as good as deleted.
            return Item.STORED;
        }
        String explanation = explain(error);
        return new Item(Answer.of(status, error.path("type").asText(), explanation), error.path("type").asText(), explanation);
    }

    /** True if it is certain without reading it as JSON: each document's answer is two objects, the whole one more. */
    private static boolean saysAllStored(byte[] body, int documents) {
        if (body.length < NO_ERRORS.length + END.length
                || !Arrays.equals(body, 0, NO_ERRORS.length, NO_ERRORS, 0, NO_ERRORS.length)
                || !Arrays.equals(body, body.length - END.length, body.length, END, 0, END.length)) {
            return false;
        }
        int objects = 0;
        for (byte b : body) {
            objects += b == '{' ? 1 : 0;
        }
        return objects == 2 * documents + 1;
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
