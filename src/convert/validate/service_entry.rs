//! A ServiceEntry as a whole.

use std::collections::BTreeSet;

use crate::convert::validate::workload_entry::{self, Parent};
use crate::convert::validate::{Release, Verdict, text, visibility};
use crate::model::host::{check_fqdn, check_wildcard_name};
use crate::model::service::Protocol;
use crate::proto::networking::ServiceEntry;
use crate::proto::networking::service_entry::{Location, Resolution};

/// Validated from this release on.
const DNS_ROUND_ROBIN: Release = Release::new(1, 12);
/// Validated from this release on.
const DYNAMIC_DNS: Release = Release::new(1, 28);

/// Checks everything but annotations.
pub(super) fn check(entry: &ServiceEntry, namespace: &str, oldest: Release, verdict: &mut Verdict) {
    selector(entry, verdict);
    hosts(entry, verdict);
    addresses(entry, verdict);
    ports(entry, verdict);
    resolution(entry, oldest, verdict);
    told_apart(entry, verdict);
    visibility::check(&entry.export_to, namespace, verdict);
}

fn is(entry: &ServiceEntry, resolution: Resolution) -> bool {
    entry.resolution == resolution as i32
}

fn selector(entry: &ServiceEntry, verdict: &mut Verdict) {
    let Some(selector) = &entry.workload_selector else { return };
    for (key, value) in &selector.labels {
        let pair = format!("{key}={value}");
        if key.is_empty() {
            verdict.refuse("selector-empty-key", format!("empty key is not supported in selector: {pair:?}"));
        }
        if pair.contains('*') {
            verdict.refuse("selector-wildcard", format!("wildcard is not supported in selector: {pair:?}"));
        }
    }
    if selector.labels.is_empty() {
        verdict.warn(
            "selector-without-labels",
            "service entry: workload selector specified without labels, will be applied to all services in namespace",
        );
    }
    if !entry.endpoints.is_empty() {
        verdict.refuse(
            "selector-and-endpoints",
            "only one of WorkloadSelector or Endpoints is allowed in Service Entry",
        );
    }
}

fn hosts(entry: &ServiceEntry, verdict: &mut Verdict) {
    if entry.hosts.is_empty() {
        verdict.refuse("hosts-required", "service entry must have at least one host");
    }
    for host in &entry.hosts {
        if host == "*" {
            verdict.refuse("host-star", "invalid host *");
            continue;
        }
        if let Err(e) = check_wildcard_name(host) {
            verdict.refuse("host", e.to_string());
        }
        if host.contains('*') && !host.starts_with("*.") && !is(entry, Resolution::DynamicDns) {
            verdict.warn("host-partial-wildcard", format!("partial wildcard {host:?} not allowed"));
        }
    }
}

fn addresses(entry: &ServiceEntry, verdict: &mut Verdict) {
    for address in &entry.addresses {
        if let Err(words) = text::subnet(address) {
            verdict.refuse("address", words);
        }
    }
    let ranges = entry.addresses.iter().any(|a| a.contains('/'));
    if ranges && !is(entry, Resolution::None) && !is(entry, Resolution::Static) {
        verdict.refuse(
            "address-range-resolution",
            "CIDR addresses are allowed only for NONE/STATIC resolution types",
        );
    }
}

fn ports(entry: &ServiceEntry, verdict: &mut Verdict) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for port in &entry.ports {
        if !names.insert(port.name.as_str()) {
            let words = format!("service entry port name {:?} already defined", port.name);
            verdict.refuse("port-name-duplicate", words);
        }
        if !numbers.insert(port.number) {
            let words = format!("service entry port {} already defined", port.number);
            verdict.refuse("port-number-duplicate", words);
        }
        if port.target_port != 0 && !text::is_port(port.target_port) {
            let words = format!("port number {} must be in the range 1..65535", port.target_port);
            verdict.refuse("target-port-range", words);
        }
        if !text::is_label(&port.name) {
            verdict.refuse("port-name", format!("invalid port name: {:?}", port.name));
        }
        if text::protocol(&port.protocol).is_none() {
            verdict.refuse("port-protocol", format!("unsupported protocol: {}", port.protocol));
        }
        if !text::is_port(port.number) {
            let words = format!("port number {} must be in the range 1..65535", port.number);
            verdict.refuse("port-range", words);
        }
    }
    let opaque = |p: &str| matches!(text::protocol(p), Some(Protocol::Tcp | Protocol::Auto));
    if entry.addresses.is_empty() && entry.ports.iter().any(|p| opaque(&p.protocol)) {
        verdict.warn(
            "tcp-without-addresses",
            "addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled",
        );
    }
}

fn resolution(entry: &ServiceEntry, oldest: Release, verdict: &mut Verdict) {
    let unsupported =
        |since: Release, name: &str| format!("unsupported resolution type {name} (before {since})");
    match Resolution::try_from(entry.resolution) {
        Ok(Resolution::None) => none(entry, verdict),
        Ok(Resolution::Static) => fixed(entry, oldest, verdict),
        Ok(Resolution::Dns) => dns(entry, oldest, verdict),
        Ok(Resolution::DnsRoundRobin) if oldest >= DNS_ROUND_ROBIN => dns(entry, oldest, verdict),
        Ok(Resolution::DynamicDns) if oldest >= DYNAMIC_DNS => dynamic(entry, oldest, verdict),
        Ok(Resolution::DnsRoundRobin) => {
            verdict.refuse("resolution", unsupported(DNS_ROUND_ROBIN, "DNS_ROUND_ROBIN"));
        }
        Ok(Resolution::DynamicDns) => verdict.refuse("resolution", unsupported(DYNAMIC_DNS, "DYNAMIC_DNS")),
        Err(_) => verdict.refuse("resolution", "unsupported resolution type "),
    }
}

