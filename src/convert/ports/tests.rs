use super::*;
use crate::convert::fixtures::{endpoint, mapping, named, port, service};
use crate::model::endpoint::Endpoint;

fn ports_of(service: &Service, mapping: &Mapping) -> Ports {
    let found = Found::of(service.endpoints.iter().map(|e| &e.ports));
    let when = When { now: Moment::START, ttl: std::time::Duration::from_secs(60) };
    Ports::of(service, &service.says, mapping, &found, &mut Memory::default(), when)
}

fn shown(ports: &Ports) -> Vec<String> {
    ports.list().iter().map(|p| format!("{} {} {}", p.number, p.name, p.protocol.istio_name())).collect()
}

fn with(endpoints: Vec<Endpoint>) -> Service {
    Service { endpoints, ..service("web") }
}

fn served(ports: &Ports, e: &EndpointPorts) -> Vec<(String, u32)> {
    ports.served_by(e).into_iter().collect()
}

#[test]
fn declared_ports_are_published_as_declared() {
    let mut s = with(vec![endpoint("10.0.0.1", 7)]);
    s.ports = vec![port(443, Protocol::Https), port(80, Protocol::Http)];
    s.ports[1].target = Some(8080);
    s.ports[0].name = Some("Secure_Port".into());
    let ports = ports_of(&s, &mapping());
    assert_eq!(shown(&ports), ["80 http-80 HTTP", "443 secure-port HTTPS"]);
    assert_eq!(ports.list()[0].target, Some(8080));
}

#[test]
fn a_port_without_a_protocol_takes_the_services_then_the_mappings() {
    let (mut s, mut m) = (service("web"), mapping());
    s.ports = vec![port(80, Protocol::Tcp)];
    s.ports[0].protocol = None;
    assert_eq!(shown(&ports_of(&s, &m)), ["80 auto-80 "]);
    m.protocol = Protocol::Grpc;
    assert_eq!(shown(&ports_of(&s, &m)), ["80 grpc-80 GRPC"]);
    s.says.protocol = Some(Protocol::Tcp);
    assert_eq!(shown(&ports_of(&s, &m)), ["80 tcp-80 TCP"]);
}

#[test]
fn made_names_give_way_to_given_ones() {
    let mut s = service("web");
    s.ports = vec![port(80, Protocol::Http), port(8080, Protocol::Http), port(8081, Protocol::Http)];
    s.ports[0].name = Some("http-8080".into());
    s.ports[2].name = Some("a_b".into());
    s.ports.push(port(8082, Protocol::Http));
    s.ports[3].name = Some("a-b".into());
    let ports = ports_of(&s, &mapping());
    assert_eq!(
        shown(&ports),
        ["80 http-8080 HTTP", "8080 http-8080-2 HTTP", "8081 a-b HTTP", "8082 a-b-2 HTTP"]
    );
    // Endpoints speak of ports by the names that the registry gave.
    assert_eq!(served(&ports, &named(&[("a-b", 2), ("a_b", 1)])), [("a-b".into(), 1), ("a-b-2".into(), 2)]);
}

#[test]
fn one_given_name_twice_is_left_for_istio_to_refuse() {
    let mut s = service("web");
    s.ports = vec![port(80, Protocol::Http), port(81, Protocol::Http)];
    s.ports[0].name = Some("x".into());
    s.ports[1].name = Some("x".into());
    assert_eq!(shown(&ports_of(&s, &mapping())), ["80 x HTTP", "81 x HTTP"]);
}

#[test]
fn auto_takes_the_common_port_then_80_or_the_lowest() {
    let mut m = mapping();
    let same = with(vec![endpoint("10.0.0.1", 8080), endpoint("10.0.0.2", 8080)]);
    let differ = with(vec![endpoint("10.0.0.1", 9090), endpoint("10.0.0.2", 8080)]);
    for (protocol, common, differing) in [
        (Protocol::Auto, "8080 auto-8080 ", "8080 auto-8080 "),
        (Protocol::Tcp, "8080 tcp-8080 TCP", "8080 tcp-8080 TCP"),
        (Protocol::Http, "8080 http-8080 HTTP", "80 http-80 HTTP"),
        (Protocol::Grpc, "8080 grpc-8080 GRPC", "80 grpc-80 GRPC"),
    ] {
        m.protocol = protocol;
        assert_eq!(shown(&ports_of(&same, &m)), [common]);
        assert_eq!(shown(&ports_of(&differ, &m)), [differing]);
    }
}

