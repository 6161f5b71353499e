//! One test per rule: the rule's name on what breaks it, and its legal neighbour.

use super::*;
use crate::proto::networking::service_entry::{Location, Resolution};
use crate::proto::networking::{ServicePort, WorkloadSelector};
use crate::resource::encoded::{ResourceId, ResourceName, TopologyHash};

const OLDEST: Release = Release::new(1, 9);
const NEWEST: Release = Release::new(1, 31);

/// Every rule that has a test here; `every_rule_has_a_test` compares it with the code.
const TESTED: &str = include_str!("tests.rs");

fn port(number: u32, protocol: &str, name: &str) -> ServicePort {
    ServicePort { number, protocol: protocol.into(), name: name.into(), target_port: 0 }
}

fn workload(address: &str) -> WorkloadEntry {
    WorkloadEntry { address: address.into(), ..WorkloadEntry::default() }
}

fn selector(pairs: &[(&str, &str)]) -> Option<WorkloadSelector> {
    let labels = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    Some(WorkloadSelector { labels })
}

/// A ServiceEntry to which Istio has no objection, at any release.
fn legal() -> ServiceEntry {
    ServiceEntry {
        hosts: vec!["web.example".into()],
        addresses: vec!["244.0.0.1".into()],
        ports: vec![port(80, "HTTP", "http-80")],
        resolution: Resolution::Static as i32,
        endpoints: vec![workload("10.0.0.1")],
        ..ServiceEntry::default()
    }
}

fn dynamic() -> ServiceEntry {
    ServiceEntry {
        hosts: vec!["*.example".into()],
        ports: vec![port(80, "HTTP", "http-80")],
        resolution: Resolution::DynamicDns as i32,
        ..ServiceEntry::default()
    }
}

fn judge(entry: &ServiceEntry, oldest: Release) -> Verdict {
    service_entry(entry, "ns", &Labels::EMPTY, oldest)
}

fn rules(violations: &[Violation]) -> Vec<&'static str> {
    violations.iter().map(|v| v.rule).collect()
}

/// Both start from `base`; `wrong` breaks exactly `rule` with these words in the message, `right` breaks none.
fn refused_from(
    base: fn() -> ServiceEntry,
    rule: &str,
    words: &str,
    wrong: impl Fn(&mut ServiceEntry),
    right: impl Fn(&mut ServiceEntry),
) {
    let (mut bad, mut good) = (base(), base());
    wrong(&mut bad);
    right(&mut good);
    let verdict = judge(&bad, NEWEST);
    assert_eq!(rules(&verdict.refusals), [rule], "{verdict:?}");
    assert!(verdict.refusals[0].message.contains(words), "{verdict:?}");
    assert_eq!(rules(&judge(&good, NEWEST).refusals), [""; 0]);
}

fn refused(rule: &str, words: &str, wrong: impl Fn(&mut ServiceEntry), right: impl Fn(&mut ServiceEntry)) {
    refused_from(legal, rule, words, wrong, right);
}

/// `odd` is taken with a warning, `right` without.
fn warned_from(
    base: fn() -> ServiceEntry,
    rule: &str,
    words: &str,
    odd: impl Fn(&mut ServiceEntry),
    right: impl Fn(&mut ServiceEntry),
) {
    let (mut bad, mut good) = (base(), base());
    odd(&mut bad);
    right(&mut good);
    let verdict = judge(&bad, NEWEST);
    assert_eq!((rules(&verdict.refusals), rules(&verdict.warnings)), (vec![], vec![rule]), "{verdict:?}");
    assert!(verdict.warnings[0].message.contains(words), "{verdict:?}");
    assert_eq!(judge(&good, NEWEST), Verdict::default());
}

fn warned(rule: &str, words: &str, odd: impl Fn(&mut ServiceEntry), right: impl Fn(&mut ServiceEntry)) {
    warned_from(legal, rule, words, odd, right);
}

fn set_dns(e: &mut ServiceEntry) {
    e.resolution = Resolution::Dns as i32;
}

#[test]
fn a_plain_entry_is_accepted_by_every_release() {
    for minor in 1..=31 {
        assert_eq!(judge(&legal(), Release::new(1, minor)), Verdict::default());
    }
}

