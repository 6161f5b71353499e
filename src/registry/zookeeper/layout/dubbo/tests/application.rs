//! Applications that register themselves, beside interfaces or instead of them.

use serde_json::json;

use super::super::metadata::Metadata;
use super::*;
use crate::registry::zookeeper::layout::question::{Key, Manner};

/// The JSON of an instance at `address` with these protocols and this revision.
fn instance(address: &str, endpoints: &[(&str, u16)], revision: &str) -> String {
    let endpoints: Vec<_> =
        endpoints.iter().map(|(protocol, port)| json!({"port": port, "protocol": protocol})).collect();
    let service = json!({"version": "1.0.0", "port": "20880", "protocol": "dubbo"});
    json!({"address": address, "port": 1, "payload": {
        "@class": "org.apache.dubbo.registry.zookeeper.ZookeeperInstance",
        "metadata": {
            "dubbo.endpoints": json!(endpoints).to_string(),
            "dubbo.metadata-service.url-params": service.to_string(),
            "dubbo.metadata.revision": revision,
            "dubbo.metadata.storage-type": "local",
        },
    }})
    .to_string()
}

fn key(application: &str, revision: &str) -> Key {
    Key { application: application.into(), revision: revision.into() }
}

/// What a revision provides: interface, protocol, and the rest of what is said of it.
fn found(application: &str, revision: &str, offered: &[(&str, &str, serde_json::Value)]) -> Finding {
    let services: serde_json::Map<String, serde_json::Value> = offered
        .iter()
        .enumerate()
        .map(|(at, (name, protocol, more))| {
            let mut service = json!({"name": name, "protocol": protocol});
            service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            (at.to_string(), service)
        })
        .collect();
    let metadata = Metadata::from_json(json!({ "services": services }).to_string().as_bytes()).unwrap();
    Finding { key: key(application, revision), outcome: Ok(Arc::new(metadata)) }
}

fn failed(application: &str, revision: &str) -> Finding {
    Finding { key: key(application, revision), outcome: Err("nobody answers".into()) }
}

/// A layout and its tree, and what it has said.
struct World {
    layout: Dubbo,
    tree: Tree,
    said: BTreeMap<Arc<str>, Unit>,
}

impl World {
    fn new(by: By) -> Self {
        Self { layout: layout(by), tree: Tree::default(), said: BTreeMap::new() }
    }

    fn put(&mut self, path: &str, data: &str) {
        self.tree.put_data(path, data.as_bytes());
        self.layout.note(path);
    }

    fn remove(&mut self, path: &str) {
        for gone in self.tree.remove(path) {
            self.layout.note(&gone);
        }
    }

    fn settle(&mut self) -> &mut Self {
        for unit in self.layout.settle(&self.tree) {
            self.said.insert(Arc::clone(&unit.name), unit);
        }
        self
    }

    fn learn(&mut self, finding: &Finding) {
        self.layout.learn(finding);
        self.settle();
    }

    fn services(&self) -> Vec<&Service> {
        self.said.values().flat_map(|u| &u.services).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.services().iter().map(|s| &*s.name).collect()
    }

    #[track_caller]
    fn service(&self, name: &str) -> &Service {
        self.services()
            .into_iter()
            .find(|s| &*s.name == name)
            .unwrap_or_else(|| panic!("{name}: {:?}", self.names()))
    }

    /// The endpoints of a service, as `address [ports] weight`.
    fn endpoints(&self, name: &str) -> Vec<String> {
        let words = |e: &crate::model::endpoint::Endpoint| {
            let EndpointPorts::Named(ports) = &e.ports else { panic!("{e:?}") };
            let ports: Vec<String> = ports.iter().map(|(name, port)| format!("{name}:{port}")).collect();
            format!("{} {} {}", e.address, ports.join(","), e.weight.thousandths())
        };
        self.service(name).endpoints.iter().map(words).collect()
    }

    fn faults(&self) -> Vec<&str> {
        self.said.values().flat_map(|u| &u.faults).map(String::as_str).collect()
    }
}

const ONE: &str = "/services/app/10.0.0.1:20880";
const TWO: &str = "/services/app/10.0.0.2:20880";

