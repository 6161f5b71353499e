//! One workload: an object of its own, or an endpoint within a ServiceEntry.

use std::collections::BTreeSet;

use crate::convert::validate::{Release, Verdict, text};
use crate::model::host::check_fqdn;
use crate::proto::networking::WorkloadEntry;

/// What a workload stands in, which decides what its address and its ports may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parent<'a> {
    /// Nothing: an object of its own.
    None,
    /// A ServiceEntry with resolution STATIC and ports of these names.
    Static(&'a BTreeSet<&'a str>),
    /// A ServiceEntry with a DNS resolution and ports of these names.
    Dns(&'a BTreeSet<&'a str>),
}

/// From this release on an address may be absent where a network is named.
const ADDRESS_OPTIONAL: Release = Release::new(1, 20);
const UNIX: &str = "unix://";

/// Checks one workload.
pub(super) fn check(entry: &WorkloadEntry, parent: Parent<'_>, oldest: Release, verdict: &mut Verdict) {
    match parent {
        Parent::Dns(_) => dns_address(&entry.address, verdict),
        Parent::None | Parent::Static(_) => address(entry, parent, oldest, verdict),
    }
    for (name, number) in &entry.ports {
        port(name, *number, parent, verdict);
    }
    labels(entry, verdict);
}

fn address(entry: &WorkloadEntry, parent: Parent<'_>, oldest: Release, verdict: &mut Verdict) {
    let address = entry.address.as_str();
    if address.is_empty() {
        if entry.network.is_empty() || oldest < ADDRESS_OPTIONAL {
            verdict.refuse("endpoint-address-required", "address is required");
        } else {
            let words = format!("address is unset with network {:?}", entry.network);
            verdict.warn("endpoint-address-unset", words);
        }
    } else if let Some(path) = address.strip_prefix(UNIX) {
        unix(path, entry, verdict);
    } else if !text::is_ip(address) {
        if matches!(parent, Parent::Static(_)) {
            let words = format!("endpoint address {address:?} is not a valid IP address");
            verdict.refuse("endpoint-address-ip", words);
        } else {
            dns_address(address, verdict);
        }
    }
}

fn unix(path: &str, entry: &WorkloadEntry, verdict: &mut Verdict) {
    if path.is_empty() {
        verdict.refuse("unix-address-empty", "unix address must not be empty");
    } else if !path.starts_with('@') && (!path.starts_with('/') || path.ends_with('/')) {
        verdict.refuse("unix-address-path", format!("{path:?} is not an absolute path to a file"));
    }
    if !entry.ports.is_empty() {
        let words = format!("unix endpoint {} must not include ports", entry.address);
        verdict.refuse("unix-endpoint-ports", words);
    }
}

fn dns_address(address: &str, verdict: &mut Verdict) {
    if !text::is_ip(address) && check_fqdn(address).is_err() {
        verdict.refuse(
            "endpoint-address-name",
            format!("endpoint address {address:?} is not a valid FQDN or an IP address"),
        );
    }
}

fn port(name: &str, number: u32, parent: Parent<'_>, verdict: &mut Verdict) {
    match parent {
        Parent::Static(known) | Parent::Dns(known) if !known.contains(name) => verdict.refuse(
            "endpoint-port-unknown",
            format!("endpoint port {number} is not defined by the service entry"),
        ),
        Parent::None if !text::is_label(name) => {
            verdict.refuse("port-name", format!("invalid port name: {name:?}"));
        }
        _ => {}
    }
    if !text::is_port(number) {
        verdict.refuse("endpoint-port-range", format!("port number {number} must be in the range 1..65535"));
    }
}

fn labels(entry: &WorkloadEntry, verdict: &mut Verdict) {
    for (key, value) in &entry.labels {
        if let Err(why) = text::label_key(key) {
            verdict.refuse("label-key", format!("invalid tag key: {key:?}{why}"));
        }
        if !text::is_label_value(value) {
            verdict.refuse("label-value", format!("invalid tag value: {value:?}"));
        }
    }
}
