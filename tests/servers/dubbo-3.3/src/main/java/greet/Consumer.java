package greet;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * Calls, and says who answered: every `every` milliseconds, or without that once for each line that it reads. Finds
 * its providers in `registry`, or is given a `url`. `group`, `version` and `protocol` narrow what it finds; Dubbo's own
 * properties (`dubbo.…`) as they are.
 */
final class Consumer {
    private Consumer() {}

    static void run() throws Exception {
        ApplicationConfig application = new ApplicationConfig(Main.said("application", "caller"));
        application.setQosEnable(false);
        String at = Main.said("registry", null);
        RegistryConfig registry = new RegistryConfig(at == null ? RegistryConfig.NO_AVAILABLE : at);
        ReferenceConfig<GreetService> reference = new ReferenceConfig<>();
        reference.setInterface(GreetService.class);
        reference.setUrl(Main.said("url", null));
        reference.setGroup(Main.said("group", null));
        reference.setVersion(Main.said("version", null));
        reference.setProtocol(Main.said("protocol", null));
        reference.setCheck(false);
        DubboBootstrap bootstrap = DubboBootstrap.getInstance().application(application).registry(registry).reference(reference);
        bootstrap.start();
        GreetService service = reference.get();
        Main.say("ready");
        String every = Main.said("every", null);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        while (every != null || input.readLine() != null) {
            call(service);
            if (every != null) {
                Thread.sleep(Long.parseLong(every));
            }
        }
        bootstrap.stop();
    }

    private static void call(GreetService service) {
        try {
            Main.say("answer", "name", service.greet("me"));
        } catch (RuntimeException failure) {
            String why = String.valueOf(failure.getMessage());
            Main.say("failed", "error", why);
        }
    }
}