#[test]
fn an_application_that_registers_itself_is_a_service_with_all_its_protocols() {
    let mut world = World::new(By::Application);
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880), ("tri", 50051)], "r1"));
    world.put("/services/other/1", r#"{"address":"10.0.0.9","port":80,"payload":null}"#);
    world.settle();
    assert_eq!(world.names(), ["app"], "the other one is Curator's");
    assert_eq!(&*world.service("app").key.name, "/dubbo#app");
    assert_eq!(world.endpoints("app"), ["10.0.0.1 grpc-tri:50051,tcp-dubbo:20880 1000"]);
    world.put(TWO, &instance("10.0.0.2", &[("dubbo", 20880)], "r1"));
    world.settle();
    assert_eq!(world.service("app").endpoints.len(), 2);
    world.remove("/services/app");
    world.settle();
    assert!(world.names().is_empty());
}

#[test]
fn what_a_revision_says_of_itself_is_asked_once_and_gives_weights_and_tags() {
    let mut world = World::new(By::Application);
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
    world.put(TWO, &instance("10.0.0.2", &[("dubbo", 20880)], "r1"));
    world.settle();
    let questions = world.layout.questions();
    let [question] = questions.as_slice() else { panic!("{questions:?}") };
    assert_eq!((&question.key, &*question.report), (&key("app", "r1"), "/dubbo/metadata/app/r1"));
    let asked: Vec<String> = question.targets.iter().map(|t| t.address.to_string()).collect();
    assert_eq!(asked, ["10.0.0.1", "10.0.0.2"]);
    assert_eq!((question.targets[0].port, question.targets[0].manner), (20880, Manner::Dubbo));
    assert_eq!(world.endpoints("app")[0], "10.0.0.1 tcp-dubbo:20880 1000", "and it is there meanwhile");

    world.learn(&failed("app", "r1"));
    assert_eq!(
        world.faults(),
        ["app: revision r1: its weights, tags and versions are not known: nobody answers"]
    );
    assert_eq!(world.layout.questions().len(), 1, "it goes on being asked");
    let more = json!({"port": 20880, "version": "1.0", "params": {"weight": "50", "dubbo.tag": "gray", "timestamp": "1"}});
    world.learn(&found("app", "r1", &[("a.A", "dubbo", more)]));
    assert!(world.layout.questions().is_empty() && world.faults().is_empty());
    assert_eq!(world.endpoints("app"), ["10.0.0.1 tcp-dubbo:20880 500", "10.0.0.2 tcp-dubbo:20880 500"]);
    let labels = [("application", "app"), ("dubbo.tag", "gray"), ("version", "1.0")];
    assert_eq!(world.service("app").endpoints[0].labels, labels.into_iter().collect());

    world.put("/services/app/10.0.0.3:20880", &instance("10.0.0.3", &[("dubbo", 20880)], "r1"));
    world.settle();
    assert!(world.layout.questions().is_empty(), "it is known");
    assert_eq!(world.endpoints("app")[2], "10.0.0.3 tcp-dubbo:20880 500");
    for path in [ONE, TWO, "/services/app/10.0.0.3:20880"] {
        world.remove(path);
    }
    world.settle();
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
    world.settle();
    assert!(world.layout.questions().is_empty(), "it is remembered");
}

#[test]
fn what_is_registered_at_both_levels_is_there_once_and_stays_while_either_goes() {
    let url = |host: &str| {
        provider("a.A", &format!("dubbo://{host}:20880/a.A?application=app&weight=50&dubbo.tag=gray"))
    };
    let told = json!({"port": 20880, "params": {"weight": "50", "dubbo.tag": "gray"}});
    for by in [By::Application, By::Interface, By::Both] {
        let mut world = World::new(by);
        // Interface level only, then all, then application level only, and back.
        world.put(&url("10.0.0.1"), "");
        world.settle();
        let before: Vec<Service> = world.services().into_iter().cloned().collect();
        assert_eq!(before.len(), if by == By::Both { 2 } else { 1 });
        let same = |world: &World, when: &str| {
            let now: Vec<Service> = world.services().into_iter().cloned().collect();
            assert_eq!(now, before, "{by:?}: {when}");
        };
        world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
        world.settle();
        same(&world, "both levels");
        let asked = world.layout.questions().len();
        assert_eq!(
            asked,
            usize::from(by != By::Application),
            "{by:?}: the URL says all that one application needs"
        );
        world.learn(&found("app", "r1", &[("a.A", "dubbo", told.clone())]));
        same(&world, "both levels and its metadata");
        world.remove(&url("10.0.0.1"));
        world.settle();
        same(&world, "application level");
        world.put(&url("10.0.0.1"), "");
        world.remove(ONE);
        world.settle();
        same(&world, "interface level again");
    }
}