#[test]
fn selector_keys_must_not_be_empty() {
    let with = |k: &'static str| {
        move |e: &mut ServiceEntry| {
            e.endpoints.clear();
            e.workload_selector = selector(&[(k, "v")]);
        }
    };
    refused("selector-empty-key", "empty key is not supported in selector: \"=v\"", with(""), with("k"));
}

#[test]
fn selectors_hold_no_wildcard() {
    let with = |v: &'static str| {
        move |e: &mut ServiceEntry| {
            e.endpoints.clear();
            e.workload_selector = selector(&[("k", v)]);
        }
    };
    refused("selector-wildcard", "wildcard is not supported in selector: \"k=v*\"", with("v*"), with("v"));
}

#[test]
fn a_selector_without_labels_is_a_warning() {
    let with = |pairs: &'static [(&str, &str)]| {
        move |e: &mut ServiceEntry| {
            e.endpoints.clear();
            e.workload_selector = selector(pairs);
        }
    };
    warned("selector-without-labels", "will be applied to all services", with(&[]), with(&[("k", "v")]));
}

#[test]
fn a_selector_and_endpoints_exclude_each_other() {
    let with = |endpoints: bool| {
        move |e: &mut ServiceEntry| {
            e.workload_selector = selector(&[("k", "v")]);
            if !endpoints {
                e.endpoints.clear();
            }
        }
    };
    refused("selector-and-endpoints", "only one of WorkloadSelector or Endpoints", with(true), with(false));
}

#[test]
fn an_entry_has_a_host() {
    refused("hosts-required", "service entry must have at least one host", |e| e.hosts.clear(), |_| {});
}

#[test]
fn a_host_is_not_a_bare_star() {
    let with = |h: &'static str| move |e: &mut ServiceEntry| e.hosts = vec![h.into()];
    refused("host-star", "invalid host *", with("*"), with("*.x"));
}

#[test]
fn a_host_is_a_dns_name() {
    let with = |h: String| move |e: &mut ServiceEntry| e.hosts = vec![h.clone()];
    let label = |n: usize| "a".repeat(n) + ".x";
    refused("host", "empty domain name not allowed", with(String::new()), with("x".into()));
    refused("host", "(label \"a_b\" invalid)", with("a_b.x".into()), with("a-b.x".into()));
    refused("host", "invalid (label", with(label(64)), with(label(63)));
    refused("host", "cannot be all-numeric", with("10.0.0.1".into()), with("10.0.0.1x".into()));
    refused("host", "(label \"*\" invalid)", with("a.*.x".into()), with("*.a.x.".into()));
    let long = |n: usize| ["abcdefg"; 31].join(".") + "." + &"a".repeat(n);
    refused("host", "too long (max 255)", with(long(8)), with(long(7)));
}

#[test]
fn a_partial_wildcard_is_a_warning() {
    let with = |h: &'static str| move |e: &mut ServiceEntry| e.hosts = vec![h.into()];
    warned("host-partial-wildcard", "partial wildcard \"*-a.x\"", with("*-a.x"), with("*.a.x"));
    warned_from(
        dynamic,
        "host-partial-wildcard",
        "",
        |e| {
            *e = {
                let mut l = legal();
                with("*a.x")(&mut l);
                l
            }
        },
        with("*a.x"),
    );
}

#[test]
fn an_address_is_an_ip_or_a_range() {
    let with = |a: &'static str| move |e: &mut ServiceEntry| e.addresses = vec![a.into()];
    refused("address", "web is not a valid IP", with("web"), with("2001:db8::1"));
    refused("address", "10.0.0.0/33 is not a valid CIDR block", with("10.0.0.0/33"), with("10.0.0.0/32"));
}

#[test]
fn ranges_need_static_or_no_resolution() {
    let with = |r: Resolution| {
        move |e: &mut ServiceEntry| {
            e.addresses = vec!["10.0.0.0/8".into()];
            e.resolution = r as i32;
        }
    };
    refused("address-range-resolution", "CIDR addresses", with(Resolution::Dns), with(Resolution::Static));
}

