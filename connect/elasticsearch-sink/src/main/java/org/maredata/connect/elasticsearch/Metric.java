package org.maredata.connect.elasticsearch;

/** What a task says of itself over JMX. Each is a whole number. */
enum Metric {
    BULKS_IN_FLIGHT("BulksInFlight", "bulk requests that are under way"),
    UNACKNOWLEDGED_RECORDS("UnacknowledgedRecords",
            "records that the task holds: neither acknowledged by Elasticsearch nor confirmed as dead letters"),
    DOCUMENTS_STORED("DocumentsStored", "documents that Elasticsearch has acknowledged"),
    DOCUMENTS_RETRIED("DocumentsRetried", "documents that had to be sent again; one that is sent five times more counts five"),
    DEAD_LETTERS("DeadLetters",
            "records that were handed to the dead letters by this task (not those that the converter refused)"),
    LAST_SUCCESS("LastSuccess", "when Elasticsearch last acknowledged a document, in milliseconds since 1970; 0 if it never did"),
    OLDEST_UNACKNOWLEDGED_LAG("OldestUnacknowledgedLag",
            "how long ago the oldest unacknowledged record was written to Kafka, in milliseconds; 0 if there is none");

    private final String attribute;
    private final String description;

    Metric(String attribute, String description) {
        this.attribute = attribute;
        this.description = description;
    }

    /** Its name in the MBean. */
    String attribute() {
        return attribute;
    }

    String description() {
        return description;
    }
}
