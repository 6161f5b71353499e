//! What holds for any service that a registry can think of.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::convert::fixtures::{mapping, service};
use crate::convert::mapping::ServicePorts;
use crate::convert::validate::check;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::service::{Protocol, ServicePort};

const OLDEST: Release = Release::new(1, 9);
const NEWEST: Release = Release::new(1, 31);

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z]{1,4}", "[a-zA-Z0-9._/-]{0,80}"]
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn labels() -> impl Strategy<Value = Labels> {
    vec((text(), text()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::Auto, Protocol::Http, Protocol::Grpc, Protocol::Tcp, Protocol::Tls])
}

fn number() -> impl Strategy<Value = u16> {
    prop_oneof![9 => 1u16..20, 1 => Just(0), 1 => any::<u16>()]
}

fn endpoint_ports() -> impl Strategy<Value = EndpointPorts> {
    let named = vec((prop_oneof!["[ab]", text()], number()), 0..3).prop_map(|mut ports| {
        ports.sort();
        ports.dedup_by(|a, b| a.0 == b.0);
        EndpointPorts::Named(ports.into_iter().map(|(n, p)| (n.into(), p)).collect())
    });
    prop_oneof![Just(EndpointPorts::AsService), number().prop_map(EndpointPorts::One), named]
}

/// Few of each, so that they meet each other.
fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        6 => (0u8..6).prop_map(|n| Address::Ip(IpAddr::from([10, 0, 0, n]))),
        2 => (0u16..3).prop_map(|n| Address::Ip(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]))),
        1 => "[a-c]\\.example".prop_map(|s| Address::parse(&s).unwrap()),
        1 => "unix:///[ab]".prop_map(|s| Address::parse(&s).unwrap()),
    ]
}

fn tls_mode() -> impl Strategy<Value = Option<TlsMode>> {
    prop::sample::select(vec![None, Some(TlsMode::None), Some(TlsMode::Istio)])
}

fn endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let says = (shared(), labels(), prop::option::of(shared()), prop::option::of(shared()), tls_mode());
    let one = (address(), endpoint_ports(), says, prop::option::of("[ab]"), 0f64..3.0);
    let one = one.prop_map(|(address, ports, (id, labels, locality, account, tls_mode), network, weight)| {
        Endpoint {
            id,
            labels,
            locality,
            network: network.map(Into::into),
            service_account: account,
            tls_mode,
            weight: Weight::new(weight).unwrap(),
            ..Endpoint::at(address, ports)
        }
    });
    let mut twice =
        vec(one, 0..8).prop_map(|list| [list.clone(), list.into_iter().take(2).collect()].concat()).boxed();
    twice = twice.prop_shuffle().boxed();
    twice
}

prop_compose! {
    fn any_service()(
        name in shared(),
        ports in vec((number(), prop::option::of(text()), prop::option::of(protocol()), prop::option::of(number())), 0..3),
        endpoints in endpoints(),
        labels in labels(),
        annotations in labels(),
        (addresses, location, protocol, export_to) in (
            prop::sample::select(vec![Addresses::Virtual, Addresses::Endpoints, Addresses::None]),
            prop::sample::select(vec![Location::Auto, Location::MeshInternal, Location::MeshExternal]),
            protocol(),
            prop::option::of(vec(prop_oneof!["[ab]", Just("*".to_owned()), text()], 0..3)),
        ),
        sans in vec(shared(), 0..3),
    ) -> Service {
        let mut s = service("x");
        s.name = name;
        s.ports = ports.into_iter().map(|(number, name, protocol, target)| {
            ServicePort { number, name: name.map(Into::into), protocol, target }
        }).collect();
        (s.endpoints, s.labels, s.annotations) = (endpoints, labels, annotations);
        s.says.addresses = Some(addresses);
        s.says.location = Some(location);
        s.says.protocol = Some(protocol);
        s.says.export_to = export_to.map(|list| list.into_iter().map(Into::into).collect());
        s.says.subject_alt_names = sans;
        s
    }
}

fn any_mapping() -> impl Strategy<Value = Mapping> {
    let ports = prop_oneof![
        Just(ServicePorts::Auto),
        Just(ServicePorts::Instance),
        vec(number(), 0..3).prop_map(ServicePorts::List)
    ];
    ports.prop_map(|service_ports| Mapping { service_ports, ..mapping() })
}

fn run(
    service: &Service,
    host: &str,
    mapping: &Mapping,
    release: Release,
    memory: &mut Memory,
) -> Result<Converted, ConvertError> {
    let registry = RegistryName::new("r");
    let addresses = [IpAddr::from([244, 0, 0, 1])];
    let select = Select::default();
    let cx = Context {
        registry: &registry,
        mapping,
        select: &select,
        says: &service.says,
        addresses: &addresses,
        now: Moment::START,
        empty_service_ttl: Duration::from_secs(60),
        release,
    };
    convert(service, &Host::parse(host).unwrap(), &cx, memory)
}

