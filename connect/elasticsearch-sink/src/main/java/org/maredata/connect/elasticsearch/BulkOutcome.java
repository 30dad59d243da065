package org.maredata.connect.elasticsearch;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** What a reply means for each document of its bulk. */
final class BulkOutcome {
    /** A document that Elasticsearch won't take, and what it said. */
    record Refusal(Document document, String explanation) {
    }

    private final List<Document> settled = new ArrayList<>();
    private final List<Document> again = new ArrayList<>();
    private final List<Refusal> refused = new ArrayList<>();
    private boolean split;
    private Answer trouble = Answer.STORED;
    private String explanation = "";

    BulkOutcome(List<Document> documents, BulkReply reply) {
        if (reply.items().isEmpty()) {
            wholeAnswered(documents, reply);
        } else {
            itemsAnswered(documents, reply.items());
        }
    }

    /** Those that are in Elasticsearch, or have been overwritten there by a later one of the same bulk. */
    List<Document> settled() {
        return settled;
    }

    /** Those to be sent again, in their order. */
    List<Document> again() {
        return again;
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

    private void wholeAnswered(List<Document> documents, BulkReply reply) {
        Answer.Treatment treatment = reply.whole().treatment();
        if (treatment == Answer.Treatment.RETRY || treatment == Answer.Treatment.RETRY_SMALLER) {
            sendAgain(reply.whole(), reply.explanation());
            again.addAll(documents);
            split = treatment == Answer.Treatment.RETRY_SMALLER;
        } else if (documents.size() == 1) {
            refused.add(new Refusal(documents.get(0), reply.explanation()));
        } else {
            split = true;
            again.addAll(documents);
        }
    }

    private void itemsAnswered(List<Document> documents, List<BulkReply.Item> items) {
        // From the back, so that it is known whether a later document has already replaced one that failed:
        // sending that one again would put the older content in place of the newer.
        Set<Document.Target> storedLater = new HashSet<>();
        for (int i = items.size() - 1; i >= 0; i--) {
            Document document = documents.get(i);
            BulkReply.Item item = items.get(i);
            switch (item.answer().treatment()) {
                case DONE -> {
                    storedLater.add(document.target());
                    settled.add(document);
                }
                case RETRY, RETRY_SMALLER -> {
                    if (storedLater.contains(document.target())) {
                        settled.add(document);
                    } else {
                        sendAgain(item.answer(), item.explanation());
                        again.add(document);
                    }
                }
                case SPLIT, REFUSE -> refused.add(new Refusal(document, item.explanation()));
            }
        }
        Collections.reverse(again);
        Collections.reverse(refused);
    }

    private void sendAgain(Answer why, String what) {
        trouble = why;
        explanation = what;
    }
}
