package greet;

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceInstanceBuilder;

/**
 * An instance of `name` at `address`:`port` (and `ssl`) below `root` of `servers`, as Curator's service discovery
 * registers it, with a map as its payload (`payload=KEY:VALUE,…`) or none.
 */
final class Registered {
    private Registered() {}

    @SuppressWarnings({"rawtypes", "unchecked"})
    static void run() throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
            .connectString(Main.said("servers", null))
            .sessionTimeoutMs(Integer.parseInt(Main.said("session", "5000")))
            .retryPolicy(new RetryOneTime(100))
            .build();
        client.start();
        ServiceInstanceBuilder<Map> instance = ServiceInstance.<Map>builder()
            .name(Main.said("name", "stock"))
            .address(Main.said("address", null))
            .port(Integer.parseInt(Main.said("port", "8080")));
        if (Main.said("ssl", null) != null) {
            instance.sslPort(Integer.parseInt(Main.said("ssl", null)));
        }
        if (Main.said("payload", null) != null) {
            Map<String, String> payload = new TreeMap<>();
            for (String pair : Main.said("payload", "").split(",")) {
                payload.put(pair.split(":", 2)[0], pair.split(":", 2)[1]);
            }
            instance.payload(payload);
        }
        ServiceDiscovery<Map> discovery = ServiceDiscoveryBuilder.builder(Map.class)
            .client(client)
            .basePath(Main.said("root", "/services"))
            .thisInstance(instance.build())
            .build();
        discovery.start();
        // An orderly end takes the registration back.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                discovery.close();
                client.close();
            } catch (Exception failure) {
                failure.printStackTrace();
            }
        }));
        Main.say("ready");
        new CountDownLatch(1).await();
    }
}
