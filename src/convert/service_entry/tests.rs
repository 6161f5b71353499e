use super::*;
use crate::convert::fixtures::{endpoint, mapping, named, port, service};
use crate::convert::mapping::{EndpointRule, ServicePorts};
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::service::Protocol;
use crate::proto::networking::WorkloadEntry;

/// A service, its mapping and everything else that a conversion takes.
struct Scene {
    service: Service,
    mapping: Mapping,
    select: Select,
    host: &'static str,
    addresses: Vec<IpAddr>,
    memory: Memory,
    now: u64,
    release: Release,
}

impl Scene {
    fn of(endpoints: Vec<Endpoint>) -> Self {
        Self {
            service: Service { endpoints, ..service("web") },
            mapping: mapping(),
            select: Select::default(),
            host: "web.test",
            addresses: vec!["244.0.0.9".parse().unwrap()],
            memory: Memory::default(),
            now: 0,
            release: Release::new(1, 9),
        }
    }

    fn convert(&mut self) -> Result<Converted, ConvertError> {
        let registry = RegistryName::new("prod");
        let cx = Context {
            registry: &registry,
            mapping: &self.mapping,
            select: &self.select,
            says: &self.service.says,
            addresses: &self.addresses,
            now: Moment::after_start(Duration::from_secs(self.now)),
            empty_service_ttl: Duration::from_secs(600),
            release: self.release,
        };
        convert(&self.service, &Host::parse(self.host).unwrap(), &cx, &mut self.memory)
    }

    fn made(&mut self) -> (Converted, ServiceEntry) {
        let made = self.convert().unwrap();
        let entry = ServiceEntry::decode(&*made.resource.body).unwrap();
        (made, entry)
    }

    fn entry(&mut self) -> ServiceEntry {
        self.made().1
    }

    fn topology(&mut self) -> TopologyHash {
        self.convert().unwrap().resource.topology
    }

    fn refusal(&mut self) -> &'static str {
        match self.convert() {
            Err(ConvertError::Refused(v)) => v[0].rule,
            other => panic!("{other:?}"),
        }
    }
}

fn two() -> Vec<Endpoint> {
    vec![endpoint("10.0.0.2", 8080), endpoint("10.0.0.1", 8080)]
}

fn addresses(entry: &ServiceEntry) -> Vec<&str> {
    entry.endpoints.iter().map(|e| e.address.as_str()).collect()
}

fn weights(entry: &ServiceEntry) -> Vec<u32> {
    entry.endpoints.iter().map(|e| e.weight).collect()
}

fn tls(e: &WorkloadEntry) -> Option<&str> {
    e.labels.get("security.istio.io/tlsMode").map(String::as_str)
}

fn saying(address: &str, labels: &[(&str, &str)]) -> Endpoint {
    Endpoint { labels: labels.iter().copied().collect(), ..endpoint(address, 8080) }
}

