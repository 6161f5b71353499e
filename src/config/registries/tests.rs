//! What holds for every kind of registry's defaults, whatever its registry holds.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::convert::memory::Memory;
use crate::convert::self_service::Conventions;
use crate::convert::service_entry::{self, Context, ConvertError};
use crate::convert::validate::{Release, check};
use crate::convert::{admission, naming};
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, Weight};
use crate::model::host::Host;
use crate::model::labels::Labels;
use crate::model::service::{ItemKind, Protocol, Scope, Service, ServiceKey};
use crate::model::time::Moment;

/// Defaults of the forms that registries have, beside those of the kinds of this build.
const FORMS: [KindDefaults; 2] = [
    KindDefaults {
        placeholders: &["service", "datacenter", "remote?", "domain"],
        hosts: &["{service}.service.{remote?}.{domain}"],
        excluded: &[("external-source", "kubernetes")],
        conventions: Conventions { protocol: &["protocol"], grpc_port: &[], region: &[], zone: &[] },
        noise: &["consul-*"],
        ..KindDefaults::PLAIN
    },
    KindDefaults {
        hosts: &["{service}.eureka", "{service}"],
        protocol: Protocol::Http,
        conventions: Conventions {
            protocol: &[],
            grpc_port: &["gRPC_port"],
            region: &["region"],
            zone: &["zone"],
        },
        noise: &["@class", "*.port"],
        ..KindDefaults::PLAIN
    },
];

fn policies() -> Vec<(Vec<&'static str>, Policy)> {
    let kinds = BUILT.iter().map(|kind| &kind.defaults).chain(&FORMS);
    let policy = |defaults: &KindDefaults| {
        let findings = crate::yaml::fields::Findings::default();
        let parsed = crate::yaml::parse("{}", 10);
        let policy =
            policy(&mut Fields::of(&parsed.documents[0], &findings), defaults, &Limits::default()).unwrap();
        assert_eq!(findings.into_faults(), []);
        (defaults.placeholders.iter().map(|p| p.trim_end_matches('?')).collect(), policy)
    };
    kinds.map(policy).collect()
}

/// What registries have been seen to hold, and worse.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_:. -]{1,40}",
        "\\PC{1,20}",
        Just("Order_Service".to_owned()),
        Just("dienst-größe".to_owned()),
        Just("服务".to_owned()),
        Just("a".repeat(300)),
        Just(format!("{}.{}", "b".repeat(200), "c".repeat(100))),
        Just("com.example.Orders:1.0:group".to_owned()),
        Just("123".to_owned()),
    ]
}

fn metadata() -> impl Strategy<Value = Labels> {
    let key = prop_oneof![
        "[a-z.@_/-]{1,20}",
        prop::sample::select(vec![
            "chandler-protocol",
            "chandler-service-port",
            "chandler-weight",
            "chandler-host",
            "chandler-export-to",
            "protocol",
            "gRPC_port",
            "zone",
            "region",
            "istio.io/rev",
        ])
        .prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        "\\PC{0,30}",
        "[0-9]{1,5}",
        prop::sample::select(vec!["grpc", "tcp", "80,443", "0", "-1", "eu-west-1a", "a.example"])
            .prop_map(str::to_owned),
        Just("x{\"a\":1}".repeat(8 << 10)),
    ];
    vec((key, value), 0..5).prop_map(|pairs| pairs.into_iter().collect())
}

fn instance() -> impl Strategy<Value = Endpoint> {
    let address = prop_oneof![
        4 => (0u8..5).prop_map(|n| Address::Ip(IpAddr::from([10, 0, 0, n]))),
        1 => (0u16..3).prop_map(|n| Address::Ip(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]))),
        1 => Just(Address::parse("Ip-10-0-0-5.ec2.internal").unwrap()),
    ];
    let number = || prop_oneof![8 => 1u16..9, 1 => Just(0), 1 => any::<u16>()];
    let ports = prop_oneof![
        3 => number().prop_map(EndpointPorts::One),
        1 => (number(), number()).prop_map(|(a, b)| {
            EndpointPorts::Named([("http".into(), a), ("https".into(), b)].into())
        }),
        1 => Just(EndpointPorts::AsService),
    ];
    let weight = prop_oneof![Just(0.0), Just(1.0), 0f64..1e9];
    (address, ports, metadata(), weight, name()).prop_map(|(address, ports, labels, weight, id)| Endpoint {
        labels,
        weight: Weight::new(weight).unwrap(),
        id: id.into(),
        ..Endpoint::at(address, ports)
    })
}

fn service(name: &str, placeholders: &[&str], values: &[String], endpoints: Vec<Endpoint>) -> Service {
    let key = ServiceKey { kind: ItemKind::Service, name: name.into(), scope: Scope::new("dc1") };
    let variables = placeholders.iter().zip(values).filter(|(key, _)| **key != "service");
    let variables = variables.map(|(key, value)| (*key, value.as_str())).collect();
    Service { variables, endpoints, ..Service::new(key, name) }
}

