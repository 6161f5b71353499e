use super::*;

/// What a real Spring Cloud application wrote.
const SPRING: &str = r#"{"name":"stock-service","id":"a040d3ca","address":"10.9.9.9","port":32773,"sslPort":null,
    "payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"stock-service","name":"stock-service",
    "metadata":{"version":"v7","instance_status":"UP"}},"registrationTimeUTC":1795265592562,"serviceType":"DYNAMIC",
    "uriSpec":{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false}]}}"#;
/// What a real Dubbo 3 application wrote.
const DUBBO: &str = r#"{"name":"greet-app","id":"192.0.2.2:32700","address":"192.0.2.2","port":32700,"sslPort":null,
    "payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"192.0.2.2:32700","name":"greet-app",
    "metadata":{"dubbo.metadata.revision":"5ecba3520d78d2ed287b0274e8bcca11","dubbo.metadata.storage-type":"local"}},
    "registrationTimeUTC":1795264948006,"serviceType":"DYNAMIC","uriSpec":null}"#;
const PLAIN: &str = r#"{"name":"a/b","id":"1","address":"10.0.0.1","port":80,"sslPort":443,"payload":null,"serviceType":"PERMANENT"}"#;

fn layout() -> Curator {
    let settings = CuratorSettings { root: "/services".into(), protocol: Protocol::Auto };
    Curator::new(settings, Scope::new("test"))
}

fn tree(nodes: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    nodes.iter().for_each(|(path, data)| tree.put_data(path, data.as_bytes()));
    tree
}

fn services(units: Vec<Unit>) -> Vec<crate::model::service::Service> {
    units.into_iter().flat_map(|u| u.services).collect()
}

#[test]
fn springs_instances_are_http_and_dubbos_are_not_ours() {
    let mut layout = layout();
    let tree = tree(&[
        ("/services/stock-service/a040d3ca", SPRING),
        ("/services/greet-app/192.0.2.2:32700", DUBBO),
        ("/services/mixed/1", SPRING),
        ("/services/mixed/2", DUBBO),
    ]);
    layout.restart(&tree);
    let found = services(layout.settle(&tree));
    assert_eq!(found.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["mixed", "stock-service"]);
    let stock = &found[1];
    assert_eq!(&*stock.key.name, "/services#stock-service");
    assert_eq!(stock.says.protocol, None, "the mapping's, which is HTTP");
    assert_eq!(stock.endpoints[0].ports, EndpointPorts::Named([("http".into(), 32773)].into()));
    assert_eq!(stock.endpoints[0].labels, [("version", "v7")].into_iter().collect());
    assert_eq!(found[0].endpoints.len(), 1);
}

#[test]
fn names_may_be_nested_and_nobody_knows_the_protocol_of_others() {
    let mut layout = layout();
    // Curator leaves its own address in the folders.
    let tree =
        tree(&[("/services/a", "127.0.0.1"), ("/services/a/b", "127.0.0.1"), ("/services/a/b/1", PLAIN)]);
    layout.restart(&tree);
    let found = services(layout.settle(&tree));
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].name, found[0].says.protocol), ("a/b", Some(Protocol::Auto)));
    let ports = EndpointPorts::Named([("auto".into(), 80), ("tls".into(), 443)].into());
    assert_eq!(found[0].endpoints[0].ports, ports);
}

#[test]
fn a_folder_may_be_a_service_and_hold_others() {
    let mut layout = layout();
    let tree = tree(&[("/services/a/1", PLAIN), ("/services/a/b/1", PLAIN)]);
    layout.restart(&tree);
    let found = services(layout.settle(&tree));
    assert_eq!(found.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["a", "a/b"]);
}

#[test]
fn a_change_of_an_instance_touches_its_own_service() {
    let mut layout = layout();
    let mut tree = tree(&[("/services/a/1", PLAIN), ("/services/b/1", PLAIN)]);
    layout.restart(&tree);
    layout.settle(&tree);
    tree.put_data("/services/a/2", PLAIN.as_bytes());
    layout.note("/services/a/2");
    let units = layout.settle(&tree);
    let named: Vec<(&str, usize)> = units.iter().map(|u| (&*u.name, u.services.len())).collect();
    assert_eq!(named, [("/services", 0), ("/services/a", 1), ("/services/a/2", 0)]);
    assert_eq!(units[1].services[0].endpoints.len(), 2);
    for gone in tree.remove("/services/a") {
        layout.note(&gone);
    }
    assert!(services(layout.settle(&tree)).is_empty());
}

#[test]
fn a_service_without_an_instance_that_may_be_called_stays_and_says_why() {
    let mut layout = layout();
    let tree = tree(&[
        ("/services/a/1", &PLAIN.replace("80", "0")),
        ("/services/a/2", "no JSON"),
        ("/services/b", "127.0.0.1"),
        ("/services/c/1", ""),
    ]);
    layout.restart(&tree);
    let found = services(layout.settle(&tree));
    assert_eq!(found.len(), 1, "a folder that is empty or holds nothing is no service");
    assert_eq!((found[0].endpoints.len(), found[0].left_out.count()), (0, 2));
}

#[test]
fn a_foreign_tree_is_not_read_to_its_end() {
    let layout = layout();
    let deep: String = (0..DEPTH).map(|n| format!("/{n}")).collect();
    assert_eq!(layout.wants(&format!("/services{deep}")), Wants::Both);
    assert_eq!(layout.wants(&format!("/services{deep}/x")), Wants::Nothing);
    assert_eq!(layout.wants("/servicesx/a"), Wants::Nothing);
}
