package org.maredata.connect.capture;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.maredata.connect.Texts;

/** The text of a JSON column as a part of a document. */
final class JsonColumn {
    // A limit would make a string of a value that extraction takes for JSON: what is too much, the sink's own check says.
    private static final JsonFactory FACTORY = new JsonFactoryBuilder()
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(Integer.MAX_VALUE)
                    .maxNumberLength(Integer.MAX_VALUE).maxStringLength(Integer.MAX_VALUE)
                    .maxNameLength(Integer.MAX_VALUE).build())
            .build();

    private JsonColumn() {
    }

    /** One line of JSON, with every digit of its numbers; what is no JSON (MariaDB takes {@code 1.} for it) as a string. */
    static String json(String text) {
        // Inside strings JSON has no line breaks.
        return isJson(text) ? text.replace('\n', ' ').replace('\r', ' ') : Kind.quoted(text);
    }

    private static boolean isJson(String text) {
        try (JsonParser parser = FACTORY.createParser(text)) {
            if (parser.nextToken() == null) {
                return false;
            }
            for (int depth = 0; ; parser.nextToken()) {
                JsonToken token = parser.currentToken();
                if (token == null) {
                    return false;
                }
                // Half a pair, written with \\u, is JSON and yet no text.
                if ((token == JsonToken.FIELD_NAME || token == JsonToken.VALUE_STRING) && Texts.hasHalfPair(parser.getText())) {
                    return false;
                }
                depth += token.isStructStart() ? 1 : token.isStructEnd() ? -1 : 0;
                if (depth == 0) {
                    return parser.nextToken() == null;
                }
            }
        } catch (JsonProcessingException e) {
            return false;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
