import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Says of each pattern of a table which of the table's names RE2/J matches with it, or why it refuses the pattern.
 *
 * The first line holds the names; `%COUNT%OPEN%MIDDLE%CLOSE` stands for a pattern of so many repetitions.
 */
public class Patterns {
    public static void main(String[] arguments) throws Exception {
        List<String> table = Files.readAllLines(Path.of(arguments[0]), StandardCharsets.UTF_8);
        String[] names = table.get(0).split("\t")[1].split(" ");
        StringBuilder out = new StringBuilder(table.get(0)).append('\n');
        for (String line : table.subList(1, table.size())) {
            String pattern = line.split("\t", 2)[0];
            out.append(pattern).append('\t').append(answer(spelled(pattern), names)).append('\n');
        }
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    static String spelled(String pattern) {
        String[] parts = pattern.split("%", -1);
        if (parts.length != 5 || !parts[0].isEmpty()) {
            return pattern;
        }
        int count = Integer.parseInt(parts[1]);
        return parts[2].repeat(count) + parts[3] + parts[4].repeat(count);
    }

    static String answer(String pattern, String[] names) {
        try {
            Pattern compiled = Pattern.compile(pattern);
            List<String> found = new ArrayList<>();
            for (String name : names) {
                if (compiled.matcher(name).matches()) {
                    found.add(name);
                }
            }
            return String.join(" ", found);
        } catch (PatternSyntaxException refused) {
            return "refused: " + refused.getDescription();
        }
    }
}
