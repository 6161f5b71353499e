use super::*;
use crate::registry::zookeeper::layout::template::Pattern;

fn settings(path: &str) -> TemplateSettings {
    TemplateSettings {
        path: Pattern::parse(path).unwrap(),
        address: Some("/host".into()),
        port: Some("/ports/0".into()),
        weight: Some("/w".into()),
        enabled: Some("/on".into()),
        metadata: Some("/meta".into()),
        protocol: Protocol::Grpc,
    }
}

fn layout(settings: TemplateSettings) -> Template {
    Template::new(settings, Scope::new("test"))
}

fn tree(nodes: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    nodes.iter().for_each(|(path, data)| tree.put_data(path, data.as_bytes()));
    tree
}

const PATH: &str = "/apps/{group}/{service}/nodes/{instance}";

#[test]
fn a_pattern_says_what_is_read_and_from_where() {
    let layout = layout(settings(PATH));
    assert_eq!(layout.roots(), ["/apps".into()]);
    for (path, want) in [
        ("/apps", Wants::Children),
        ("/apps/g", Wants::Children),
        ("/apps/g/s/nodes", Wants::Children),
        ("/apps/g/s/other", Wants::Nothing),
        ("/apps/g/s/nodes/i", Wants::Data),
        ("/apps/g/s/nodes/i/deeper", Wants::Nothing),
        ("/", Wants::Nothing),
        ("/other", Wants::Nothing),
    ] {
        assert_eq!(layout.wants(path), want, "{path}");
    }
    for bad in
        ["", "apps", "/{service}/{instance}", "/a/{service}", "/a/{x}/{service}/{instance}", "/a/{instance}"]
    {
        assert_eq!(Pattern::parse(bad), None, "{bad}");
    }
}

#[test]
fn pointers_say_what_an_instance_is() {
    let mut layout = layout(settings(PATH));
    let json =
        r#"{"host":"10.0.0.1","ports":["8080"],"w":0.5,"on":true,"meta":{"version":"v1","n":1,"x":[]}}"#;
    let tree = tree(&[("/apps/g/s/nodes/i", json)]);
    layout.restart(&tree);
    let units = layout.settle(&tree);
    let service = &units[0].services[0];
    assert_eq!((&*service.name, service.says.protocol), ("s", Some(Protocol::Grpc)));
    assert_eq!(
        (service.variables.get("group"), service.variables.get("domain")),
        (Some("g"), Some("zookeeper"))
    );
    let endpoint = &service.endpoints[0];
    assert_eq!(endpoint.ports, EndpointPorts::One(8080));
    assert_eq!((endpoint.labels.get("version"), endpoint.labels.len()), (Some("v1"), 2));
    assert_eq!(endpoint.weight, Weight::new(0.5).unwrap());
}

#[test]
fn without_pointers_the_name_of_a_node_says_where_it_is() {
    let none = TemplateSettings { address: None, port: None, ..settings("/a/{service}/{instance}") };
    let mut layout = layout(none);
    let tree = tree(&[
        ("/a/s/10.0.0.1:80", ""),
        ("/a/s/[::1]:81", "whatever"),
        ("/a/s/10.0.0.1", ""),
        ("/a/s/10.0.0.1:x", ""),
        ("/a/s/10.0.0.1:0", ""),
    ]);
    layout.note("/a/s/10.0.0.1:80");
    let units = layout.settle(&tree);
    let service = &units[0].services[0];
    assert_eq!(service.endpoints.len(), 2);
    assert_eq!(service.left_out.count(), 3);
}

#[test]
fn what_makes_no_sense_is_left_out_and_named_and_its_neighbours_stay() {
    let mut layout = layout(settings("/a/{service}/{instance}"));
    let good = r#"{"host":"h.example","ports":[1]}"#;
    let large = format!(r#"{{"host":"{}"}}"#, "x".repeat(MAX_DATA));
    let tree = tree(&[
        ("/a/s/good", good),
        ("/a/s/json", "{"),
        ("/a/s/host", r#"{"host":7,"ports":[1]}"#),
        ("/a/s/port", r#"{"host":"h","ports":[99999]}"#),
        ("/a/s/none", r#"{"host":"h"}"#),
        ("/a/s/off", r#"{"host":"h","ports":[1],"on":false}"#),
        ("/a/s/large", &large),
        ("/a/t/good", good),
    ]);
    layout.restart(&tree);
    let units = layout.settle(&tree);
    let services: Vec<_> = units.iter().flat_map(|u| &u.services).collect();
    assert_eq!(services.len(), 2);
    let reasons: Vec<(&str, &str)> =
        services[0].left_out.by_reason().iter().map(|r| (&*r.first[0], &*r.reason)).collect();
    assert_eq!(
        reasons,
        [
            ("off", "disabled"),
            ("large", "its data is larger than 256 KiB"),
            ("json", "its data is no JSON"),
            ("port", "its port is none (1 to 65535)"),
            ("host", "no address"),
            ("none", "no port"),
        ]
    );
    assert_eq!((services[0].endpoints.len(), services[1].endpoints.len()), (1, 1));
}

#[test]
fn a_service_goes_with_its_last_instance_or_with_a_folder_above() {
    let mut layout = layout(settings(PATH));
    let mut tree = tree(&[("/apps/g/s/nodes/i", r#"{"host":"h","ports":[1]}"#)]);
    layout.restart(&tree);
    layout.settle(&tree);
    tree.remove("/apps/g");
    layout.note("/apps/g");
    let units = layout.settle(&tree);
    assert_eq!((&*units[0].name, units[0].services.len()), ("/apps/g/s/nodes", 0));
}
