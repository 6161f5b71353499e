package greet;

/** What the providers offer. */
public interface GreetService {
    /** The name of the provider that answers. */
    String greet(String caller);
}
