package org.maredata.connect.elasticsearch;

import org.junit.jupiter.api.AfterEach;

/** What tests of the task share: a store, and the worker that the test has started. */
abstract class TaskTestBase {
    final FakeElasticsearch elasticsearch = new FakeElasticsearch();
    TaskHarness worker;

    /** Starts a task that writes to the store, with dead letters. */
    final void start(String... options) {
        worker = new TaskHarness(elasticsearch.url(), true, options);
    }

    @AfterEach
    final void close() {
        if (worker != null) {
            worker.close();
        }
        elasticsearch.close();
    }
}
