use super::*;
use crate::model::endpoint::{Address, EndpointPorts, Weight};
use crate::model::service::Service;

mod application;

/// What real providers wrote: Dubbo 3.3.6 and 2.7.23.
const REAL_3: &str = "dubbo%3A%2F%2F192.0.2.2%3A32700%2Fdemo.GreetService%3Fapplication%3Dgreet-app%26deprecated%3Dfalse%26dubbo%3D2.0.2%26dubbo.tag%3Dgray%26dynamic%3Dtrue%26generic%3Dfalse%26group%3Dgray%26interface%3Ddemo.GreetService%26methods%3Dgreet%26prefer.serialization%3Dhessian2%2Cfastjson2%26release%3D3.3.6%26revision%3D1.0.0%26service-name-mapping%3Dtrue%26side%3Dprovider%26timestamp%3D1795264947419%26version%3D1.0.0%26weight%3D50";
const REAL_27: &str = "dubbo%3A%2F%2F192.0.2.2%3A32730%2Fdemo.GreetService%3Fanyhost%3Dtrue%26application%3Dold-app%26deprecated%3Dfalse%26dubbo%3D2.0.2%26dynamic%3Dtrue%26generic%3Dfalse%26interface%3Ddemo.GreetService%26metadata-type%3Dremote%26methods%3Dgreet%26pid%3D13409%26release%3D2.7.23%26service.name%3DServiceBean%3A%2Fdemo.GreetService%26side%3Dprovider%26timestamp%3D1795267248501%26weight%3D150";

fn layout(by: By) -> Dubbo {
    Dubbo::new(DubboSettings::usual(by), Scope::new("test"))
}

fn provider(folder: &str, url: &str) -> String {
    format!("/dubbo/{folder}/providers/{}", url::encode(url))
}

fn tree(paths: &[String]) -> Tree {
    let mut tree = Tree::default();
    paths.iter().for_each(|path| tree.put(path));
    tree
}

fn all(layout: &mut Dubbo, tree: &Tree) -> Vec<Service> {
    layout.restart(tree);
    layout.settle(tree).into_iter().flat_map(|u| u.services).collect()
}

fn named<'a>(services: &'a [Service], name: &str) -> &'a Service {
    services.iter().find(|s| &*s.name == name).unwrap_or_else(|| panic!("{name} among {services:?}"))
}

fn ports(list: &[(&str, u16)]) -> EndpointPorts {
    EndpointPorts::Named(list.iter().map(|(n, p)| (Arc::from(*n), *p)).collect())
}

#[test]
fn what_real_providers_wrote_becomes_services_by_interface_group_and_version() {
    let tree = tree(&[
        format!("/dubbo/demo.GreetService/providers/{REAL_3}"),
        format!("/dubbo/demo.GreetService/providers/{REAL_27}"),
        "/dubbo/metadata/demo.GreetService".into(),
        "/dubbo/mapping/demo.GreetService".into(),
    ]);
    let services = all(&mut layout(By::Interface), &tree);
    assert_eq!(services.len(), 2);
    let gray = named(&services, "gray/demo.GreetService:1.0.0");
    assert_eq!(&*gray.key.name, "/dubbo/gray/demo.GreetService:1.0.0");
    let variables = [
        ("application", "greet-app"),
        ("domain", "dubbo"),
        ("group", "gray"),
        ("interface", "demo.GreetService"),
        ("name", "demo.GreetService"),
        ("version", "1-0-0"),
    ];
    assert_eq!(gray.variables, variables.into_iter().collect());
    let endpoint = &gray.endpoints[0];
    assert_eq!(
        (&endpoint.address, &endpoint.ports),
        (&Address::parse("192.0.2.2").unwrap(), &ports(&[("tcp-dubbo", 32700)]))
    );
    assert_eq!(endpoint.weight, Weight::new(0.5).unwrap());
    let labels = [
        ("application", "greet-app"),
        ("dubbo.tag", "gray"),
        ("group", "gray"),
        ("release", "3.3.6"),
        ("version", "1.0.0"),
    ];
    assert_eq!(endpoint.labels, labels.into_iter().collect());
    assert_eq!(gray.annotations.get(assemble::METHODS), Some("greet"));
    assert_eq!(named(&services, "demo.GreetService").endpoints[0].weight, Weight::new(1.5).unwrap());
}

