package greet;

import java.io.PrintStream;

/**
 * `dubbo provider|consumer|curator KEY=VALUE…`: real Dubbo, or Curator, that a test starts, told everything by its arguments. A line of
 * JSON on standard output says each thing that a test waits for; everything else goes to standard error.
 */
public final class Main {
    private static final PrintStream OUT = System.out;

    private Main() {}

    public static void main(String[] arguments) {
        // Whoever prints from inside a library must not come between the lines.
        System.setOut(System.err);
        for (int i = 1; i < arguments.length; i++) {
            int at = arguments[i].indexOf('=');
            System.setProperty(arguments[i].substring(0, at), arguments[i].substring(at + 1));
        }
        try {
            run(arguments[0]);
        } catch (Throwable failure) {
            // Threads of the libraries would keep a failed start alive.
            failure.printStackTrace();
            System.exit(1);
        }
    }

    private static void run(String role) throws Exception {
        switch (role) {
            case "provider":
                Provider.run();
                break;
            case "consumer":
                Consumer.run();
                break;
            case "curator":
                Registered.run();
                break;
            default:
                throw new IllegalArgumentException(role);
        }
    }

    /** One of the arguments. */
    static String said(String key, String otherwise) {
        return System.getProperty(key, otherwise);
    }

    /** `{"event": …, KEY: VALUE, …}`; a value that is null is left out. */
    static synchronized void say(String event, String... pairs) {
        StringBuilder line = new StringBuilder("{\"event\":").append(quoted(event));
        for (int i = 0; i < pairs.length; i += 2) {
            if (pairs[i + 1] != null) {
                line.append(',').append(quoted(pairs[i])).append(':').append(quoted(pairs[i + 1]));
            }
        }
        OUT.println(line.append('}'));
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