#[test]
fn port_names_are_unique() {
    let with = |n: &'static str| move |e: &mut ServiceEntry| e.ports.push(port(81, "HTTP", n));
    refused(
        "port-name-duplicate",
        "service entry port name \"http-80\" already defined",
        with("http-80"),
        with("b"),
    );
}

#[test]
fn port_numbers_are_unique() {
    let with = |n: u32| move |e: &mut ServiceEntry| e.ports.push(port(n, "HTTP", "b"));
    refused("port-number-duplicate", "service entry port 80 already defined", with(80), with(81));
}

#[test]
fn a_port_is_in_range() {
    let with = |n: u32| move |e: &mut ServiceEntry| e.ports[0].number = n;
    refused("port-range", "port number 0 must be in the range 1..65535", with(0), with(1));
    refused("port-range", "port number 65536 must", with(65_536), with(65_535));
}

#[test]
fn a_target_port_is_in_range() {
    let with = |n: u32| move |e: &mut ServiceEntry| e.ports[0].target_port = n;
    refused("target-port-range", "port number 65536 must", with(65_536), with(65_535));
    refused("target-port-range", "port number 70000 must", with(70_000), with(0));
}

#[test]
fn a_port_name_is_a_label() {
    let with = |n: String| move |e: &mut ServiceEntry| e.ports[0].name = n.clone();
    refused("port-name", "invalid port name: \"\"", with(String::new()), with("a".into()));
    refused("port-name", "invalid port name: \"a_b\"", with("a_b".into()), with("A-b".into()));
    refused("port-name", "invalid port name", with("a".repeat(64)), with("a".repeat(63)));
    assert_eq!(rules(&workload_entry(&with_port("a.b", 1), &Labels::EMPTY, NEWEST).refusals), ["port-name"]);
    assert!(workload_entry(&with_port("a-b", 1), &Labels::EMPTY, NEWEST).is_accepted());
}

fn with_port(name: &str, number: u32) -> WorkloadEntry {
    let mut w = workload("10.0.0.1");
    w.ports.insert(name.into(), number);
    w
}

#[test]
fn a_protocol_is_one_that_istio_knows() {
    let with = |p: &'static str| move |e: &mut ServiceEntry| e.ports[0].protocol = p.into();
    refused("port-protocol", "unsupported protocol: SCTP", with("SCTP"), with("grpc-Web"));
    refused("port-protocol", "unsupported protocol: auto", with("auto"), with(""));
    for known in "tcp udp grpc grpc-web http http_proxy http2 https tls mongo redis mysql".split(' ') {
        let mut e = legal();
        e.ports[0].protocol = known.into();
        assert!(judge(&e, NEWEST).is_accepted(), "{known}");
    }
}

#[test]
fn tcp_without_an_address_is_a_warning() {
    let with = |p: &'static str, addresses: bool| {
        move |e: &mut ServiceEntry| {
            e.ports[0].protocol = p.into();
            if !addresses {
                e.addresses.clear();
            }
        }
    };
    warned("tcp-without-addresses", "addresses are required", with("TCP", false), with("HTTP", false));
    warned("tcp-without-addresses", "(or unset)", with("", false), with("", true));
}

#[test]
fn resolution_none_has_no_endpoints() {
    let with = |endpoints: bool| {
        move |e: &mut ServiceEntry| {
            e.resolution = Resolution::None as i32;
            if !endpoints {
                e.endpoints.clear();
            }
        }
    };
    refused("none-endpoints", "no endpoints should be provided", with(true), with(false));
}

#[test]
fn resolution_none_with_a_selector_is_a_warning() {
    let with = |r: Resolution| {
        move |e: &mut ServiceEntry| {
            e.resolution = r as i32;
            e.endpoints.clear();
            e.workload_selector = selector(&[("k", "v")]);
        }
    };
    warned(
        "none-selector",
        "should not be set when resolution mode is NONE",
        with(Resolution::None),
        with(Resolution::Static),
    );
}

#[test]
fn an_endpoint_has_an_address_or_a_network() {
    let with = |network: &'static str| {
        move |e: &mut ServiceEntry| {
            e.endpoints = vec![WorkloadEntry { network: network.into(), ..workload("") }]
        }
    };
    refused("endpoint-address-required", "address is required", with(""), with("n"));
    warned("endpoint-address-unset", "address is unset with network \"n\"", with("n"), |_| {});
    let mut e = legal();
    with("n")(&mut e);
    assert_eq!(rules(&judge(&e, Release::new(1, 19)).refusals), ["endpoint-address-required"]);
    assert!(judge(&e, Release::new(1, 20)).is_accepted());
}

