package org.maredata.connect.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import org.apache.kafka.connect.errors.DataException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.maredata.connect.Vectors;

/** The vectors are those of `extraction/keys.py`. */
class RowIdTest {
    static Collection<JsonNode> vectors() {
        return Vectors.rowIds();
    }

    private static String id(JsonNode vector) {
        String fields = Capture.field("f", "text", "UTC", false, Capture.column("f", "text", true, 0, 0));
        RowLayout layout = LayoutOption.read("{\"fields\":[" + fields + "],\"key\":" + vector.get("key") + ",\"deletes\":\"keep\"}");
        return layout.id(Capture.cells(vector.get("row").toString()));
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void theIdIsThatOfExtraction(JsonNode vector) {
        assertEquals(vector.get("id").textValue(), id(vector));
    }

    @Test
    void noTwoKeysHaveOneId() {
        List<String> ids = vectors().stream().map(RowIdTest::id).toList();
        assertEquals(ids.size(), new HashSet<>(ids).size());
    }

    @Test
    void aMissingColumnOfTheKeyIsRefused() {
        RowColumn column = new RowColumn("k", "int", false, 0, false);
        DataException e = assertThrows(DataException.class, () -> RowId.of(List.of(column), Capture.cells("{\"id\":1}")));
        assertTrue(e.getMessage().startsWith("missing_field: the row has no column k"), e.getMessage());
    }
}
