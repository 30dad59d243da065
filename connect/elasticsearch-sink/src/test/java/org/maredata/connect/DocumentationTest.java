package org.maredata.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class DocumentationTest {
    @Test
    void theReadmeSaysWhatTheCodeSays() throws IOException {
        String readme = Files.readString(Path.of("README.md"));
        assertEquals(Documentation.fill(readme), readme, "run the command that the README's section Development names");
    }
}