#[test]
fn a_static_endpoint_is_an_ip() {
    let with = |a: &'static str| move |e: &mut ServiceEntry| e.endpoints = vec![workload(a)];
    refused(
        "endpoint-address-ip",
        "endpoint address \"a.example\" is not a valid IP address",
        with("a.example"),
        with("::1"),
    );
}

#[test]
fn a_unix_address_is_not_empty() {
    let with = |a: &'static str| move |e: &mut ServiceEntry| e.endpoints = vec![workload(a)];
    refused("unix-address-empty", "unix address must not be empty", with("unix://"), with("unix:///x"));
}

#[test]
fn a_unix_address_is_an_absolute_file() {
    let with = |a: &'static str| move |e: &mut ServiceEntry| e.endpoints = vec![workload(a)];
    refused("unix-address-path", "is not an absolute path to a file", with("unix://x"), with("unix://@x"));
    refused("unix-address-path", "is not an absolute path to a file", with("unix:///x/"), with("unix:///x"));
}

#[test]
fn a_unix_endpoint_has_no_ports() {
    let with = |ports: bool| {
        move |e: &mut ServiceEntry| {
            e.endpoints = vec![workload("unix:///x")];
            if ports {
                e.endpoints[0].ports.insert("http-80".into(), 1);
            }
        }
    };
    refused("unix-endpoint-ports", "must not include ports", with(true), with(false));
}

#[test]
fn a_unix_endpoint_needs_one_service_port() {
    let with = |more: bool| {
        move |e: &mut ServiceEntry| {
            e.endpoints = vec![workload("unix:///x")];
            if more {
                e.ports.push(port(81, "HTTP", "b"));
            }
        }
    };
    refused("unix-endpoint-one-port", "exactly 1 service port required", with(true), with(false));
}

#[test]
fn endpoint_ports_are_ports_of_the_service() {
    let with = |n: &'static str| move |e: &mut ServiceEntry| e.endpoints = vec![with_port(n, 7)];
    refused(
        "endpoint-port-unknown",
        "endpoint port 7 is not defined by the service entry",
        with("x"),
        with("http-80"),
    );
    let dns = |n: &'static str| {
        move |e: &mut ServiceEntry| {
            set_dns(e);
            with(n)(e);
        }
    };
    refused("endpoint-port-unknown", "endpoint port 7", dns("x"), dns("http-80"));
}

#[test]
fn an_endpoint_port_is_in_range() {
    let with = |n: u32| move |e: &mut ServiceEntry| e.endpoints = vec![with_port("http-80", n)];
    refused("endpoint-port-range", "port number 0 must be in the range", with(0), with(1));
    refused("endpoint-port-range", "port number 65536 must", with(65_536), with(65_535));
}

#[test]
fn dns_without_endpoints_needs_names_that_resolve() {
    let with = |h: &'static str| {
        move |e: &mut ServiceEntry| {
            set_dns(e);
            e.endpoints.clear();
            e.hosts = vec![h.into()];
        }
    };
    refused("dns-host", "hosts must be FQDN", with("*.example"), with("a.example"));
}

#[test]
fn round_robin_dns_has_one_endpoint_at_most() {
    let with = |n: usize| {
        move |e: &mut ServiceEntry| {
            e.resolution = Resolution::DnsRoundRobin as i32;
            e.endpoints = vec![workload("a.example"); n];
        }
    };
    refused("dns-round-robin-endpoints", "there must only be 0 or 1 endpoint", with(2), with(1));
}

#[test]
fn a_dns_endpoint_is_a_name_or_an_ip() {
    let with = |a: &'static str| {
        move |e: &mut ServiceEntry| {
            set_dns(e);
            e.endpoints = vec![workload(a)];
        }
    };
    let words = "is not a valid FQDN or an IP address";
    refused("endpoint-address-name", words, with("a_b"), with("a-b"));
    refused("endpoint-address-name", words, with("unix:///x"), with("10.0.0.1"));
    assert_eq!(
        rules(&workload_entry(&workload("*.x"), &Labels::EMPTY, NEWEST).refusals),
        ["endpoint-address-name"]
    );
    assert!(workload_entry(&workload("a.x"), &Labels::EMPTY, NEWEST).is_accepted());
}