#[test]
fn an_instance_says_its_weight_and_that_it_stays_out() {
    let mut scene = Scene::of(vec![
        saying("10.0.0.1", &[("chandler-weight", "3"), ("version", "v2")]),
        saying("10.0.0.2", &[("chandler-weight", "heavy")]),
        saying("10.0.0.3", &[("chandler-weight", "0")]),
        saying("10.0.0.4", &[("chandler-skip", "true")]),
    ]);
    let (made, entry) = scene.made();
    assert_eq!(addresses(&entry), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(entry.endpoints.iter().map(|e| e.weight).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(entry.endpoints[0].labels.keys().collect::<Vec<_>>(), ["version"]);
    let notes = made.notes.join("; ");
    assert!(notes.contains("10.0.0.4") && notes.contains("chandler-skip"), "{notes}");
    scene.mapping.self_service.may.clear();
    assert_eq!(scene.entry().endpoints.len(), 4);
}

#[test]
fn a_port_for_grpc_is_a_port_of_its_own_and_moves_no_other() {
    let mut scene = Scene::of(vec![saying("10.0.0.1", &[]), saying("10.0.0.2", &[])]);
    scene.mapping.protocol = Protocol::Http;
    scene.mapping.self_service.conventions.grpc_port = &["gRPC_port"];
    let ports = |entry: &ServiceEntry| {
        let shown = entry.ports.iter().map(|p| format!("{} {} {}", p.number, p.name, p.protocol));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(ports(&scene.entry()), ["8080 http-8080 HTTP"]);
    scene.service.endpoints = vec![saying("10.0.0.1", &[("gRPC_port", "9090")]), saying("10.0.0.2", &[])];
    let entry = scene.entry();
    assert_eq!(ports(&entry), ["8080 http-8080 HTTP", "9090 grpc-9090 GRPC"]);
    assert!(entry.endpoints.iter().all(|e| e.ports.is_empty()), "everyone serves them where they are");
}

#[test]
fn ports_that_an_owner_names_are_the_services_and_lead_to_the_instances_own() {
    let mut scene = Scene::of(two());
    scene.service.says.service_ports = Some([80, 443].into());
    let entry = scene.entry();
    assert_eq!(entry.ports.iter().map(|p| p.number).collect::<Vec<_>>(), [80, 443]);
    assert!(entry.endpoints.iter().all(|e| e.ports.values().all(|p| *p == 8080) && e.ports.len() == 2));
}

#[test]
fn metadata_say_where_an_instance_is_only_where_nothing_else_does() {
    let mut known = saying("10.0.0.1", &[("zone", "z1")]);
    known.locality = Some("eu/a".into());
    let mut scene = Scene::of(vec![known, saying("10.0.0.2", &[("zone", "z1"), ("region", "us")])]);
    (scene.mapping.self_service.conventions.zone, scene.mapping.self_service.conventions.region) =
        (&["zone"], &["region"]);
    let places: Vec<String> = scene.entry().endpoints.into_iter().map(|e| e.locality).collect();
    assert_eq!(places, ["eu/a", "us/z1"]);
}

fn unix(path: &str) -> Endpoint {
    Endpoint::at(Address::parse(path).unwrap(), EndpointPorts::AsService)
}

#[test]
fn a_service_becomes_one_entry_for_one_host() {
    let mut s = Scene::of(two());
    s.service.labels = [("Team!", "pay ments")].into_iter().collect();
    s.service.annotations = [("example/x", "kept"), ("chandler/service", "forged")].into_iter().collect();
    s.service.says.subject_alt_names = vec!["b".into(), "a".into(), "b".into()];
    s.service.says.export_to = Some(vec!["z".into(), "a".into(), "z".into()]);
    let (made, entry) = s.made();
    assert_eq!(made.resource.id.name.as_str(), "chandler/web.test");
    assert_eq!(made.resource.id.collection, Collection::ServiceEntry);
    assert_eq!(made.resource.labels, [("Team", "pay-ments")].into_iter().collect());
    let annotations = [("chandler/registry", "prod"), ("chandler/service", "web"), ("example/x", "kept")];
    assert_eq!(made.resource.annotations, annotations.into_iter().collect());
    assert_eq!(
        (entry.hosts.as_slice(), addresses(&entry)),
        (&["web.test".to_owned()][..], vec!["10.0.0.1", "10.0.0.2"])
    );
    assert_eq!(entry.addresses, ["244.0.0.9"]);
    assert_eq!((entry.export_to.join(","), entry.subject_alt_names.join(",")), ("a,z".into(), "a,b".into()));
    assert_eq!((entry.ports[0].number, entry.ports[0].name.as_str()), (8080, "auto-8080"));
    assert_eq!((entry.resolution(), entry.location()), (Resolution::Static, WireLocation::MeshExternal));
    assert!(made.notes.is_empty(), "{:?}", made.notes);
}

#[test]
fn the_mappings_export_to_holds_where_the_service_says_nothing() {
    let mut s = Scene::of(two());
    s.mapping.export_to = vec![".".into()];
    assert_eq!(s.entry().export_to, ["."]);
    s.service.says.export_to = Some(Vec::new());
    assert_eq!(s.entry().export_to, [""; 0]);
}

#[test]
fn resolution_follows_the_addresses() {
    let mut s = Scene::of(two());
    s.service.ports = vec![port(80, Protocol::Http)];
    assert_eq!(s.entry().resolution(), Resolution::Static);
    s.service.endpoints.push(endpoint("db.example", 8080));
    assert_eq!(s.entry().resolution(), Resolution::Dns);
    s.service.endpoints.clear();
    assert_eq!((s.entry().resolution(), s.entry().endpoints), (Resolution::Static, vec![]));
    s.host = "*.web.test";
    s.memory = Memory::default();
    assert_eq!((s.entry().resolution(), s.entry().addresses), (Resolution::None, vec![]));
    s.service.endpoints = two();
    assert_eq!((s.entry().resolution(), s.entry().addresses), (Resolution::Static, vec![]));
}

#[test]
fn identical_endpoints_stand_once() {
    let mut twin = endpoint("10.0.0.1", 8080);
    twin.id = "twin".into();
    let mut s = Scene::of([two(), vec![twin]].concat());
    let (made, entry) = s.made();
    assert_eq!((addresses(&entry), made.notes.len()), (vec!["10.0.0.1", "10.0.0.2"], 0));
    s.service.endpoints[2].labels = [("version", "2")].into_iter().collect();
    let (made, entry) = s.made();
    assert_eq!((entry.endpoints.len(), entry.endpoints[0].labels.len()), (2, 0));
    assert_eq!(
        made.notes,
        ["1 endpoint left out (10.0.0.1): another endpoint has the same address and port"]
    );
}

#[test]
fn one_address_in_two_networks_is_two_endpoints() {
    let mut s = Scene::of(vec![endpoint("10.0.0.1", 8080), endpoint("10.0.0.1", 8080)]);
    s.service.endpoints[0].network = Some("b".into());
    s.service.endpoints[1].network = Some("a".into());
    let networks: Vec<String> = s.entry().endpoints.into_iter().map(|e| e.network).collect();
    assert_eq!(networks, ["a", "b"]);
}

#[test]
fn a_weight_of_zero_leaves_out() {
    let mut s = Scene::of(two());
    s.service.endpoints[0].weight = Weight::ZERO;
    let (made, entry) = s.made();
    assert_eq!(addresses(&entry), ["10.0.0.1"]);
    assert_eq!(made.notes, ["1 endpoint left out (10.0.0.2): their weight is 0"]);
    s.service.endpoints[1].weight = Weight::ZERO;
    assert_eq!(s.entry().ports[0].number, 8080);
}

#[test]
fn weights_are_integers_and_absent_where_equal() {
    let mut s = Scene::of(two());
    s.service.endpoints[0].weight = Weight::new(0.5).unwrap();
    assert_eq!(weights(&s.entry()), [2, 1]);
    s.service.endpoints[1].weight = Weight::new(0.5).unwrap();
    assert_eq!(weights(&s.entry()), [0, 0]);
}

#[test]
fn mutual_tls_is_only_for_endpoints_that_say_so() {
    let mut s = Scene::of(vec![endpoint("10.0.0.1", 1), endpoint("10.0.0.2", 1), endpoint("10.0.0.3", 1)]);
    s.service.endpoints[0].service_account = Some("sa".into());
    s.service.endpoints[1].tls_mode = Some(TlsMode::Istio);
    let entry = s.entry();
    let modes: Vec<_> = entry.endpoints.iter().map(tls).collect();
    assert_eq!(modes, [Some("istio"), Some("istio"), None]);
    assert_eq!(
        (entry.endpoints[0].service_account.as_str(), entry.location()),
        ("sa", WireLocation::MeshInternal)
    );
}

#[test]
fn an_account_without_mutual_tls_is_called_plainly() {
    let mut s = Scene::of(two());
    s.service.endpoints[0].service_account = Some("sa".into());
    s.service.endpoints[0].tls_mode = Some(TlsMode::None);
    let entry = s.entry();
    assert_eq!((tls(&entry.endpoints[1]), entry.location()), (Some("disabled"), WireLocation::MeshExternal));
}

#[test]
fn the_tls_mode_comes_from_the_endpoint_then_its_network_then_the_service_then_the_mapping() {
    let mut s = Scene::of(vec![endpoint("10.0.0.1", 1)]);
    let mode = |s: &mut Scene| tls(&s.entry().endpoints[0]).map(str::to_owned);
    s.mapping.tls_mode = TlsMode::Istio;
    assert_eq!(mode(&mut s).as_deref(), Some("istio"));
    s.service.says.tls_mode = Some(TlsMode::None);
    assert_eq!(mode(&mut s), None);
    s.mapping.endpoints = vec![rule("10.0.0.0/8", |r| r.tls_mode = Some(TlsMode::Istio))];
    assert_eq!(mode(&mut s).as_deref(), Some("istio"));
    s.service.endpoints[0].tls_mode = Some(TlsMode::None);
    assert_eq!(mode(&mut s), None);
}

fn rule(cidr: &str, change: impl Fn(&mut EndpointRule)) -> EndpointRule {
    let mut rule = EndpointRule {
        cidr: cidr.parse().unwrap(),
        drop: false,
        tls_mode: None,
        network: None,
        service_account: None,
    };
    change(&mut rule);
    rule
}

#[test]
fn the_first_rule_of_a_network_decides() {
    let mut s = Scene::of(vec![endpoint("10.8.0.1", 1), endpoint("10.9.0.1", 1), endpoint("192.0.2.1", 1)]);
    s.service.endpoints[1].network = Some("own".into());
    s.mapping.endpoints = vec![
        rule("192.0.2.0/24", |r| r.drop = true),
        rule("10.8.0.0/16", |r| {
            r.network = Some("vpc2".into());
            r.service_account = Some("sa".into());
        }),
        rule("10.0.0.0/8", |r| r.network = Some("vpc1".into())),
    ];
    let (made, entry) = s.made();
    let shown: Vec<_> =
        entry.endpoints.iter().map(|e| (e.network.as_str(), e.service_account.as_str())).collect();
    assert_eq!(shown, [("vpc2", "sa"), ("own", "")]);
    assert_eq!(tls(&entry.endpoints[0]), Some("istio"));
    assert_eq!(made.notes, ["1 endpoint left out (192.0.2.1): a rule in `map.endpoints` drops them"]);
}

#[test]
fn location_auto_is_internal_once_and_for_all() {
    let mut s = Scene::of(two());
    assert_eq!(s.entry().location(), WireLocation::MeshExternal);
    s.service.endpoints[0].tls_mode = Some(TlsMode::Istio);
    assert_eq!(s.entry().location(), WireLocation::MeshInternal);
    s.service.endpoints[0].tls_mode = None;
    assert_eq!(s.entry().location(), WireLocation::MeshInternal);
    s.service.says.location = Some(Location::MeshExternal);
    assert_eq!(s.entry().location(), WireLocation::MeshExternal);
    s.service.says.location = Some(Location::MeshInternal);
    assert_eq!(s.entry().location(), WireLocation::MeshInternal);
}

#[test]
fn a_locality_has_three_parts_at_most() {
    for (written, made) in [
        ("r/z/s", "r/z/s"),
        ("r", "r"),
        (" r / z ", "r/z"),
        ("r/z/s/more", "r/z/s"),
        ("r//", "r"),
        ("/z", ""),
        ("", ""),
    ] {
        let mut s = Scene::of(two());
        s.service.endpoints[0].locality = Some(written.into());
        assert_eq!(s.entry().endpoints[1].locality, made, "{written}");
    }
}

#[test]
fn addresses_are_what_the_sidecar_listens_on() {
    let mut s = Scene::of([two(), vec![endpoint("10.0.0.1", 9090)]].concat());
    s.mapping.protocol = Protocol::Http;
    s.mapping.addresses = Addresses::Endpoints;
    let entry = s.entry();
    assert_eq!(entry.addresses, ["10.0.0.1", "10.0.0.2"]);
    let ports: Vec<_> = entry.ports.iter().map(|p| (p.name.as_str(), p.protocol.as_str())).collect();
    assert_eq!(ports, [("auto-8080", ""), ("auto-9090", "")]);
    s.service.says.addresses = Some(Addresses::None);
    assert_eq!(s.entry().addresses, [""; 0]);
    s.service.says.addresses = Some(Addresses::Virtual);
    assert_eq!(s.entry().addresses, ["244.0.0.9"]);
}

#[test]
fn with_addresses_of_endpoints_one_that_leaves_is_a_change_of_endpoints_alone() {
    let mut s = Scene::of(two());
    s.mapping.addresses = Addresses::Endpoints;
    let topology = s.topology();
    let gone = s.service.endpoints.pop().unwrap();
    let entry = s.entry();
    assert_eq!((addresses(&entry).len(), entry.addresses.len()), (1, 2));
    assert_eq!(s.topology(), topology);
    s.now = 1_000;
    assert_eq!(s.entry().addresses.len(), 1);
    // Without any instance the last address stays: without one the sidecar would listen on all of them.
    s.service.endpoints.clear();
    s.now = 9_999;
    assert_eq!(s.entry().addresses.len(), 1);
    s.service.endpoints.push(gone);
    assert_eq!(s.entry().addresses.len(), 2);
}

#[test]
fn with_addresses_of_endpoints_the_virtual_address_stands_in_until_one_is_known() {
    let mut s = Scene::of(Vec::new());
    s.service.ports = vec![port(5432, Protocol::Tcp)];
    s.mapping.addresses = Addresses::Endpoints;
    assert_eq!(s.entry().addresses, ["244.0.0.9"]);
    // A name is no address to listen on.
    s.service.endpoints = vec![endpoint("db.example", 5432)];
    assert_eq!(s.entry().addresses, ["244.0.0.9"]);
    s.service.endpoints = two();
    assert_eq!(s.entry().addresses, ["10.0.0.1", "10.0.0.2"]);
    // Once one was known it stays, as the clients' own choice does.
    s.service.endpoints.clear();
    s.now = 9_999;
    assert_eq!(s.entry().addresses, ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn sockets_are_served_on_one_port() {
    let mut s = Scene::of(vec![unix("unix:///run/web.sock"), unix("unix://@web")]);
    s.service.ports = vec![port(80, Protocol::Http)];
    s.service.ports[0].target = Some(8080);
    let entry = s.entry();
    assert_eq!(addresses(&entry), ["unix:///run/web.sock", "unix://@web"]);
    s.service.ports.push(port(81, Protocol::Http));
    assert_eq!(s.refusal(), "unix-endpoint-one-port");
    s.service.endpoints.push(endpoint("db.example", 80));
    let (made, entry) = s.made();
    assert_eq!((addresses(&entry), entry.resolution()), (vec!["db.example"], Resolution::Dns));
    assert!(made.notes[0].contains("2 endpoints left out"), "{:?}", made.notes);
}

#[test]
fn endpoints_on_one_address_change_their_label_with_the_set() {
    let mut s = Scene::of(vec![endpoint("10.0.0.1", 1), endpoint("10.0.0.1", 2), endpoint("10.0.0.1", 3)]);
    s.service.ports = vec![port(80, Protocol::Http)];
    let label = |s: &mut Scene| -> Vec<Option<String>> {
        s.entry().endpoints.iter().map(|e| e.labels.get("chandler/siblings").cloned()).collect()
    };
    let three = label(&mut s);
    assert!(three[0].is_some() && three.iter().all(|l| *l == three[0]));
    s.service.endpoints.remove(0);
    let rest = label(&mut s);
    assert!(rest[0].is_some() && rest[0] != three[0]);
    s.service.endpoints.remove(0);
    assert_eq!(label(&mut s), [None]);
}

#[test]
fn a_service_without_ports_is_named() {
    let mut s = Scene::of(Vec::new());
    let e = s.convert().unwrap_err();
    assert!(e.to_string().contains("\"web\" has no ports"), "{e}");
    s.mapping.service_ports = ServicePorts::List(vec![80]);
    assert!(s.convert().is_ok());
}

#[test]
fn what_istio_would_refuse_is_an_error_with_its_rule() {
    let mut s = Scene::of(two());
    s.service.ports = vec![port(0, Protocol::Http)];
    assert_eq!(s.refusal(), "port-range");
    s.service.ports = vec![port(80, Protocol::Http), port(80, Protocol::Tcp)];
    assert_eq!(s.refusal(), "port-number-duplicate");
    s.service.ports = vec![port(80, Protocol::Http)];
    s.service.endpoints[0].ports = named(&[("htp-80", 1)]);
    assert_eq!(s.refusal(), "endpoint-port-unknown");
    s.service.endpoints = vec![endpoint("10.0.0.1", 0)];
    assert_eq!(s.refusal(), "endpoint-port-range");
    s.service.endpoints = two();
    s.service.says.export_to = Some(vec!["*".into(), "a".into()]);
    assert_eq!(s.refusal(), "export-to-public");
    s.service.says.export_to = None;
    s.service.annotations = [("istio.io/dry-run", "true")].into_iter().collect();
    assert_eq!(s.refusal(), "dry-run-annotation");
    let text = s.convert().unwrap_err().to_string();
    assert!(text.starts_with("Istio would refuse it: dry-run-annotation: "), "{text}");
}

#[test]
fn what_istio_would_warn_of_is_a_note() {
    let mut s = Scene::of(two());
    s.addresses.clear();
    assert!(s.made().0.notes[0].starts_with("tcp-without-addresses: "));
}

#[test]
fn an_endpoint_change_keeps_the_topology() {
    let mut s = Scene::of(two());
    let (before, body) = (s.topology(), s.made().0.resource.body);
    s.service.endpoints.push(endpoint("10.0.0.3", 9090));
    s.service.endpoints[0].weight = Weight::new(3.0).unwrap();
    s.service.endpoints[0].locality = Some("r/z".into());
    s.service.endpoints[0].labels = [("version", "2")].into_iter().collect();
    let after = s.made().0.resource;
    assert_eq!(after.topology, before);
    assert_ne!(after.body, body);
    s.service.endpoints.clear();
    assert_ne!(s.topology(), before, "no endpoint at all is more than that to most istiods");
}

#[test]
fn what_istiods_before_1_30_overlook_is_marked() {
    let mark = |s: &mut Scene| s.made().0.resource.labels.get("chandler/endpoints").map(str::to_owned);
    let mut s = Scene::of(two());
    assert_eq!(mark(&mut s), None);
    s.service.endpoints.clear();
    assert_eq!(mark(&mut s).as_deref(), Some("none"));
    s.service.endpoints.push(endpoint("a.example", 80));
    assert_eq!(mark(&mut s).as_deref(), Some("names"));

    let mut s = Scene { release: Release::new(1, 30), ..Scene::of(two()) };
    let before = s.topology();
    s.service.endpoints.clear();
    assert_eq!((s.topology(), mark(&mut s)), (before, None));
}

#[test]
fn what_makes_istiod_push_more_than_endpoints_changes_the_topology() {
    let changes: [fn(&mut Scene); 9] = [
        |s| s.service.endpoints[0].service_account = Some("sa".into()),
        |s| s.service.ports = vec![port(81, Protocol::Http)],
        |s| s.service.labels = [("a", "b")].into_iter().collect(),
        |s| s.service.annotations = [("a", "b")].into_iter().collect(),
        |s| s.addresses.clear(),
        |s| s.service.says.location = Some(Location::MeshInternal),
        |s| s.service.says.export_to = Some(vec![".".into()]),
        |s| s.service.says.subject_alt_names = vec!["x".into()],
        |s| s.service.endpoints.push(endpoint("db.example", 80)),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut s = Scene::of(two());
        s.service.says.location = Some(Location::MeshExternal);
        let before = s.topology();
        change(&mut s);
        assert_ne!(s.topology(), before, "{i}");
    }
}

#[test]
fn any_endpoint_of_a_dns_service_is_topology() {
    let mut s = Scene::of(vec![endpoint("a.example", 80)]);
    let before = s.topology();
    s.service.endpoints.push(endpoint("b.example", 80));
    assert_ne!(s.topology(), before);
}

#[test]
fn a_port_lingers_after_the_last_instance_that_had_it() {
    let mut s = Scene::of(two());
    assert_eq!(s.entry().ports.len(), 1);
    s.service.endpoints = vec![endpoint("10.0.0.1", 9090)];
    s.now = 10;
    let entry = s.entry();
    assert_eq!(entry.ports.iter().map(|p| p.number).collect::<Vec<_>>(), [8080, 9090]);
    assert_eq!(entry.endpoints[0].ports.get("auto-8080"), Some(&9090));
    s.now = 610;
    assert_eq!(s.memory.next_expiry(), Some(Moment::after_start(Duration::from_secs(610))));
    assert_eq!(s.entry().ports.iter().map(|p| p.number).collect::<Vec<_>>(), [9090]);
}

#[test]
fn a_wildcard_that_has_lost_its_endpoints_is_down_and_passes_nothing_through() {
    let mut scene = Scene::of(Vec::new());
    scene.host = "*.web.test";
    scene.service.ports = vec![port(80, Protocol::Http)];
    assert_eq!(scene.entry().resolution, Resolution::None as i32);
    scene.service.endpoints = vec![endpoint("10.0.0.1", 80)];
    assert_eq!(scene.entry().resolution, Resolution::Static as i32);
    scene.service.endpoints.clear();
    assert_eq!(scene.entry().resolution, Resolution::Static as i32);
}
