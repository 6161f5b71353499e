package greet;

import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * Answers as `name`. `application`, `registry` (zookeeper://…), `protocols` (NAME:PORT,…), `services`
 * (GROUP:VERSION:WEIGHT:TAG;…, each part may be empty), `parameters` (KEY=VALUE,… of the application), `registry.parameters` (the
 * same of the registry). Dubbo's own properties (`dubbo.…`, `DUBBO_…`) as they are.
 */
final class Provider {
    private Provider() {}

    static void run() throws Exception {
        ApplicationConfig application = new ApplicationConfig(Main.said("application", "greeter"));
        application.setQosEnable(false);
        application.setParameters(pairs(Main.said("parameters", "")));
        RegistryConfig registry = new RegistryConfig(Main.said("registry", null));
        registry.setParameters(pairs(Main.said("registry.parameters", "")));
        DubboBootstrap bootstrap = DubboBootstrap.getInstance().application(application).registry(registry);
        for (String one : Main.said("protocols", "dubbo:20880").split(",")) {
            String[] part = one.split(":");
            bootstrap.protocol(new ProtocolConfig(part[0], Integer.parseInt(part[1])));
        }
        String name = Main.said("name", "provider");
        for (String one : Main.said("services", ":::").split(";")) {
            bootstrap.service(service(name, one.split(":", -1)));
        }
        bootstrap.start();
        Main.say("ready");
        bootstrap.await();
    }

    private static ServiceConfig<GreetService> service(String name, String[] part) {
        ServiceConfig<GreetService> service = new ServiceConfig<>();
        service.setInterface(GreetService.class);
        service.setRef(caller -> name);
        // 2.7 takes two services of one interface for one unless they have names.
        service.setId("greet-" + part[0] + "-" + part[1]);
        if (!part[0].isEmpty()) {
            service.setGroup(part[0]);
        }
        if (!part[1].isEmpty()) {
            service.setVersion(part[1]);
        }
        if (part.length > 2 && !part[2].isEmpty()) {
            service.setWeight(Integer.valueOf(part[2]));
        }
        if (part.length > 3 && !part[3].isEmpty()) {
            service.setTag(part[3]);
        }
        return service;
    }

    private static Map<String, String> pairs(String text) {
        Map<String, String> pairs = new LinkedHashMap<>();
        for (String pair : text.split(",")) {
            int at = pair.indexOf('=');
            if (at > 0) {
                pairs.put(pair.substring(0, at), pair.substring(at + 1));
            }
        }
        return pairs;
    }
}