#[test]
fn a_label_key_is_a_prefix_and_a_name() {
    let with = |k: String| {
        move |e: &mut ServiceEntry| {
            e.endpoints[0].labels.insert(k.clone(), "v".into());
        }
    };
    let prefix = |n: usize| ["abcdefg"; 31].join(".") + &"a".repeat(n) + "/k";
    refused("label-key", "invalid tag key: \"a b\"", with("a b".into()), with("a_b".into()));
    refused("label-key", "invalid tag key", with("-a".into()), with("x.y/a.b".into()));
    refused("label-key", "invalid tag key", with(String::new()), with("a".into()));
    refused("label-key", "(name is too long)", with("a".repeat(64)), with("a".repeat(63)));
    refused("label-key", "(DNS prefix is too long)", with(prefix(7)), with(prefix(6)));
}

#[test]
fn a_label_value_is_plain_or_empty() {
    let with = |v: String| {
        move |e: &mut ServiceEntry| {
            e.endpoints[0].labels.insert("k".into(), v.clone());
        }
    };
    refused("label-value", "invalid tag value: \"a b\"", with("a b".into()), with(String::new()));
    refused("label-value", "invalid tag value: \"a-\"", with("a-".into()), with("a".repeat(70)));
}

#[test]
fn several_dns_hosts_with_an_address_and_tcp_are_a_warning() {
    let with = |hosts: &'static [&str]| {
        move |e: &mut ServiceEntry| {
            set_dns(e);
            e.hosts = hosts.iter().map(ToString::to_string).collect();
            e.ports[0].protocol = "TCP".into();
        }
    };
    let mut e = legal();
    with(&["a.x", "b.x"])(&mut e);
    assert_eq!(rules(&judge(&e, NEWEST).warnings), ["dns-hosts-with-tcp-address"]);
    let mut e = legal();
    with(&["a.x"])(&mut e);
    assert_eq!(judge(&e, NEWEST), Verdict::default());
}

#[test]
fn dynamic_dns_needs_a_host() {
    let mut e = dynamic();
    e.hosts.clear();
    assert_eq!(rules(&judge(&e, NEWEST).refusals), ["hosts-required", "dynamic-dns-host-required"]);
    assert_eq!(judge(&dynamic(), NEWEST), Verdict::default());
}

#[test]
fn dynamic_dns_needs_wildcards() {
    let with = |h: &'static str| move |e: &mut ServiceEntry| e.hosts = vec![h.into()];
    refused_from(dynamic, "dynamic-dns-host", "host must be wildcarded", with("a.x"), with("*.a.x"));
}

#[test]
fn dynamic_dns_has_no_addresses() {
    let wrong = |e: &mut ServiceEntry| e.addresses = vec!["10.0.0.1".into()];
    refused_from(dynamic, "dynamic-dns-addresses", "addresses cannot be set", wrong, |_| {});
}

#[test]
fn dynamic_dns_has_no_endpoints() {
    let wrong = |e: &mut ServiceEntry| e.endpoints = vec![workload("10.0.0.1")];
    refused_from(dynamic, "dynamic-dns-endpoints", "endpoints cannot be set", wrong, |_| {});
}

#[test]
fn dynamic_dns_takes_more_protocols_with_every_release() {
    let with = |p: &'static str| move |e: &mut ServiceEntry| e.ports[0].protocol = p.into();
    refused_from(
        dynamic,
        "dynamic-dns-protocol",
        "only HTTP, TLS, GRPC, and HTTP2",
        with("TCP"),
        with("GRPC"),
    );
    for (protocol, since) in [("HTTP", 28), ("TLS", 29), ("GRPC", 30), ("HTTP2", 30)] {
        let mut e = dynamic();
        e.ports[0].protocol = protocol.into();
        assert!(judge(&e, Release::new(1, since)).is_accepted(), "{protocol}");
        if since > 28 {
            let older = judge(&e, Release::new(1, since - 1));
            assert_eq!(rules(&older.refusals), ["dynamic-dns-protocol"]);
        }
    }
}

