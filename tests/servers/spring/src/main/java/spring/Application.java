package spring;

import java.util.List;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.context.annotation.Bean;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;

/**
 * What a Spring Cloud team writes: a service that registers itself, and calls others by the name that they registered
 * under. It knows of no mesh. Which instance is called is decided by Spring Cloud LoadBalancer alone.
 */
@SpringBootApplication
@RestController
public class Application {
    private final String name;
    private final RestTemplate balanced;
    private final DiscoveryClient discovery;

    Application(
            @Value("${eureka.instance.instance-id:unnamed}") String name,
            RestTemplate balanced,
            DiscoveryClient discovery) {
        this.name = name;
        this.balanced = balanced;
        this.discovery = discovery;
    }

    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    /** Who answers. */
    @GetMapping("/")
    public String hello() {
        return name;
    }

    /** One call of another service by its name: its status is ours if it answers at all, else 500. */
    @GetMapping("/call")
    public String call(@RequestParam String service, @RequestParam(defaultValue = "/") String path) {
        return balanced.getForObject("http://" + service + path, String.class);
    }

    /** What this client knows of a service, as host:port, sorted. */
    @GetMapping("/known")
    public Map<String, List<String>> known(@RequestParam String service) {
        List<ServiceInstance> all = discovery.getInstances(service);
        return Map.of(service, all.stream().map(one -> one.getHost() + ":" + one.getPort()).sorted().toList());
    }

    /** Beside the application, since its constructor wants it. */
    @org.springframework.context.annotation.Configuration
    static class Clients {
        @Bean
        @LoadBalanced
        RestTemplate balanced() {
            return new RestTemplate();
        }
    }
}
