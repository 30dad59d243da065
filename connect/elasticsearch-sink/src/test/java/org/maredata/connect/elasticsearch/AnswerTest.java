package org.maredata.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AnswerTest {
    /** Under the right name, too: it is what the log and the README tell people to look for. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "STORED | 200 | '' | ''", "STORED | 201 | '' | ''", "STORED | 409 | version_conflict_engine_exception | x",
        "BUSY | 429 | es_rejected_execution_exception | x", "BUSY | 429 | cluster_block_exception | flood-stage watermark",
        "UNAVAILABLE | 500 | '' | ''", "UNAVAILABLE | 502 | '' | ''", "UNAVAILABLE | 503 | '' | ''", "UNAVAILABLE | 504 | '' | ''",
        "BLOCKED | 403 | cluster_block_exception | x", "BLOCKED | 400 | index_closed_exception | x",
        "FORBIDDEN | 401 | security_exception | x", "FORBIDDEN | 403 | security_exception | x",
        "SHARD_LIMIT | 400 | validation_exception | this action would add [2] shards, but",
        "NO_INDEX | 404 | index_not_found_exception | x", "NO_INDEX | 400 | x | no write index is defined for alias [r]",
        "NO_INDEX | 400 | x | only write ops with an op_type of create are allowed in data streams",
        "TOO_LARGE | 413 | '' | ''", "REFUSED | 400 | document_parsing_exception | x", "UNEXPECTED | 400 | '' | ''",
        "UNEXPECTED | 302 | '' | ''", "UNEXPECTED | 405 | '' | ''"})
    void eachAnswerHasItsName(Answer answer, int status, String type, String reason) {
        assertEquals(answer, Answer.of(status, type, reason));
    }
}
