use std::time::Duration;

use super::*;
use crate::convert::admission::Last;
use crate::convert::fixtures::{endpoint, mapping, service};
use crate::model::admitted::Admitted;

const EVERYTHING: [Say; 8] = [
    Say::Skip,
    Say::Protocol,
    Say::Weight,
    Say::ServicePort,
    Say::Host,
    Say::ExportTo,
    Say::TlsMode,
    Say::Addresses,
];

fn allowing(may: &[Say]) -> Mapping {
    let mut m = mapping();
    m.self_service.may = may.iter().copied().collect();
    m
}

fn instance(labels: &[(&str, &str)]) -> Endpoint {
    Endpoint { labels: labels.iter().copied().collect(), ..endpoint("10.0.0.1", 8080) }
}

/// A service whose instances say this under one key.
fn saying(key: &str, words: &[&str]) -> Service {
    Service { endpoints: words.iter().map(|w| instance(&[(key, w)])).collect(), ..service("web") }
}

const TTL: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> Moment {
    Moment::after_start(Duration::from_secs(seconds))
}

/// A service and what was heard from it.
struct Then(Service, Admitted);

impl Then {
    fn first(s: &Service, m: &Mapping) -> Self {
        Self::hears(s, m, None, at(0))
    }

    fn then(&self, s: &Service, m: &Mapping, now: Moment) -> Self {
        Self::hears(s, m, Some(Last { service: &self.0, admitted: &self.1 }), now)
    }

    fn hears(s: &Service, m: &Mapping, last: Option<Last<'_>>, now: Moment) -> Self {
        let (owner, until) = hear(&Past::new(s, last, now, TTL), m, |_| true);
        Self(s.clone(), Admitted { owner, until, ..Admitted::claiming(Vec::new()) })
    }

    fn owner(&self) -> Owner {
        self.1.owner.as_deref().cloned().unwrap_or_default()
    }

    fn protocol(&self) -> Option<Protocol> {
        self.owner().says.protocol
    }
}

fn heard(s: &Service, m: &Mapping) -> Owner {
    Then::first(s, m).owner()
}

/// An instance with a name of its own.
fn named(id: &str, word: &str) -> Endpoint {
    let labels: &[(&str, &str)] = if word.is_empty() { &[] } else { &[("chandler-protocol", word)] };
    Endpoint { id: id.into(), ..instance(labels) }
}

fn fleet(instances: &[(&str, &str)]) -> Service {
    Service { endpoints: instances.iter().map(|(id, word)| named(id, word)).collect(), ..service("web") }
}

fn ignored(owner: &Owner) -> Vec<&str> {
    owner.ignored.iter().map(|i| &**i).collect()
}

#[test]
fn every_word_has_its_key_and_its_effect() {
    let m = allowing(&EVERYTHING);
    let said = |key: &str, word: &str| heard(&saying(key, &[word]), &m);
    assert_eq!(said("chandler-protocol", "gRPC").says.protocol, Some(Protocol::Grpc));
    assert_eq!(
        said("chandler-service-port", "8080, 80").says.service_ports.as_deref(),
        Some(&[80, 8080][..])
    );
    assert_eq!(said("chandler-host", "B.example,a.example").hosts[0].as_str(), "a.example");
    assert_eq!(said("chandler-export-to", ".,shop").says.export_to.unwrap().len(), 2);
    assert_eq!(said("chandler-addresses", "endpoints").says.addresses, Some(Addresses::Endpoints));
    let (ears, s) = (&m.self_service, service("web"));
    assert_eq!(ears.weight(&instance(&[("chandler-weight", "0.5")])), Weight::new(0.5).unwrap());
    assert_eq!(ears.tls_mode(&instance(&[("chandler-tls-mode", "istio")])), Some(TlsMode::Istio));
    assert_eq!(ears.skips(&s, Some(&instance(&[("chandler-skip", "TRUE")]))), Some(true));
    assert_eq!(ears.skips(&s, Some(&instance(&[]))), None);
}

