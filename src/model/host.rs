//! The names under which a mesh calls services, and the DNS rules that Istio holds them to.

use std::sync::Arc;

/// RFC 1035's limit, which Istio checks.
const MAX_HOST: usize = 255;
/// RFC 1123's limit for one label of a name.
pub const MAX_LABEL: usize = 63;

/// A host as Istio accepts it: lower case, legal labels, possibly a wildcard in the first one. Never `*` alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Arc<str>);

/// Why a string is no host; worded as Istio words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing at all.
    #[error("empty domain name not allowed")]
    Empty,
    /// Everything.
    #[error("invalid host *")]
    Star,
    /// Longer than DNS carries.
    #[error("domain name {0:?} too long (max 255)")]
    TooLong(String),
    /// A label that DNS does not allow.
    #[error("domain name {name:?} invalid (label {label:?} invalid)")]
    Label {
        /// The whole name.
        name: String,
        /// The label at fault.
        label: String,
    },
    /// A bare IPv4 address, or a name that ends like one.
    #[error("domain name {name:?} invalid (top level domain {tld:?} cannot be all-numeric)")]
    NumericTld {
        /// The whole name.
        name: String,
        /// Its last label.
        tld: String,
    },
}

impl Host {
    /// Lower-cases `name` and checks it by Istio's rules for a ServiceEntry's host. A trailing dot is dropped.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn parse(name: &str) -> Result<Self, HostError> {
        if name == "*" {
            return Err(HostError::Star);
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        check_wildcard_name(&name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Whether the first label holds a `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Istio's check of a name whose first label may be `*`, `*-x` or `*x`.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_wildcard_name(name: &str) -> Result<(), HostError> {
    check_length(name)?;
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    if !is_wildcard_label(first) {
        return Err(HostError::Label { name: name.into(), label: first.into() });
    }
    match rest {
        Some(rest) => check_labels(name, rest),
        None => check_tld(name, first),
    }
}

/// Istio's check of a fully qualified name: no wildcard anywhere.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_fqdn(name: &str) -> Result<(), HostError> {
    check_length(name)?;
    check_labels(name, name)
}

/// Whether `s` is a DNS-1123 label: lower-case letters, digits and inner hyphens, at most 63.
#[must_use]
pub fn is_dns1123_label(s: &str) -> bool {
    is_label(s) && !s.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_length(name: &str) -> Result<(), HostError> {
    match name.len() {
        0 => Err(HostError::Empty),
        n if n > MAX_HOST => Err(HostError::TooLong(name.into())),
        _ => Ok(()),
    }
}

/// `part` is `name` or what follows its first label; a trailing dot is fine.
fn check_labels(name: &str, part: &str) -> Result<(), HostError> {
    let part = part.strip_suffix('.').unwrap_or(part);
    let mut last = "";
    for label in part.split('.') {
        if !is_label(label) {
            return Err(HostError::Label { name: name.into(), label: label.into() });
        }
        last = label;
    }
    check_tld(name, last)
}

fn check_tld(name: &str, tld: &str) -> Result<(), HostError> {
    if !tld.is_empty() && tld.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostError::NumericTld { name: name.into(), tld: tld.into() });
    }
    Ok(())
}

/// `[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?`, at most 63.
fn is_label(s: &str) -> bool {
    let b = s.as_bytes();
    let alnum = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    b.len() <= MAX_LABEL
        && alnum(b.first())
        && alnum(b.last())
        && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
}

/// A label, or `*` before nothing, before a hyphen or before a label's rest.
fn is_wildcard_label(s: &str) -> bool {
    match s.strip_prefix('*') {
        None => is_label(s),
        Some("") => true,
        Some(rest) => s.len() <= MAX_LABEL && is_label(rest.strip_prefix('-').unwrap_or(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_cased_and_lose_their_trailing_dot() {
        assert_eq!(Host::parse("Web.Example.COM.").unwrap().as_str(), "web.example.com");
    }

    #[test]
    fn what_istio_refuses_is_refused_in_its_words() {
        for (name, words) in [
            ("", "empty domain name not allowed"),
            ("*", "invalid host *"),
            ("a_b.example", "domain name \"a_b.example\" invalid (label \"a_b\" invalid)"),
            ("a..b", "domain name \"a..b\" invalid (label \"\" invalid)"),
            ("a.-b", "domain name \"a.-b\" invalid (label \"-b\" invalid)"),
            ("10.0.0.1", "domain name \"10.0.0.1\" invalid (top level domain \"1\" cannot be all-numeric)"),
            ("web.*.io", "domain name \"web.*.io\" invalid (label \"*\" invalid)"),
        ] {
            assert_eq!(Host::parse(name).unwrap_err().to_string(), words);
        }
        let long = format!("{}.example", "a".repeat(64));
        assert!(matches!(Host::parse(&long), Err(HostError::Label { .. })));
        let longer = vec!["abcdefg"; 32].join(".") + ".x";
        assert!(matches!(Host::parse(&longer), Err(HostError::TooLong(_))));
    }

    #[test]
    fn a_wildcard_stands_in_the_first_label_only() {
        for ok in ["*.example.com", "*-a.example.com", "*a.example.com", "web", "a.b-c.d"] {
            assert!(Host::parse(ok).is_ok(), "{ok}");
        }
        assert!(check_fqdn("*.example.com").is_err());
    }
}