#[test]
fn without_metadata_an_application_keeps_its_endpoints_when_its_interfaces_go() {
    let mut world = World::new(By::Application);
    let url = provider("a.A", "dubbo://10.0.0.1:20880/a.A?application=app&weight=50");
    world.put(&url, "");
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880), ("tri", 50051)], "r1"));
    world.settle();
    assert_eq!(world.endpoints("app"), ["10.0.0.1 grpc-tri:50051,tcp-dubbo:20880 500"], "each port once");
    world.remove(&url);
    world.settle();
    assert_eq!(world.endpoints("app"), ["10.0.0.1 grpc-tri:50051,tcp-dubbo:20880 1000"]);
}

#[test]
fn by_interface_a_revision_is_its_interfaces_in_each_group_version_and_protocol() {
    let mut world = World::new(By::Interface);
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880), ("tri", 50051)], "r1"));
    world.put(TWO, &instance("10.0.0.2", &[("dubbo", 20881)], "r2"));
    world.settle();
    assert!(world.names().is_empty(), "nobody knows yet");
    let v = |port: u16, version: &str| json!({"port": port, "group": "g", "version": version});
    world.learn(&found(
        "app",
        "r1",
        &[
            ("a.A", "dubbo", v(20880, "1.0")),
            ("a.A", "tri", v(50051, "1.0")),
            ("a.B", "tri", json!({"port": 50051})),
        ],
    ));
    assert_eq!(world.names(), ["g/a.A:1.0", "a.B"]);
    assert_eq!(world.endpoints("g/a.A:1.0"), ["10.0.0.1 grpc-tri:50051,tcp-dubbo:20880 1000"]);
    world.learn(&found("app", "r2", &[("a.A", "dubbo", v(9, "1.0")), ("a.A", "dubbo", v(20881, "2.0"))]));
    assert_eq!(world.names(), ["g/a.A:1.0", "g/a.A:2.0", "a.B"]);
    let ports = "10.0.0.2 tcp-dubbo:20881 1000";
    assert_eq!(world.endpoints("g/a.A:1.0")[1], ports, "the instance knows its port better");
    assert_eq!(world.endpoints("g/a.A:2.0"), [ports]);
    world.remove(ONE);
    world.settle();
    assert_eq!(world.names(), ["g/a.A:1.0", "g/a.A:2.0"]);
}

#[test]
fn an_instance_that_says_another_revision_provides_what_it_did_until_somebody_tells() {
    let mut world = World::new(By::Interface);
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
    world.settle();
    world.learn(&found("app", "r1", &[("a.A", "dubbo", json!({}))]));
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r2"));
    world.settle();
    assert_eq!((world.names(), world.layout.questions().len()), (vec!["a.A"], 1));
    world.learn(&failed("app", "r2"));
    assert_eq!(world.names(), ["a.A"]);
    world.layout.learn(&found("app", "r1", &[("a.X", "dubbo", json!({}))]));
    world.settle();
    assert_eq!(world.names(), ["a.A"], "nobody says that revision any more");
    world.learn(&found("app", "r2", &[("a.A", "dubbo", json!({})), ("a.B", "dubbo", json!({}))]));
    assert_eq!(world.names(), ["a.A", "a.B"]);
}