fn none(entry: &ServiceEntry, verdict: &mut Verdict) {
    if !entry.endpoints.is_empty() {
        verdict.refuse("none-endpoints", "no endpoints should be provided for resolution type none");
    }
    if entry.workload_selector.is_some() {
        verdict.warn("none-selector", "workloadSelector should not be set when resolution mode is NONE");
    }
}

fn fixed(entry: &ServiceEntry, oldest: Release, verdict: &mut Verdict) {
    let names = port_names(entry);
    for endpoint in &entry.endpoints {
        workload_entry::check(endpoint, Parent::Static(&names), oldest, verdict);
    }
    if entry.ports.len() != 1 && entry.endpoints.iter().any(|e| e.address.starts_with("unix://")) {
        verdict.refuse("unix-endpoint-one-port", "exactly 1 service port required for unix endpoints");
    }
}

fn dns(entry: &ServiceEntry, oldest: Release, verdict: &mut Verdict) {
    if entry.endpoints.is_empty() {
        for e in entry.hosts.iter().filter_map(|h| check_fqdn(h).err()) {
            verdict.refuse(
                "dns-host",
                format!(
                    "hosts must be FQDN or contain only prefix wildcards if no endpoints are provided for resolution mode DNS, {e}"
                ),
            );
        }
    }
    if is(entry, Resolution::DnsRoundRobin) && entry.endpoints.len() > 1 {
        verdict.refuse(
            "dns-round-robin-endpoints",
            "there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN",
        );
    }
    let names = port_names(entry);
    for endpoint in &entry.endpoints {
        workload_entry::check(endpoint, Parent::Dns(&names), oldest, verdict);
    }
    let tcp = entry.ports.iter().any(|p| text::protocol(&p.protocol) == Some(Protocol::Tcp));
    if tcp && !entry.addresses.is_empty() && entry.hosts.len() > 1 {
        verdict.warn(
            "dns-hosts-with-tcp-address",
            "service entry can not have more than one host specified simultaneously with address and tcp port",
        );
    }
}

fn dynamic(entry: &ServiceEntry, oldest: Release, verdict: &mut Verdict) {
    if entry.hosts.is_empty() {
        verdict.refuse(
            "dynamic-dns-host-required",
            "at least one wildcard host must be provided for resolution type DYNAMIC_DNS",
        );
    }
    if entry.hosts.iter().any(|h| !h.starts_with('*')) {
        verdict.refuse("dynamic-dns-host", "host must be wildcarded for resolution mode DYNAMIC_DNS");
    }
    if !entry.addresses.is_empty() {
        verdict.refuse(
            "dynamic-dns-addresses",
            "addresses cannot be set for resolution type DYNAMIC_DNS. \
             HTTP route domains will only be generated from the hosts field values",
        );
    }
    if !entry.endpoints.is_empty() {
        verdict.refuse(
            "dynamic-dns-endpoints",
            "endpoints cannot be set for resolution type DYNAMIC_DNS. \
             Destination IP address determined from hosts field values",
        );
    }
    dynamic_protocols(entry, oldest, verdict);
    match Location::try_from(entry.location) {
        Ok(Location::MeshExternal) => {}
        Ok(Location::MeshInternal) if oldest >= Release::new(1, 30) => verdict.warn(
            "dynamic-dns-internal",
            "location MESH_INTERNAL with resolution type DYNAMIC_DNS is not supported when using waypoints",
        ),
        Ok(Location::MeshInternal) => verdict.refuse(
            "dynamic-dns-location",
            "location must be MESH_EXTERNAL for resolution type DYNAMIC_DNS (before 1.30)",
        ),
        Err(_) => verdict.refuse(
            "dynamic-dns-location",
            "location must be MESH_EXTERNAL or MESH_INTERNAL for resolution type DYNAMIC_DNS",
        ),
    }
}

/// The list grew with the releases.
fn dynamic_protocols(entry: &ServiceEntry, oldest: Release, verdict: &mut Verdict) {
    use Protocol::{Grpc, Http, Http2, Tls};
    let (known, words): (&[Protocol], _) = if oldest >= Release::new(1, 30) {
        (&[Http, Tls, Grpc, Http2], "HTTP, TLS, GRPC, and HTTP2 protocols are")
    } else if oldest >= Release::new(1, 29) {
        (&[Http, Tls], "HTTP and TLS protocols are")
    } else {
        (&[Http], "HTTP protocol is")
    };
    let fits = |p: &str| text::protocol(p).is_some_and(|p| known.contains(&p));
    if !entry.ports.iter().all(|p| fits(&p.protocol)) {
        verdict.refuse(
            "dynamic-dns-protocol",
            format!("only {words} supported for resolution type DYNAMIC_DNS"),
        );
    }
}

/// Only HTTP and TLS say which of several hosts is meant.
fn told_apart(entry: &ServiceEntry, verdict: &mut Verdict) {
    let named = |p: &str| text::protocol(p).is_some_and(|p| p.is_http() || p.is_tls());
    if entry.hosts.len() > 1
        && !is(entry, Resolution::None)
        && !entry.ports.iter().all(|p| named(&p.protocol))
    {
        verdict.refuse("hosts-not-told-apart", "multiple hosts provided with non-HTTP, non-TLS ports");
    }
}

fn port_names(entry: &ServiceEntry) -> BTreeSet<&str> {
    entry.ports.iter().map(|p| p.name.as_str()).collect()
}