#[test]
fn by_application_every_interface_is_one_service_with_every_protocol() {
    let tree = tree(&[
        provider("a.A", "dubbo://10.0.0.1:20880/a.A?application=app&version=1.0&dubbo.tag=x"),
        provider("a.A", "tri://10.0.0.1:50051/a.A?application=app&version=1.0"),
        provider("a.B", "dubbo://10.0.0.1:20880/a.B?application=app&version=2.0&weight=200"),
        provider("a.B", "dubbo://10.0.0.2:20880/a.B?application=app&version=2.0"),
        provider("a.B", "dubbo://10.0.0.2:20881/a.B?application=other"),
    ]);
    let services = all(&mut layout(By::Application), &tree);
    assert_eq!(services.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["app", "other"]);
    let app = &services[0];
    assert_eq!(
        app.variables,
        [("application", "app"), ("domain", "dubbo"), ("name", "app")].into_iter().collect()
    );
    assert_eq!(app.endpoints.len(), 2);
    assert_eq!(app.endpoints[0].ports, ports(&[("grpc-tri", 50051), ("tcp-dubbo", 20880)]));
    assert_eq!(app.endpoints[0].weight, Weight::new(2.0).unwrap(), "the heaviest");
    assert_eq!(app.endpoints[0].labels, [("application", "app")].into_iter().collect(), "what all say");
    assert_eq!(all(&mut layout(By::Both), &tree).len(), 5);
}

#[test]
fn two_instances_on_one_machine_have_their_own_ports() {
    let tree = tree(&[
        provider("a.A", "dubbo://10.0.0.1:1/a.A?application=app"),
        provider("a.A", "dubbo://10.0.0.1:2/a.A?application=app"),
        provider("a.A", "tri://10.0.0.1:3/a.A?application=app"),
        provider("a.A", "tri://10.0.0.1:4/a.A?application=app"),
    ]);
    let services = all(&mut layout(By::Application), &tree);
    let found: Vec<&EndpointPorts> = services[0].endpoints.iter().map(|e| &e.ports).collect();
    assert_eq!(
        found,
        [&ports(&[("grpc-tri", 3), ("tcp-dubbo", 1)]), &ports(&[("grpc-tri", 4), ("tcp-dubbo", 2)])]
    );
}

#[test]
fn a_change_of_a_provider_touches_its_interface_and_its_application() {
    let mut layout = layout(By::Both);
    let path = |port: u16| provider("a.A", &format!("dubbo://10.0.0.1:{port}/a.A?application=app"));
    let mut tree = tree(&[path(1), provider("a.B", "dubbo://10.0.0.1:9/a.B?application=b")]);
    layout.restart(&tree);
    layout.settle(&tree);
    tree.put(&path(2));
    layout.note(&path(2));
    let units: Vec<(Arc<str>, usize)> =
        layout.settle(&tree).iter().map(|u| (Arc::clone(&u.name), u.services.len())).collect();
    assert_eq!(units, [("interface a.A".into(), 1), ("application app".into(), 1)]);
    for port in [1, 2] {
        tree.remove(&path(port));
        layout.note(&path(port));
    }
    let units: Vec<usize> = layout.settle(&tree).iter().map(|u| u.services.len()).collect();
    assert_eq!(units, [0, 0], "both are gone with the last provider");
    assert!(layout.settle(&tree).is_empty(), "nothing more");
}

#[test]
fn a_provider_that_is_disabled_is_left_out_until_all_of_its_interfaces_are() {
    let on = provider("a.A", "dubbo://10.0.0.1:1/a.A?application=app");
    let off = provider("a.B", "dubbo://10.0.0.1:1/a.B?application=app&disabled=true");
    let services = all(&mut layout(By::Both), &tree(&[on, off.clone()]));
    assert_eq!(named(&services, "app").endpoints.len(), 1);
    let b = named(&services, "a.B");
    assert_eq!((b.endpoints.len(), &*b.left_out.by_reason()[0].reason), (0, "disabled"));
    let services = all(&mut layout(By::Application), &tree(&[off]));
    assert_eq!((services[0].endpoints.len(), services[0].left_out.count()), (0, 1));
}