#[test]
fn what_was_learnt_outlives_a_read_of_everything() {
    let mut world = World::new(By::Interface);
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
    world.settle();
    world.learn(&found("app", "r1", &[("a.A", "dubbo", json!({}))]));
    world.said.clear();
    world.layout.restart(&world.tree);
    world.settle();
    assert_eq!(world.names(), ["a.A"]);
    let empty = Tree::default();
    world.layout.restart(&empty);
    let units = world.layout.settle(&empty);
    assert!(units.iter().all(|u| u.services.is_empty()));
}

#[test]
fn where_nobody_tells_the_mapping_does() {
    let mut world = World::new(By::Interface);
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
    let told = provider("a.B", "dubbo://10.0.0.2:20880/a.B?application=app");
    world.put(&told, "");
    world.put(TWO, &instance("10.0.0.2", &[("dubbo", 20880)], "r1"));
    world.put("/dubbo/mapping/a.A", "other, app");
    world.put("/dubbo/config/mapping/a.C/app", "1795267257293");
    world.settle();
    assert_eq!(world.names(), ["a.B"], "somebody may tell yet");
    world.learn(&failed("app", "r1"));
    assert_eq!(world.names(), ["a.A", "a.B", "a.C"]);
    assert_eq!(world.endpoints("a.A"), ["10.0.0.1 tcp-dubbo:20880 1000"], "the other one has told");
    let words = "app: revision r1: its interfaces are not known: nobody answers";
    assert_eq!(world.faults(), [words]);
    world.put("/dubbo/mapping/a.A", "other");
    world.remove("/dubbo/config/mapping/a.C/app");
    world.settle();
    assert_eq!(world.names(), ["a.B"]);
    world.put("/dubbo/mapping/a.A", "app");
    world.settle();
    world.learn(&found("app", "r1", &[("a.D", "dubbo", json!({}))]));
    assert_eq!(world.names(), ["a.B", "a.D"], "what is told goes over what is guessed");
}

#[test]
fn an_instance_without_a_revision_is_left_to_the_mapping() {
    let mut world = World::new(By::Both);
    let old = instance("10.0.0.1", &[("dubbo", 20880)], "").replace("dubbo.metadata.revision", "x");
    world.put(ONE, &old);
    world.put("/dubbo/config/mapping/a.A/app", "");
    world.settle();
    assert_eq!((world.names(), world.layout.questions().len()), (vec!["app", "a.A"], 0));
}

#[test]
fn an_applications_rules_hold_at_its_own_level_and_its_routers_are_named() {
    let rule = "/dubbo/config/dubbo/app.configurators";
    for known in [false, true] {
        let mut world = World::new(By::Both);
        world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
        world.put("/dubbo/config/dubbo/app.tag-router", "");
        world.put("/dubbo/config/dubbo/app.condition-router", "");
        world.settle();
        if known {
            world.learn(&found("app", "r1", &[("a.A", "dubbo", json!({"params": {"weight": "50"}}))]));
        }
        world.put(
            rule,
            "configs: [{addresses: ['10.0.0.1:20880'], side: provider, parameters: {weight: 300}}]",
        );
        world.settle();
        assert_eq!(world.endpoints("app"), ["10.0.0.1 tcp-dubbo:20880 3000"]);
        let words = world.service("app").annotations.get(assemble::NOT_APPLIED).unwrap();
        assert!(words.contains("app.tag-router") && words.contains("app.condition-router"), "{words}");
        if known {
            assert_eq!(world.endpoints("a.A"), ["10.0.0.1 tcp-dubbo:20880 3000"]);
            let own = "/dubbo/config/dubbo/a.A.configurators";
            world.put(own, "configs: [{addresses: [0.0.0.0], parameters: {disabled: true}}]");
            world.settle();
            assert_eq!(world.service("a.A").left_out.by_reason()[0].reason, "disabled".into());
        }
        world.put(rule, "configs: [{addresses: [0.0.0.0], parameters: {disabled: true}}]");
        world.settle();
        assert_eq!((world.endpoints("app").len(), world.service("app").left_out.count()), (0, 1));
        world.remove(rule);
        world.settle();
        assert_eq!(world.endpoints("app").len(), usize::from(!known));
    }
}

