package org.maredata.connect.elasticsearch;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** What a reply means for each document of its bulk. Those that are neither refused nor sent again are settled. */
final class BulkOutcome {
    /** A document that Elasticsearch won't take, and what it said. */
    record Refusal(OffsetTracker.Position position, String explanation) {
    }

    private final BitSet again = new BitSet();
    private final BitSet unsettled = new BitSet();
    private final List<Refusal> refused = new ArrayList<>();
    private boolean split;
    private Answer trouble = Answer.STORED;
    private String explanation = "";

    BulkOutcome(Bulk bulk, BulkReply reply) {
        if (reply.whole() != Answer.STORED) {
            wholeAnswered(bulk, reply);
        } else if (!reply.items().isEmpty()) {
            itemsAnswered(bulk, reply.items());
        }
    }

    /** True for one that is in Elasticsearch, or has been overwritten there by a later one of the same bulk. */
    boolean isSettled(int document) {
        return !unsettled.get(document);
    }

    boolean isSentAgain(int document) {
        return again.get(document);
    }

    int sentAgain() {
        return again.cardinality();
    }

    List<Refusal> refused() {
        return refused;
    }

    /** True if what is sent again must go in smaller bulks. */
    boolean mustSplit() {
        return split;
    }

    /** The last reason for sending again; STORED if there is none. */
    Answer trouble() {
        return trouble;
    }

    String explanation() {
        return explanation;
    }

    private void wholeAnswered(Bulk bulk, BulkReply reply) {
        Answer.Treatment treatment = reply.whole().treatment();
        unsettled.set(0, bulk.count());
        if (treatment == Answer.Treatment.RETRY || treatment == Answer.Treatment.RETRY_SMALLER) {
            sendAgain(reply.whole(), reply.explanation());
            again.set(0, bulk.count());
            split = treatment == Answer.Treatment.RETRY_SMALLER;
        } else if (bulk.count() == 1) {
            refused.add(new Refusal(bulk.position(0), reply.explanation()));
        } else {
            split = true;
            again.set(0, bulk.count());
        }
    }

    private void itemsAnswered(Bulk bulk, List<BulkReply.Item> items) {
        // From the back, so that it is known whether a later document has already replaced one that failed:
        // sending that one again would put the older content in place of the newer.
        Set<String> storedLater = new HashSet<>();
        boolean anyAgain = items.stream().anyMatch(item -> item.answer().treatment() == Answer.Treatment.RETRY);
        for (int i = items.size() - 1; i >= 0; i--) {
            BulkReply.Item item = items.get(i);
            switch (item.answer().treatment()) {
                case DONE -> {
                    if (anyAgain) {
                        storedLater.add(bulk.target(i));
                    }
                }
                case RETRY, RETRY_SMALLER -> {
                    if (!storedLater.contains(bulk.target(i))) {
                        sendAgain(item.answer(), item.explanation());
                        again.set(i);
                        unsettled.set(i);
                    }
                }
                case SPLIT, REFUSE -> {
                    refused.add(new Refusal(bulk.position(i), item.explanation()));
                    unsettled.set(i);
                }
            }
        }
        Collections.reverse(refused);
    }

    private void sendAgain(Answer why, String what) {
        trouble = why;
        explanation = what;
    }
}
