//! The shapes of single strings. Istio's labels may hold capitals, other than Kubernetes'.

use ipnet::IpNet;

use crate::model::host::MAX_LABEL;
use crate::model::service::Protocol;

/// The longest DNS prefix of a label's key.
const MAX_PREFIX: usize = 253;

/// Istio's DNS-1123 label: letters of either case, digits, inner hyphens.
pub(super) fn is_label(s: &str) -> bool {
    s.len() <= MAX_LABEL
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && begins_and_ends_alphanumeric(s)
}

fn begins_and_ends_alphanumeric(s: &str) -> bool {
    let ok = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    ok(s.bytes().next()) && ok(s.bytes().next_back())
}

/// `[A-Za-z0-9]`, inside also `-_.`; of any length.
fn is_qualified(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && begins_and_ends_alphanumeric(s)
}

/// Why `key` cannot be the key of a label: nothing, or what Istio appends to its message.
pub(super) fn label_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    if !is_qualified(name) || prefix.is_some_and(|p| !p.split('.').all(is_long_label)) {
        return Err("");
    }
    if prefix.is_some_and(|p| p.len() > MAX_PREFIX) {
        return Err(" (DNS prefix is too long)");
    }
    if name.len() > MAX_LABEL { Err(" (name is too long)") } else { Ok(()) }
}

/// A label of a key's prefix, whose length Istio checks only as a whole.
fn is_long_label(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && begins_and_ends_alphanumeric(s)
}

/// Whether `value` can be the value of a label; Istio does not look at its length.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_qualified(value)
}

/// Whether `n` is a port that something can listen on.
pub(super) fn is_port(n: u32) -> bool {
    (1..=65_535).contains(&n)
}

/// A port's protocol; `None`: Istio knows no such protocol. (`auto` is a word of ours.)
pub(super) fn protocol(name: &str) -> Option<Protocol> {
    if name.eq_ignore_ascii_case("auto") { None } else { Protocol::parse(name) }
}

/// Istio's message if `address` is neither an IP nor, where it has a slash, a range.
pub(super) fn subnet(address: &str) -> Result<(), String> {
    if address.contains('/') {
        let parsed = address.parse::<IpNet>().map(|_| ());
        parsed.map_err(|_| format!("{address} is not a valid CIDR block"))
    } else {
        is_ip(address).then_some(()).ok_or_else(|| format!("{address} is not a valid IP"))
    }
}

/// Whether it is an IP and nothing else.
pub(super) fn is_ip(s: &str) -> bool {
    s.parse::<std::net::IpAddr>().is_ok()
}