#[test]
fn an_instance_that_makes_no_sense_is_named_and_its_neighbours_stay() {
    let mut world = World::new(By::Application);
    world.put(ONE, &instance("10.0.0.1", &[("dubbo", 20880)], "r1"));
    world.put("/services/app/10.0.0.2:0", &instance("10.0.0.2", &[("dubbo", 0)], "r1"));
    world.put("/services/app/10.0.0.3:1", "{");
    world.put("/services/app/10.0.0.4:1", &instance("10.0.0.4", &[("dubbo", 1), ("tri", 0)], "r1"));
    world.put("/services/app/10.0.0.5:1", &instance("10.0.0.5", &[("dubbo", 1)], "0"));
    world.put("/services/app/10.0.0.6:1", &" ".repeat(1 << 20));
    world.put("/services/alone/10.0.0.7:1", "{");
    world.put("/services/spring/e479f40a", "{");
    world.settle();
    let app = world.service("app");
    let addresses: Vec<String> = app.endpoints.iter().map(|e| e.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1", "10.0.0.4"]);
    let reasons: Vec<(&str, &str)> =
        app.left_out.by_reason().iter().map(|r| (&*r.first[0], &*r.reason)).collect();
    assert_eq!(
        reasons,
        [
            ("10.0.0.6:1", "its data is larger than 256 KiB"),
            ("10.0.0.3:1", "its data is no JSON object"),
            ("10.0.0.5:1", "its revision is 0: it provides nothing"),
            ("10.0.0.2:0", "no port that is one (1 to 65535)"),
            ("10.0.0.4:1", "one of its ports is none (1 to 65535)"),
        ]
    );
    assert_eq!(world.faults(), ["alone: 10.0.0.7:1: its data is no JSON object"]);
}

#[test]
fn below_the_root_of_a_group_applications_stand_beside_interfaces() {
    let mut world = World::new(By::Both);
    let settings = DubboSettings {
        root: "/myroot".into(),
        services_root: "/myroot".into(),
        ..DubboSettings::usual(By::Both)
    };
    world.layout = Dubbo::new(settings, Scope::new("test"));
    assert_eq!(world.layout.roots(), ["/dubbo/config".into(), "/myroot".into()]);
    let url = url::encode("tri://10.0.0.1:50051/a.A?application=app");
    world.put(&format!("/myroot/a.A/providers/{url}"), "");
    world.put("/myroot/app/10.0.0.1:50051", &instance("10.0.0.1", &[("tri", 50051)], "r1"));
    world.put("/myroot/metadata/app/r1", "{}");
    world.settle();
    assert_eq!(world.names(), ["app", "a.A"]);
    assert_eq!(&*world.layout.questions()[0].report, "/myroot/metadata/app/r1");
    world.said.clear();
    world.layout.restart(&world.tree);
    world.settle();
    assert_eq!(world.names(), ["app", "a.A"]);
}

#[test]
fn only_instances_and_where_it_counts_mappings_are_read() {
    for (path, by_application, by_interface) in [
        ("/services", Wants::Children, Wants::Children),
        ("/services/app", Wants::Children, Wants::Children),
        ("/services/app/10.0.0.1:1", Wants::Data, Wants::Data),
        ("/services/app/a/b", Wants::Nothing, Wants::Nothing),
        ("/dubbo/app/10.0.0.1:1", Wants::Data, Wants::Data),
        ("/dubbo/mapping", Wants::Nothing, Wants::Children),
        ("/dubbo/mapping/a.A", Wants::Nothing, Wants::Data),
        ("/dubbo/config/mapping/a.A", Wants::Nothing, Wants::Children),
        ("/dubbo/config/mapping/a.A/app", Wants::Nothing, Wants::Name),
        ("/dubbo/config/mapping/a.A/app/x", Wants::Nothing, Wants::Nothing),
        ("/dubbo/metadata/app/r1", Wants::Nothing, Wants::Nothing),
    ] {
        assert_eq!(layout(By::Application).wants(path), by_application, "{path}");
        assert_eq!(layout(By::Interface).wants(path), by_interface, "{path}");
    }
}
