//! Names that Kubernetes takes: legal, no longer than they may be, and the same for the same thing for ever.
//!
//! A name that is legal stays as it is; whatever had to be changed ends in a hash of the whole, so that two names that
//! differ never meet.

use xxhash_rust::xxh3::xxh3_64;

use crate::proto::networking::WorkloadEntry;

/// The longest name of an object.
const LONGEST: usize = 253;
/// The longest value of a label, and the longest name of a namespace.
const LABEL: usize = 63;
/// A hyphen and sixteen hex digits.
const HASH: usize = 17;

/// The name of an object that stands for the resource called `name`.
#[must_use]
pub(super) fn object(name: &str) -> String {
    if is_subdomain(name) { name.to_owned() } else { hashed(name, LONGEST) }
}

/// The name of the object that stands for one endpoint of the entry called `entry`; `nth` tells apart endpoints with the
/// same address and ports.
///
/// What an endpoint's name is made of is what makes it another endpoint: a change of its weight or its labels is none.
#[must_use]
pub(super) fn workload(entry: &str, endpoint: &WorkloadEntry, nth: usize) -> String {
    let mut text = endpoint.address.clone();
    for (name, number) in &endpoint.ports {
        text.push_str(&format!("\n{name}={number}"));
    }
    if nth > 0 {
        text.push_str(&format!("\n#{nth}"));
    }
    let entry = object(entry);
    let room = if entry.len() + HASH <= LONGEST { entry } else { hashed(&entry, LONGEST - HASH) };
    format!("{room}-{}", digits(&text))
}

/// A value of a label that stands for `text`.
#[must_use]
pub(super) fn label(text: &str) -> String {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let legal = inner && edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= LABEL;
    if legal { text.to_owned() } else { hashed(text, LABEL) }
}

/// Whether `text` may be the name of a namespace.
#[must_use]
pub(super) fn is_namespace(text: &str) -> bool {
    text.len() <= LABEL && !text.contains('.') && is_subdomain(text)
}

fn is_subdomain(text: &str) -> bool {
    let part = |p: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = p.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    text.len() <= LONGEST && text.split('.').all(part)
}

/// The legal part of `text` and a hash of all of it, at most `longest` long.
fn hashed(text: &str, longest: usize) -> String {
    let mut legal = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => legal.push(c),
            '.' | '-' if legal.ends_with(|c: char| c.is_ascii_alphanumeric()) => legal.push(c),
            _ if legal.ends_with(|c: char| c.is_ascii_alphanumeric()) => legal.push('-'),
            _ => {}
        }
    }
    legal.truncate(longest - HASH);
    let legal = legal.trim_end_matches(['-', '.']);
    let first = if legal.is_empty() { "x" } else { legal };
    format!("{first}-{}", digits(text))
}

fn digits(text: &str) -> String {
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_is_legal_and_no_two_meet(a in "\\PC{0,300}", b in "[-a-zA-Z0-9._*]{0,300}") {
            for text in [&a, &b] {
                prop_assert!(is_subdomain(&object(text)), "{}", object(text));
                prop_assert!(label(text).len() <= LABEL && label(&label(text)) == label(text));
                let endpoint = WorkloadEntry { address: a.clone(), ..Default::default() };
                prop_assert!(is_subdomain(&workload(text, &endpoint, 1)));
            }
            prop_assert!(a == b || object(&a) != object(&b));
        }
    }

    #[test]
    fn a_legal_name_stays_as_it_is() {
        for name in ["web", "web.service.consul", &"a.".repeat(126)[..251]] {
            assert_eq!(object(name), name);
        }
        assert_eq!(label("Prod_1.x"), "Prod_1.x");
    }

    #[test]
    fn a_long_host_is_shortened_with_a_hash() {
        let long = format!("{}.consul", vec!["a".repeat(60); 5].join("."));
        let name = object(&long);
        assert!(name.len() <= LONGEST && name.starts_with(&"a".repeat(60)), "{name}");
        assert_ne!(name, object(&format!("{long}x")));
        assert_eq!(name, object(&long));
    }

    #[test]
    fn an_endpoint_keeps_its_name_when_its_weight_changes() {
        let one = WorkloadEntry { address: "10.0.0.1".into(), weight: 1, ..Default::default() };
        let heavy = WorkloadEntry { weight: 9, ..one.clone() };
        let other = WorkloadEntry { ports: [("http".to_owned(), 81)].into(), ..one.clone() };
        assert_eq!(workload("web", &one, 0), workload("web", &heavy, 0));
        assert_ne!(workload("web", &one, 0), workload("web", &other, 0));
        assert_ne!(workload("web", &one, 0), workload("web", &one, 1));
    }

    #[test]
    fn a_namespace_is_one_label() {
        assert!(is_namespace("chandler") && !is_namespace("a.b") && !is_namespace("") && !is_namespace("-a"));
    }
}