#[test]
fn what_is_not_allowed_is_not_heard() {
    let m = mapping();
    for (say, _, key) in Say::ALL {
        let word = match say {
            Say::Skip => "true",
            Say::Protocol => "http",
            Say::Weight | Say::ServicePort => "7",
            Say::Host => "bank.example",
            Say::ExportTo => "*",
            Say::TlsMode => "istio",
            Say::Addresses => "none",
        };
        let (s, e) = (saying(key, &[word]), instance(&[(key, word)]));
        let silent = allowing(&[]);
        assert_eq!(heard(&s, &silent), Owner::default());
        assert_eq!(silent.self_service.weight(&e), Weight::ONE);
        assert_eq!((silent.self_service.skips(&s, Some(&e)), silent.self_service.tls_mode(&e)), (None, None));
        let usual = Say::USUAL.contains(&say);
        assert_eq!(m.self_service.may.contains(&say), usual, "{key}");
        if !usual {
            assert_eq!(heard(&s, &m), Owner::default(), "{key}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_ignored_and_named() {
    let m = allowing(&EVERYTHING);
    for (key, word) in [
        ("chandler-protocol", "htpp"),
        ("chandler-protocol", ""),
        ("chandler-weight", "-1"),
        ("chandler-weight", "NaN"),
        ("chandler-service-port", "0"),
        ("chandler-service-port", "80,x"),
        ("chandler-service-port", ","),
        ("chandler-host", "*.example"),
        ("chandler-host", "a_b"),
        ("chandler-export-to", "*,shop"),
        ("chandler-export-to", "Not A Namespace"),
        ("chandler-addresses", "all"),
        ("chandler-tls-mode", "mutual"),
        ("chandler-skip", "yes"),
    ] {
        let owner = heard(&saying(key, &[word]), &m);
        assert_eq!((owner.says.clone(), owner.hosts.len()), (Default::default(), 0), "{key}: {word}");
        assert!(owner.ignored.len() == 1 && owner.ignored[0].starts_with(key), "{owner:?}");
    }
    // A megabyte of nonsense is named in a line, and a thousand instances in ten.
    let long = "x\n".repeat(1 << 19);
    let words: Vec<String> = (0..1000).map(|n| format!("{n}{long}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).take(20).collect();
    let owner = heard(&saying("chandler-protocol", &words), &m);
    assert_eq!(owner.ignored.len(), NAMED);
    assert!(owner.ignored.iter().all(|i| i.len() < 400 && !i.contains('\n')));
}

#[test]
fn what_the_service_itself_says_goes_before_its_instances() {
    let mut s = saying("chandler-protocol", &["grpc", "http"]);
    s.labels = [("chandler-protocol", "tcp"), ("chandler-weight", "3")].into_iter().collect();
    let owner = heard(&s, &mapping());
    assert_eq!(owner.says.protocol, Some(Protocol::Tcp));
    assert_eq!(ignored(&owner), ["chandler-weight: \"3\": each instance says its own"]);
}

#[test]
fn one_voice_is_enough_and_silence_is_none() {
    let mut s = saying("chandler-protocol", &["grpc"]);
    s.endpoints.push(instance(&[]));
    let owner = heard(&s, &mapping());
    assert_eq!((owner.says.protocol, owner.ignored.len()), (Some(Protocol::Grpc), 0));
}

#[test]
fn a_roll_out_is_one_change_whatever_the_order() {
    let m = mapping();
    for (old, new) in [("http", "grpc"), ("grpc", "http")] {
        let (mut then, mut changes) = (Then::first(&saying("chandler-protocol", &[old; 3]), &m), 0);
        for fleet in [
            &[old, old, new][..],
            &[old, new],
            &[old, new, new],
            &[new, old],
            &[],
            &[old],
            &[new, old, new],
            &[new, new],
            &[],
            &[new],
        ] {
            let next = then.then(&saying("chandler-protocol", fleet), &m, at(1));
            changes += u32::from(next.owner().says != then.owner().says);
            then = next;
        }
        assert_eq!((changes, then.protocol()), (1, Protocol::parse(new)));
    }
}

#[test]
fn instances_that_disagree_are_decided_by_the_text_and_named() {
    let m = mapping();
    for fleet in [["http", "grpc", "HTTP"], ["HTTP", "grpc", "http"], ["grpc", "http", "HTTP"]] {
        let owner = heard(&saying("chandler-protocol", &fleet), &m);
        // "HTTP" comes before "grpc" and says what "http" says.
        assert_eq!(owner.says.protocol, Some(Protocol::Http));
        let words = "chandler-protocol: instances disagree (\"HTTP\", \"grpc\"): \"HTTP\" holds";
        assert_eq!(ignored(&owner), [words]);
    }
}

#[test]
fn an_owner_who_stops_saying_something_is_believed() {
    let m = mapping();
    let then = Then::first(&fleet(&[("a", "grpc"), ("b", "")]), &m);
    let next = then.then(&fleet(&[("a", ""), ("b", "")]), &m, at(1));
    assert_eq!((next.owner(), next.1.until), (Owner::default(), None));
    assert_eq!(then.then(&service("web"), &m, at(1)).protocol(), Some(Protocol::Grpc));
}

#[test]
fn what_an_instance_said_that_has_gone_holds_for_a_while_and_no_longer() {
    let m = mapping();
    let both = fleet(&[("a", "grpc"), ("b", "")]);
    let then = Then::first(&both, &m);
    let alone = then.then(&fleet(&[("b", "")]), &m, at(100));
    assert_eq!((alone.protocol(), alone.1.until), (Some(Protocol::Grpc), Some(at(700))));
    // It comes back: nothing has happened.
    let back = alone.then(&both, &m, at(130));
    assert_eq!((back.owner(), back.1.until), (then.owner(), None));
    // It does not, and whatever the others do meanwhile moves nothing.
    let more = alone.then(&fleet(&[("b", ""), ("c", "")]), &m, at(699));
    assert_eq!((more.protocol(), more.1.until), (Some(Protocol::Grpc), Some(at(700))));
    let over = more.then(&more.0, &m, at(700));
    assert_eq!((over.owner(), over.1.until), (Owner::default(), None));
    // Another word goes before a memory.
    let other = alone.then(&fleet(&[("b", "http")]), &m, at(101));
    assert_eq!((other.protocol(), other.1.until), (Some(Protocol::Http), None));
}

#[test]
fn who_is_left_out_has_no_voice() {
    let s = saying("chandler-protocol", &["grpc", "http"]);
    let taken = |e: &Endpoint| e.labels.get("chandler-protocol") == Some("http");
    let owner = hear(&Past::new(&s, None, at(0), TTL), &mapping(), taken).0.unwrap();
    assert_eq!((owner.says.protocol, owner.ignored.len()), (Some(Protocol::Http), 0));
}

#[test]
fn conventions_are_heard_after_our_own_words() {
    let mut m = mapping();
    m.self_service.conventions = Conventions {
        protocol: &["protocol"],
        grpc_port: &["gRPC_port", "gRPC.port"],
        region: &["region"],
        zone: &["zone"],
    };
    let both = instance(&[("protocol", "tcp"), ("chandler-protocol", "grpc")]);
    let protocol = |e: Endpoint| heard(&Service { endpoints: vec![e], ..service("web") }, &m).says.protocol;
    assert_eq!(protocol(both), Some(Protocol::Grpc));
    assert_eq!(protocol(instance(&[("protocol", "http2")])), Some(Protocol::Http2));
    assert_eq!(protocol(instance(&[("protocol", "dubbo")])), None);
    let ears = &m.self_service;
    assert_eq!(ears.grpc_port(&instance(&[("gRPC.port", "9090")])), Some(9090));
    for bad in ["0", "65536", "x", ""] {
        assert_eq!(ears.grpc_port(&instance(&[("gRPC_port", bad)])), None);
    }
    let place = |labels: &[(&str, &str)]| ears.locality(&instance(labels));
    assert_eq!(place(&[("zone", "a"), ("region", "eu")]).as_deref(), Some("eu/a"));
    assert_eq!(place(&[("zone", "a")]).as_deref(), Some("a"));
    assert_eq!(place(&[("zone", " ")]), None);
    assert_eq!(mapping().self_service.grpc_port(&instance(&[("gRPC_port", "9090")])), None);
}

#[test]
fn a_port_for_grpc_stands_beside_the_instances_own() {
    let shown = |ports: EndpointPorts| match ports {
        EndpointPorts::Named(named) => named.iter().map(|(n, p)| format!("{n} {p}")).collect::<Vec<_>>(),
        other => vec![format!("{other:?}")],
    };
    let one = EndpointPorts::One(8080);
    assert_eq!(shown(with_grpc(&one, "http", Some(9090))), ["grpc 9090", "http 8080"]);
    assert_eq!(shown(with_grpc(&one, "http", None)), ["http 8080"]);
    assert_eq!(shown(with_grpc(&one, "http", Some(8080))), ["http 8080"]);
    assert_eq!(shown(with_grpc(&EndpointPorts::AsService, "http", None)), ["AsService"]);
}