#[test]
fn dynamic_dns_is_external_before_1_30() {
    let wrong = |e: &mut ServiceEntry| e.location = 7;
    refused_from(dynamic, "dynamic-dns-location", "location must be MESH_EXTERNAL or", wrong, |_| {});
    let internal = |e: &mut ServiceEntry| e.location = Location::MeshInternal as i32;
    warned_from(dynamic, "dynamic-dns-internal", "not supported when using waypoints", internal, |_| {});
    let mut e = dynamic();
    internal(&mut e);
    assert_eq!(rules(&judge(&e, Release::new(1, 29)).refusals), ["dynamic-dns-location"]);
}

#[test]
fn a_resolution_is_one_that_the_oldest_release_knows() {
    let with = |r: i32| move |e: &mut ServiceEntry| e.resolution = r;
    refused("resolution", "unsupported resolution type", with(9), with(Resolution::DnsRoundRobin as i32));
    for (mut e, resolution, since) in
        [(legal(), Resolution::DnsRoundRobin, 12), (dynamic(), Resolution::DynamicDns, 28)]
    {
        e.resolution = resolution as i32;
        assert!(judge(&e, Release::new(1, since)).is_accepted());
        assert_eq!(rules(&judge(&e, Release::new(1, since - 1)).refusals), ["resolution"]);
    }
}

#[test]
fn several_hosts_need_a_protocol_that_tells_them_apart() {
    let with = |p: &'static str| {
        move |e: &mut ServiceEntry| {
            e.hosts.push("b.example".into());
            e.ports[0].protocol = p.into();
        }
    };
    refused(
        "hosts-not-told-apart",
        "multiple hosts provided with non-HTTP, non-TLS ports",
        with("TCP"),
        with("TLS"),
    );
    refused("hosts-not-told-apart", "multiple hosts", with(""), with("GRPC"));
    refused("hosts-not-told-apart", "multiple hosts", with("mongo"), |e| {
        with("mongo")(e);
        e.resolution = Resolution::None as i32;
        e.endpoints.clear();
    });
}

fn export(list: &'static [&str]) -> impl Fn(&mut ServiceEntry) {
    move |e: &mut ServiceEntry| e.export_to = list.iter().map(ToString::to_string).collect()
}

#[test]
fn export_to_has_no_duplicates() {
    let rule = "export-to-duplicate";
    refused(rule, "duplicate entries in exportTo for entry a", export(&["a", "a"]), export(&["a", "b"]));
    refused(
        rule,
        "duplicate entries in exportTo: . and current namespace ns",
        export(&["ns", "."]),
        export(&["x", "."]),
    );
}

#[test]
fn an_export_to_entry_is_a_namespace_or_a_sign() {
    refused("export-to-entry", "only .,*, or a valid DNS 1123 label", export(&["a.b"]), export(&["a-b"]));
}

#[test]
fn public_excludes_everything_else_in_export_to() {
    refused("export-to-public", "cannot have both public (*)", export(&["*", "a"]), export(&["*"]));
}

#[test]
fn nobody_excludes_everybody_in_export_to() {
    refused("export-to-nobody", "no one (~) and someone", export(&["~", "a"]), export(&["~"]));
}

fn annotated(key: &'static str) -> Labels {
    std::iter::once((key, "true")).collect()
}

#[test]
fn dry_run_is_refused() {
    let verdict = service_entry(&legal(), "ns", &annotated("istio.io/dry-run"), NEWEST);
    assert_eq!(rules(&verdict.refusals), ["dry-run-annotation"]);
    assert!(service_entry(&legal(), "ns", &annotated("example/dry-run"), NEWEST).is_accepted());
}

#[test]
fn the_annotation_that_rejects_always_rejects() {
    let verdict =
        service_entry(&legal(), "ns", &annotated("internal.istio.io/webhook-always-reject"), NEWEST);
    assert_eq!(rules(&verdict.refusals), ["always-reject-annotation"]);
    assert!(service_entry(&legal(), "ns", &annotated("webhook-always-reject"), NEWEST).is_accepted());
}