#[test]
fn every_endpoint_answers_every_port_where_it_listens() {
    let mut m = mapping();
    m.service_ports = ServicePorts::Instance;
    let s = with(vec![endpoint("10.0.0.1", 8000), endpoint("10.0.0.2", 8001)]);
    let ports = ports_of(&s, &m);
    assert_eq!(shown(&ports), ["8000 auto-8000 ", "8001 auto-8001 "]);
    assert_eq!(served(&ports, &EndpointPorts::One(8000)), [("auto-8001".into(), 8000)]);
    assert_eq!(served(&ports, &EndpointPorts::One(8001)), [("auto-8000".into(), 8001)]);
    assert_eq!(served(&ports, &EndpointPorts::AsService), []);
}

#[test]
fn a_list_maps_to_wherever_instances_listen() {
    let mut m = mapping();
    m.service_ports = ServicePorts::List(vec![443, 80, 80]);
    let ports = ports_of(&with(vec![endpoint("10.0.0.1", 8080)]), &m);
    assert_eq!(shown(&ports), ["80 auto-80 ", "443 auto-443 "]);
    let to = |e: &EndpointPorts| served(&ports, e);
    assert_eq!(to(&EndpointPorts::One(80)), [("auto-443".into(), 80)]);
    assert_eq!(to(&named(&[("a", 443), ("b", 9)])), [("auto-80".into(), 9)]);
}

#[test]
fn named_instance_ports_are_ports_of_those_names() {
    let s = with(vec![
        Endpoint { ports: named(&[("admin", 9000), ("http", 8080)]), ..endpoint("10.0.0.1", 1) },
        Endpoint { ports: named(&[("admin", 9000), ("http", 8081)]), ..endpoint("10.0.0.2", 1) },
    ]);
    let ports = ports_of(&s, &mapping());
    assert_eq!(shown(&ports), ["8080 http-8080 ", "9000 admin-9000 "]);
    assert_eq!(served(&ports, &s.endpoints[0].ports), []);
    assert_eq!(served(&ports, &s.endpoints[1].ports), [("http-8080".into(), 8081)]);
}

#[test]
fn two_names_with_one_number_do_not_make_two_ports_of_it() {
    let s = with(vec![Endpoint { ports: named(&[("a", 1), ("b", 1)]), ..endpoint("10.0.0.1", 1) }]);
    assert_eq!(shown(&ports_of(&s, &mapping())), ["1 a-1 "]);
}

#[test]
fn an_endpoint_port_overrides_the_declared_target() {
    let mut s = service("web");
    s.ports = vec![port(80, Protocol::Http)];
    s.ports[0].target = Some(8080);
    let ports = ports_of(&s, &mapping());
    assert_eq!(served(&ports, &EndpointPorts::AsService), []);
    assert_eq!(served(&ports, &EndpointPorts::One(8080)), []);
    assert_eq!(served(&ports, &EndpointPorts::One(80)), [("http-80".into(), 80)]);
    assert_eq!(served(&ports, &named(&[("http-80", 18_080)])), [("http-80".into(), 18_080)]);
    // A name that the service does not declare is for Istio to refuse.
    assert_eq!(served(&ports, &named(&[("htp-80", 1)])), [("htp-80".into(), 1)]);
}

#[test]
fn instance_addresses_publish_http_as_unset_on_every_port() {
    let (mut s, mut m) = (with(vec![endpoint("10.0.0.1", 8080), endpoint("10.0.0.2", 9090)]), mapping());
    m.addresses = Addresses::Endpoints;
    m.protocol = Protocol::Http;
    assert_eq!(shown(&ports_of(&s, &m)), ["8080 auto-8080 ", "9090 auto-9090 "]);
    s.ports = vec![port(80, Protocol::Grpc), port(81, Protocol::Tcp)];
    assert_eq!(shown(&ports_of(&s, &m)), ["80 auto-80 ", "81 tcp-81 TCP"]);
}

#[test]
fn a_service_without_any_port_has_none() {
    assert_eq!(ports_of(&service("web"), &mapping()).list(), []);
    let s = with(vec![Endpoint { ports: EndpointPorts::AsService, ..endpoint("10.0.0.1", 1) }]);
    assert_eq!(ports_of(&s, &mapping()).list(), []);
}
