package org.maredata.connect.elasticsearch;

import java.util.Arrays;
import java.util.Set;

/**
 * What Elasticsearch can answer, to a bulk as a whole or to one document of it, and what follows from it. The
 * constants are tried in their order.
 */
enum Answer {
    STORED(Treatment.DONE, "2xx; 409 (the document is already there)") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status >= 200 && status < 300 || status == 409;
        }
    },
    BUSY(Treatment.RETRY, "429: too much at once, or the disk is nearly full") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status == 429;
        }
    },
    UNAVAILABLE(Treatment.RETRY, "500, 502, 503, 504 and every other 5xx") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status >= 500;
        }
    },
    BLOCKED(Treatment.RETRY, "403 `cluster_block_exception`, 400 `index_closed_exception`: an index is closed or blocked") {
        @Override
        boolean fits(int status, String type, String reason) {
            return Set.of("cluster_block_exception", "index_closed_exception").contains(type);
        }
    },
    FORBIDDEN(Treatment.RETRY, "401, 403: the user or password is wrong, or may not write there") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status == 401 || status == 403;
        }
    },
    SHARD_LIMIT(Treatment.RETRY, "400 about the limit on shards: a new index can't be created") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status == 400 && reason.contains("this action would add") && reason.contains("shards");
        }
    },
    NO_INDEX(Treatment.RETRY, "404: the index doesn't exist and isn't created by itself; 400 about an alias without a "
            + "write index, or about a data stream") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status == 404 || status == 400 && (reason.contains("no write index is defined for alias")
                    || reason.contains("only write ops with an op_type of create are allowed in data streams"));
        }
    },
    TOO_LARGE(Treatment.SPLIT, "413: the request is too large") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status == 413;
        }
    },
    REFUSED(Treatment.REFUSE, "any other 400 with an error of Elasticsearch's own, such as `document_parsing_exception`, "
            + "`strict_dynamic_mapping_exception`, `illegal_argument_exception`") {
        @Override
        boolean fits(int status, String type, String reason) {
            return status == 400 && !type.isEmpty();
        }
    },
    NOT_CREATED(Treatment.RETRY, "the same for a document whose index isn't there (asked for with HEAD): it couldn't be "
            + "created, for whatever reason") {
        @Override
        boolean fits(int status, String type, String reason) {
            return false;
        }
    },
    TOO_SLOW(Treatment.RETRY_SMALLER, "no answer within `request.timeout.ms`") {
        @Override
        boolean fits(int status, String type, String reason) {
            return false;
        }
    },
    NO_ANSWER(Treatment.RETRY, "connection refused or reset, unknown host") {
        @Override
        boolean fits(int status, String type, String reason) {
            return false;
        }
    },
    UNEXPECTED(Treatment.RETRY, "anything else: most likely it isn't Elasticsearch that answers") {
        @Override
        boolean fits(int status, String type, String reason) {
            return true;
        }
    };

    /** What the task does. */
    enum Treatment {
        DONE("the record is settled"),
        RETRY("sent again, for ever, with growing waits; never a dead letter"),
        RETRY_SMALLER("the same, and in halves: what is too much for the time must not be sent so for ever"),
        SPLIT("the bulk is sent in halves; a single document that is still too large becomes a dead letter"),
        REFUSE("the record becomes a dead letter with Elasticsearch's type and reason (when the answer is to a whole "
                + "bulk, that is sent in halves until the document is found)");

        private final String description;

        Treatment(String description) {
            this.description = description;
        }

        String description() {
            return description;
        }
    }

    private static final Set<String> ABOUT_THE_DOCUMENT = Set.of("document_parsing_exception",
            "strict_dynamic_mapping_exception", "invalid_index_name_exception");

    private final Treatment treatment;
    private final String description;

    Answer(Treatment treatment, String description) {
        this.treatment = treatment;
        this.description = description;
    }

    abstract boolean fits(int status, String type, String reason);

    Treatment treatment() {
        return treatment;
    }

    String description() {
        return description;
    }

    /** True if an error of that type is about the document itself, so that its index needn't be asked for. */
    static boolean isAboutTheDocument(String type) {
        return ABOUT_THE_DOCUMENT.contains(type);
    }

    /**
     * @param type Elasticsearch's error type, empty if there is none
     * @param reason its reason, with those that caused it
     */
    static Answer of(int status, String type, String reason) {
        return Arrays.stream(values()).filter(answer -> answer.fits(status, type, reason)).findFirst().orElseThrow();
    }
}
