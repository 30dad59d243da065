package org.maredata.connect;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Reads one JSON object token by token and refuses whatever isn't exactly that: wrong UTF-8, anything
 * around the object, deep nesting, a name twice. A caller must read to the end with {@link #end}; only
 * then has the text been checked.
 *
 * <p>Refusals about the text come in the order of {@link Reason}: a name twice in a text that later turns
 * out to be broken is reported as malformed.
 */
public final class StrictJson implements AutoCloseable {
    /** Beyond this not even a malformed rest is looked for, so that nesting can't be used to fill the memory. */
    private static final int HOPELESS_DEPTH = 1000;

    private static final JsonFactory FACTORY = new JsonFactoryBuilder()
            // Kafka's values are UTF-8; guessing would take UTF-16 for JSON and skip a byte order mark.
            .disable(JsonFactory.Feature.CHARSET_DETECTION)
            // Unknown names are anyone's: they must neither stay in memory nor stop the parser.
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .disable(JsonFactory.Feature.FAIL_ON_SYMBOL_HASH_OVERFLOW)
            // Depth is checked here. The limits on numbers (1000 digits) and names are the very ones that
            // Elasticsearch's own parser has.
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(Integer.MAX_VALUE).build())
            .build();

    private final JsonParser parser;
    private final int maxDepth;
    private final List<Set<String>> namesByDepth = new ArrayList<>(4);
    private int depth;
    private RefusedException pending;

    /**
     * Opens the text and steps into its object.
     *
     * @param maxDepth how deep objects and arrays may be nested, the object itself being 1
     */
    public StrictJson(byte[] text, int maxDepth) {
        requireUtf8(text);
        this.maxDepth = maxDepth;
        try {
            this.parser = FACTORY.createParser(text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        if (advance() != JsonToken.START_OBJECT) {
            throw Reason.MALFORMED.because("the record must be one JSON object");
        }
        enter();
    }

    /** The next token of the object; never null. */
    public JsonToken next() {
        JsonToken token = advance();
        if (token == null) {
            throw Reason.MALFORMED.because("the text ends too early");
        }
        switch (token) {
            case START_OBJECT, START_ARRAY -> enter();
            case END_OBJECT, END_ARRAY -> depth--;
            case FIELD_NAME -> checkName();
            default -> { }
        }
        return token;
    }

    /** If the current token opens an object or array, goes to its end. */
    public void skip() {
        if (parser.currentToken().isStructStart()) {
            int outside = depth - 1;
            while (depth > outside) {
                next();
            }
        }
    }

    /** Reads the rest, and refuses the record for anything in the whole text that makes it unfit. */
    public void end() {
        while (depth > 0) {
            next();
        }
        if (advance() != null) {
            throw Reason.MALFORMED.because("there is something behind the object");
        }
        if (pending != null) {
            throw pending;
        }
    }

    public JsonToken token() {
        return parser.currentToken();
    }

    /** The name, or the value as text: a string without its escapes, anything else as it is written. */
    public String text() {
        try {
            return parser.getText();
        } catch (JsonProcessingException e) {
            throw malformed(e);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Where the current value begins, in bytes from the beginning of the text. */
    public int start() {
        return (int) parser.currentTokenLocation().getByteOffset();
    }

    /** The byte behind the current value; valid once {@link #text} has read it. */
    public int stop() {
        return (int) parser.currentLocation().getByteOffset();
    }

    @Override
    public void close() {
        try {
            parser.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private JsonToken advance() {
        try {
            return parser.nextToken();
        } catch (JsonProcessingException e) {
            throw malformed(e);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static RefusedException malformed(JsonProcessingException e) {
        // A broken limit, such as the one on a number's length, comes without a location.
        String where = e.getLocation() == null ? "" : " (byte " + e.getLocation().getByteOffset() + ")";
        return Reason.MALFORMED.because(e.getOriginalMessage() + where);
    }

    private void enter() {
        depth++;
        if (depth > maxDepth) {
            pending = Reason.TOO_DEEP.because("objects and arrays are nested deeper than " + maxDepth);
            if (depth > HOPELESS_DEPTH) {
                throw pending;
            }
        } else if (namesByDepth.size() < depth) {
            namesByDepth.add(new HashSet<>());
        } else {
            namesByDepth.get(depth - 1).clear();
        }
    }

    private void checkName() {
        if (depth <= maxDepth && !namesByDepth.get(depth - 1).add(text()) && pending == null) {
            pending = Reason.DUPLICATE_FIELD.because("the name " + Reason.quote(text()) + " occurs twice in one object");
        }
    }

    private static void requireUtf8(byte[] text) {
        for (byte b : text) {
            if (b < 0) {
                requireDecodable(text);
                return;
            }
        }
    }

    private static void requireDecodable(byte[] text) {
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text));
        } catch (CharacterCodingException e) {
            throw Reason.ENCODING.because("the text isn't valid UTF-8 (" + e.getMessage() + ")");
        }
    }
}