#[test]
fn rules_apply_in_their_order_and_those_that_do_not_are_named() {
    let mut tree = tree(&[
        provider("a.A", "dubbo://10.0.0.1:1/a.A?application=app&group=g&version=1.0"),
        provider("a.A", "dubbo://10.0.0.2:1/a.A?application=app&group=g&version=1.0"),
        format!(
            "/dubbo/a.A/configurators/{}",
            url::encode("override://0.0.0.0/a.A?group=g&version=1.0&weight=1")
        ),
        format!("/dubbo/a.A/routers/{}", url::encode("condition://0.0.0.0/a.A?rule=x")),
        "/dubbo/config/dubbo/app.tag-router".into(),
        "/dubbo/config/dubbo/a.A:1.0:g.condition-router".into(),
    ]);
    let weights = |services: &[Service], name: &str| -> Vec<u32> {
        named(services, name).endpoints.iter().map(|e| e.weight.thousandths()).collect()
    };
    let services = all(&mut layout(By::Both), &tree);
    assert_eq!(weights(&services, "g/a.A:1.0"), [10, 10]);
    let words = named(&services, "g/a.A:1.0").annotations.get(assemble::NOT_APPLIED).unwrap();
    assert!(
        words.contains("condition://0.0.0.0/a.A (routing") && words.contains("a.A:1.0:g.condition-router"),
        "{words}"
    );
    let words = named(&services, "app").annotations.get(assemble::NOT_APPLIED).unwrap();
    assert!(words.contains("app.tag-router"), "{words}");

    // The application's rule goes over what stands in the registry, the service's own over both.
    let mut layout = layout(By::Both);
    layout.restart(&tree);
    layout.settle(&tree);
    let app = "/dubbo/config/dubbo/app.configurators";
    tree.put_data(app, b"configs: [{addresses: [0.0.0.0], parameters: {weight: 2}}]");
    layout.note(app);
    let services: Vec<Service> = layout.settle(&tree).into_iter().flat_map(|u| u.services).collect();
    assert_eq!(weights(&services, "g/a.A:1.0"), [20, 20]);
    assert_eq!(weights(&services, "app"), [20, 20]);
    let own = "/dubbo/config/dubbo/a.A:1.0:g.configurators";
    tree.put_data(own, b"configs: [{addresses: ['10.0.0.2:1'], side: provider, parameters: {weight: 3}}]");
    layout.note(own);
    let services: Vec<Service> = layout.settle(&tree).into_iter().flat_map(|u| u.services).collect();
    assert_eq!(weights(&services, "g/a.A:1.0"), [20, 30]);
    assert_eq!(weights(&services, "app"), [20, 30]);
    for gone in [app, own] {
        tree.remove(gone);
        layout.note(gone);
    }
    let services: Vec<Service> = layout.settle(&tree).into_iter().flat_map(|u| u.services).collect();
    assert_eq!(weights(&services, "app"), [10, 10]);
}

#[test]
fn what_makes_no_sense_is_named_and_its_neighbours_stay() {
    let tree = tree(&[
        provider("a.A", "dubbo://10.0.0.1:1/a.A?application=app"),
        provider("a.A", "dubbo://10.0.0.2:99999/a.A?application=app"),
        provider("a.A", "dubbo://10.0.0.3:1/a.A"),
        "/dubbo/a.A/providers/rubbish".into(),
    ]);
    let mut layout = layout(By::Application);
    layout.restart(&tree);
    let units = layout.settle(&tree);
    let faults: Vec<&str> = units.iter().flat_map(|u| &u.faults).map(String::as_str).collect();
    assert_eq!(
        faults,
        [
            "/dubbo/a.A: dubbo://10.0.0.2:99999/a.A: its port is none (1 to 65535)",
            "/dubbo/a.A: dubbo://10.0.0.3:1/a.A: it names no application",
            "/dubbo/a.A: rubbish: its name is no URL",
        ]
    );
    let services: Vec<&Service> = units.iter().flat_map(|u| &u.services).collect();
    assert_eq!((services.len(), services[0].endpoints.len()), (1, 1));
}

#[test]
fn only_providers_and_rules_are_read() {
    let layout = layout(By::Application);
    for (path, want) in [
        ("/dubbo", Wants::Children),
        ("/dubbo/a.A", Wants::Children),
        ("/dubbo/a.A/providers", Wants::Children),
        ("/dubbo/a.A/providers/u", Wants::Name),
        ("/dubbo/a.A/providers/u/x", Wants::Nothing),
        ("/dubbo/a.A/consumers", Wants::Nothing),
        ("/dubbo/metadata", Wants::Nothing),
        ("/dubbo/metadata/a.A", Wants::Nothing),
        ("/dubbo/config", Wants::Children),
        ("/dubbo/config/dubbo", Wants::Children),
        ("/dubbo/config/dubbo/app.configurators", Wants::Data),
        ("/dubbo/config/dubbo/app.tag-router", Wants::Name),
        ("/dubbo/config/dubbo/other", Wants::Nothing),
        ("/dubbo/config/mapping", Wants::Nothing),
        ("/dubbox/a.A", Wants::Nothing),
    ] {
        assert_eq!(layout.wants(path), want, "{path}");
    }
    assert_eq!(layout.roots().len(), 3);
}

#[test]
fn an_application_below_the_same_root_is_no_interface() {
    let mut tree = tree(&[provider("a.A", "dubbo://10.0.0.1:1/a.A?application=app")]);
    tree.put_data("/dubbo/greet-app", b"127.0.0.1");
    assert_eq!(all(&mut layout(By::Both), &tree).len(), 2);
}