/// Everything that the defaults make of a service; panics if Istio would not take it.
fn made(s: &Service, policy: &Policy, addresses: &[IpAddr]) -> Result<BTreeSet<Host>, naming::NamingError> {
    let admitted = admission::admit(s, policy, None, Moment::START)?;
    let (registry, says) = (RegistryName::new("r"), admitted.says(s));
    for host in &admitted.hosts {
        let cx = Context {
            registry: &registry,
            mapping: policy.mapping(&s.name).unwrap(),
            select: &policy.select,
            says: &says,
            addresses,
            now: Moment::START,
            empty_service_ttl: Duration::from_secs(60),
            release: Release::new(1, 9),
        };
        match service_entry::convert(s, host, &cx, &mut Memory::default()) {
            Ok(converted) => {
                let verdict = check(&converted.resource, Release::new(1, 9));
                assert!(verdict.is_accepted(), "{verdict:?}");
            }
            // Nothing that Istio could be told: said in words, and nobody else is touched.
            Err(ConvertError::NoPorts(_)) => {
                let has_port = |e: &Endpoint| !matches!(e.ports, EndpointPorts::AsService);
                assert!(!s.endpoints.iter().any(has_port), "{s:?}");
            }
            Err(ConvertError::Refused(why)) => {
                // The only thing that adapters have to see to themselves.
                let zero = |e: &Endpoint| match &e.ports {
                    EndpointPorts::One(n) => *n == 0,
                    EndpointPorts::Named(named) => named.iter().any(|(_, n)| *n == 0),
                    EndpointPorts::AsService => false,
                };
                assert!(s.endpoints.iter().any(zero), "{why:?} for {s:?}");
            }
            Err(ConvertError::Naming(e)) => return Err(e),
        }
    }
    Ok(admitted.hosts.iter().cloned().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_a_registry_holds_its_defaults_make_what_istio_takes(
        service_name in name(),
        values in vec(name(), 8),
        endpoints in vec(instance(), 0..5),
        protocol in prop::sample::select(vec![Protocol::Auto, Protocol::Http, Protocol::Tcp]),
    ) {
        for (placeholders, mut policy) in policies() {
            policy.map.protocol = protocol;
            let s = service(&service_name, &placeholders, &values, endpoints.clone());
            let hosts = made(&s, &policy, &[IpAddr::from([244, 0, 0, 1])]);
            let lawless = |text: &str| !text.chars().any(|c| c.is_alphanumeric());
            match hosts {
                Ok(_) => {}
                // The registry gives no name, or nothing of a name is left.
                Err(naming::NamingError::NoHosts { .. }) => prop_assert!(policy.map.hosts.is_empty()),
                Err(e) => prop_assert!(lawless(&service_name) || numeric(&s), "{e}"),
            }
        }
    }
}

/// Whether a host ends in a number, which no DNS name does.
fn numeric(s: &Service) -> bool {
    let last =
        |text: &str| text.split(|c: char| !c.is_alphanumeric()).rfind(|l| !l.is_empty()).map(str::to_owned);
    let texts = std::iter::once(&*s.name).chain(s.variables.iter().map(|(_, v)| v));
    texts.filter_map(last).any(|l| l.chars().all(|c| c.is_ascii_digit()) || !l.is_ascii())
}

#[test]
fn local_services_have_the_name_that_the_registrys_own_dns_gives_them_and_others_theirs() {
    let (placeholders, policy) = policies().remove(BUILT.len());
    assert_eq!(placeholders, ["service", "datacenter", "remote", "domain"]);
    let host = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let s = service("Web_API", &placeholders, &values, Vec::new());
        made(&s, &policy, &[]).unwrap().pop_first().unwrap().to_string()
    };
    assert_eq!(host(&["", "dc1", "", "consul"]), "web-api.service.consul");
    assert_eq!(host(&["", "dc2", "dc2", "consul"]), "web-api.service.dc2.consul");
}

#[test]
fn two_names_that_become_one_host_claim_it_both_and_the_catalog_decides() {
    let (placeholders, policy) = policies().remove(BUILT.len() + 1);
    let hosts = |name: &str| made(&service(name, &placeholders, &[], Vec::new()), &policy, &[]).unwrap();
    assert_eq!(hosts("ORDER_SERVICE"), hosts("order-service"));
    assert_eq!(hosts("ORDER_SERVICE").len(), 2);
    let apart: BTreeSet<_> =
        ["服务", "其他", &"a".repeat(300), &format!("{}b", "a".repeat(299))].map(hosts).into();
    assert_eq!(apart.len(), 4);
}

#[cfg(feature = "consul")]
#[test]
fn consul_itself_stays_out_of_the_mesh() {
    let consul = BUILT.iter().position(|kind| kind.key == "consul").unwrap();
    let (placeholders, policy) = policies().remove(consul);
    let values = vec!["x".to_owned(); placeholders.len()];
    let hosts = |name: &str| {
        let endpoint = Endpoint::at(Address::parse("10.0.0.1").unwrap(), EndpointPorts::One(8300));
        made(&service(name, &placeholders, &values, vec![endpoint]), &policy, &[]).unwrap().len()
    };
    assert_eq!((hosts("consul"), hosts("consul-ui")), (0, 1));
}

#[test]
fn what_comes_from_kubernetes_is_not_sent_back() {
    let (placeholders, policy) = policies().remove(BUILT.len());
    let synced = Endpoint {
        labels: [("external-source", "kubernetes")].into_iter().collect(),
        ..Endpoint::at(Address::parse("10.0.0.1").unwrap(), EndpointPorts::One(80))
    };
    let values: Vec<String> = ["", "dc1", "", "consul"].map(Into::into).into();
    let s = service("web", &placeholders, &values, vec![synced]);
    assert!(made(&s, &policy, &[]).unwrap().is_empty());
}