fn once(service: &Service, mapping: &Mapping) -> Result<Converted, ConvertError> {
    run(service, "a.test", mapping, OLDEST, &mut Memory::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_made_istio_takes(s in any_service(), m in any_mapping(), wildcard in any::<bool>()) {
        let host = if wildcard { "*.a.test" } else { "a.test" };
        for release in [OLDEST, NEWEST] {
            if let Ok(made) = run(&s, host, &m, release, &mut Memory::default()) {
                let verdict = check(&made.resource, release);
                prop_assert!(verdict.is_accepted(), "{:?}", verdict);
            }
        }
    }

    #[test]
    fn the_same_service_gives_the_same_bytes(s in any_service(), m in any_mapping()) {
        let mut memory = Memory::default();
        let first = run(&s, "a.test", &m, OLDEST, &mut memory);
        prop_assert_eq!(&run(&s, "a.test", &m, OLDEST, &mut memory), &first, "converted again");
        prop_assert_eq!(&once(&s, &m), &first, "after a restart");
    }

    #[test]
    fn the_registrys_order_does_not_show(
        (s, endpoints, ports) in any_service().prop_flat_map(|s| {
            let (e, p) = (Just(s.endpoints.clone()).prop_shuffle(), Just(s.ports.clone()).prop_shuffle());
            (Just(s), e, p)
        }),
        m in any_mapping(),
    ) {
        let shuffled = Service { endpoints, ports, ..s.clone() };
        match (once(&s, &m), once(&shuffled, &m)) {
            (Ok(a), Ok(b)) => prop_assert_eq!(a, b),
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
        }
    }

    #[test]
    fn other_addresses_keep_the_topology(s in any_service(), m in any_mapping()) {
        let mut s = s;
        s.says.addresses = Some(Addresses::Virtual);
        s.endpoints.retain(|e| matches!(e.address, Address::Ip(_)) && e.weight != Weight::ZERO);
        let mut moved = s.clone();
        for e in &mut moved.endpoints {
            if let Address::Ip(IpAddr::V4(ip)) = e.address {
                let [_, b, c, d] = ip.octets();
                e.address = Address::Ip(IpAddr::from([11, b, c, d]));
            }
        }
        if let (Ok(a), Ok(b)) = (once(&s, &m), once(&moved, &m)) {
            prop_assert_eq!(a.resource.topology, b.resource.topology);
        }
    }

    #[test]
    fn a_come_and_go_of_instances_keeps_ports_and_topology(s in any_service(), late in endpoints(), m in any_mapping()) {
        let mut s = s;
        s.says.addresses = Some(Addresses::Virtual);
        let plain = |list: Vec<Endpoint>| -> Vec<Endpoint> {
            list.into_iter().map(|e| {
                let address = if let Address::Ip(ip) = e.address { ip } else { IpAddr::from([10, 1, 1, 1]) };
                let ports = if let EndpointPorts::One(n) = e.ports { n.max(1) } else { 5 };
                Endpoint::at(Address::Ip(address), EndpointPorts::One(ports))
            }).collect()
        };
        s.endpoints = plain(s.endpoints);
        let m = Mapping { service_ports: ServicePorts::Auto, ..m };
        let mut memory = Memory::default();
        let first = run(&s, "a.test", &m, NEWEST, &mut memory);
        if let (Ok(first), false) = (first, s.endpoints.is_empty()) {
            // All that were there stay, others come.
            let more = Service { endpoints: [s.endpoints.clone(), plain(late)].concat(), ..s.clone() };
            let then = run(&more, "a.test", &m, NEWEST, &mut memory);
            prop_assert_eq!(then.map(|c| c.resource.topology), Ok(first.resource.topology));
            // All go.
            let none = Service { endpoints: Vec::new(), ..s };
            let last = run(&none, "a.test", &m, NEWEST, &mut memory);
            prop_assert_eq!(last.map(|c| c.resource.topology), Ok(first.resource.topology));
        }
    }
}

#[test]
fn most_random_services_can_be_converted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut good, mut why) = (0, std::collections::BTreeMap::new());
    for _ in 0..200 {
        let s = any_service().new_tree(&mut runner).unwrap().current();
        let m = any_mapping().new_tree(&mut runner).unwrap().current();
        match once(&s, &m) {
            Ok(_) => good += 1,
            Err(ConvertError::Refused(v)) => *why.entry(v[0].rule.to_string()).or_insert(0) += 1,
            Err(e) => *why.entry(format!("{e:?}").chars().take(10).collect()).or_insert(0) += 1,
        }
    }
    assert!(good > 60, "properties say little if nearly everything is refused: {good} {why:?}");
}