#[test]
fn istios_own_annotations_are_refused() {
    for key in ["internal.istio.io/parents", "internal.istio.io/parent-namespace"] {
        let verdict = workload_entry(&workload("10.0.0.1"), &annotated(key), NEWEST);
        assert_eq!(rules(&verdict.refusals), ["reserved-annotation"]);
    }
    assert!(workload_entry(&workload("10.0.0.1"), &annotated("parents"), NEWEST).is_accepted());
}

#[test]
fn health_checks_that_nobody_can_report_are_a_warning() {
    let verdict =
        workload_entry(&workload("10.0.0.1"), &annotated("proxy.istio.io/health-checks-enabled"), NEWEST);
    assert_eq!(rules(&verdict.warnings), ["health-checks-without-status"]);
    let off = std::iter::once(("proxy.istio.io/health-checks-enabled", "false")).collect();
    assert_eq!(workload_entry(&workload("10.0.0.1"), &off, NEWEST), Verdict::default());
}

fn encoded(collection: Collection, name: &str, labels: Labels, body: Vec<u8>) -> Encoded {
    let (ns, name) = name.split_once('/').unwrap_or(("", name));
    let id = ResourceId { collection, name: ResourceName::new(ns, name) };
    Encoded::new(id, labels, Labels::EMPTY, body.into(), TopologyHash::default())
}

#[test]
fn a_name_has_exactly_one_slash() {
    for (name, ok) in [("ns/web", true), ("ns/a/b", false), ("/web", false), ("ns/", false)] {
        let resource = encoded(Collection::ServiceEntry, name, Labels::EMPTY, legal().encode_to_vec());
        let verdict = check(&resource, OLDEST);
        assert_eq!(rules(&verdict.refusals), if ok { vec![] } else { vec!["resource-name"] }, "{name}");
    }
}

#[test]
fn a_body_is_of_its_kind() {
    for (kind, words) in
        [(Collection::ServiceEntry, "service entry"), (Collection::WorkloadEntry, "workload entry")]
    {
        let resource = encoded(kind, "ns/web", Labels::EMPTY, vec![0xff, 0xff]);
        let verdict = check(&resource, OLDEST);
        assert_eq!(rules(&verdict.refusals), ["body-type"]);
        assert_eq!(verdict.refusals[0].message, format!("cannot cast to {words}"));
    }
    let good =
        encoded(Collection::WorkloadEntry, "ns/web", Labels::EMPTY, workload("10.0.0.1").encode_to_vec());
    assert_eq!(check(&good, OLDEST), Verdict::default());
}

#[test]
fn a_revision_label_is_a_warning() {
    let labels = std::iter::once(("istio.io/rev", "canary")).collect();
    let resource = encoded(Collection::ServiceEntry, "ns/web", labels, legal().encode_to_vec());
    assert_eq!(rules(&check(&resource, OLDEST).warnings), ["revision-label"]);
}

#[test]
fn a_violation_names_its_rule_first() {
    let v = Violation { rule: "port-range", message: "port number 0".into() };
    assert_eq!(v.to_string(), "port-range: port number 0");
}

#[test]
fn releases_are_ordered_by_number() {
    let read = |s: &str| s.parse::<Release>();
    assert!(read("1.9").unwrap() < read("1.10").unwrap());
    assert_eq!(read("1.22.8").unwrap(), Release::new(1, 22));
    assert_eq!(read("1.9").unwrap().to_string(), "1.9");
    for bad in ["", "1", "1.x", "v1.9", "1.9.x", "1.-1"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_rule_has_a_test() {
    let sources = [
        include_str!("service_entry.rs"),
        include_str!("workload_entry.rs"),
        include_str!("visibility.rs"),
        include_str!("metadata.rs"),
    ];
    let mut found = 0;
    for call in sources
        .iter()
        .flat_map(|s| s.split("verdict.refuse(").skip(1).chain(s.split("verdict.warn(").skip(1)))
    {
        let rule = call.split('"').nth(1).unwrap();
        assert!(TESTED.contains(&format!("{rule:?}")), "{rule}");
        found += 1;
    }
    assert!(found > 45, "{found}");
}
