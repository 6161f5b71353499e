//! Labels of services and endpoints: which are taken, under which keys, and made legal.
//!
//! Legal is what both Istio and Kubernetes take: a key is an optional DNS prefix of at most 253 and a name of at most
//! 63; a value has at most 63 (Istio alone would take more). What is too long is cut and ends in a hash of all of it;
//! runs of illegal characters become one hyphen. A label is never refused: metadata must not keep a service out.
//!
//! Keys in `istio.io` and below make istiod behave differently, and registries' metadata is written by many hands:
//! they reach the mesh only through `map.labels.set` and `rename`, which an operator writes. Excepted are
//! `service.istio.io/…` and `topology.istio.io/…`, which only describe. `security.istio.io/tlsMode` comes from
//! `tlsMode` alone, and keys below `chandler/` are ours. What owners say to us (`chandler-weight` …) is no label either.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::convert::mapping::LabelRules;
use crate::convert::naming::legal_host;
use crate::convert::self_service::Say;
use crate::model::host::MAX_LABEL;
use crate::model::labels::{Labels, Pair};

/// Says whether an endpoint's proxy takes Istio's mutual TLS.
pub(crate) const TLS_MODE: &str = "security.istio.io/tlsMode";
/// A hash of the endpoints that share an address with this one.
pub(crate) const SIBLINGS: &str = "chandler/siblings";

/// The longest DNS prefix of a key.
const MAX_PREFIX: usize = 253;
/// A hyphen and eight hex digits.
const HASH: usize = 9;

impl LabelRules {
    /// The labels that reach the mesh, all legal. Where two keys become one, the one that was legal as it stood wins,
    /// then the first in order; what the rules set wins over everything.
    #[must_use]
    pub fn apply(&self, labels: &Labels) -> Labels {
        if labels.is_empty() && self.set.is_empty() {
            return Labels::EMPTY;
        }
        let mut made: Vec<Pair> = Vec::with_capacity(labels.len());
        let mut rewritten: Vec<Pair> = Vec::new();
        for (key, value) in labels.as_slice() {
            let Some((key, as_it_was)) = self.key(key) else { continue };
            let pairs = if as_it_was { &mut made } else { &mut rewritten };
            pairs.push((key, legal_value(value)));
        }
        let set = self.set.as_slice().iter().filter_map(|(key, value)| {
            let key = legal_key(key).filter(|k| !is_ours(k))?;
            Some((key.into(), legal_value(value)))
        });
        if rewritten.is_empty() {
            return made.into_iter().chain(set).collect();
        }
        let mut all: BTreeMap<Arc<str>, Arc<str>> = made.into_iter().collect();
        for (key, value) in rewritten {
            all.entry(key).or_insert(value);
        }
        all.into_iter().chain(set).collect()
    }

    /// Under which key a label appears, if it does, and whether that is its own.
    fn key(&self, key: &Arc<str>) -> Option<(Arc<str>, bool)> {
        if !self.include.is_match(key) || self.exclude.is_match(key) {
            return None;
        }
        let renamed = self.rename.get(&**key);
        let legal = legal_key(renamed.map_or(key, String::as_str))?;
        // An operator may rename to what istiod acts upon; a registry may not hold it.
        if is_ours(&legal) || (renamed.is_none() && is_reserved(&legal)) {
            return None;
        }
        Some(if *legal == **key { (Arc::clone(key), true) } else { (legal.into(), false) })
    }
}

/// Keys that only this program writes, and those that are words to it.
fn is_ours(key: &str) -> bool {
    let ours = || key.starts_with("chandler/") || Say::ALL.iter().any(|(_, _, said)| *said == key);
    key == TLS_MODE || (key.starts_with("chandler") && ours())
}

/// Keys that istiod acts upon.
fn is_reserved(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return false };
    let istio = prefix == "istio.io" || prefix.ends_with(".istio.io");
    istio && !matches!(prefix, "service.istio.io" | "topology.istio.io")
}

/// `key` as a legal key; nothing if nothing of its name is left.
fn legal_key(key: &str) -> Option<Cow<'_, str>> {
    let (prefix, name) = key.split_once('/').map_or(("", key), |(p, n)| (p, n));
    let legal_name = legal_word(name);
    if legal_name.is_empty() {
        return None;
    }
    let legal_prefix = if prefix.is_empty() { String::new() } else { legal_host(prefix, MAX_PREFIX) };
    if legal_prefix == prefix && legal_name == name && !key.starts_with('/') {
        return Some(Cow::Borrowed(key));
    }
    if legal_prefix.is_empty() {
        return Some(Cow::Owned(legal_name.into_owned()));
    }
    Some(Cow::Owned(format!("{legal_prefix}/{legal_name}")))
}

/// `value` as a legal value, shared where it was one.
fn legal_value(value: &Arc<str>) -> Arc<str> {
    match legal_word(value) {
        Cow::Borrowed(whole) if whole.len() == value.len() => Arc::clone(value),
        other => other.into(),
    }
}

/// Letters, digits and inner `-_.`, at most 63.
fn legal_word(text: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let bare = |c: char| !c.is_ascii_alphanumeric();
    let mut word = Cow::Borrowed(text);
    if !text.chars().all(fits) {
        let mut out = String::with_capacity(text.len());
        let mut gap = false;
        for c in text.chars() {
            if fits(c) {
                out.push(c);
            } else if !gap {
                out.push('-');
            }
            gap = !fits(c);
        }
        word = Cow::Owned(out);
    }
    let trimmed = word.trim_matches(bare);
    if trimmed.is_empty() && text.chars().any(char::is_alphanumeric) {
        // Written in another script: still tells one value from another.
        return Cow::Owned(format!("x-{}", digits(text)));
    }
    if trimmed.len() > MAX_LABEL {
        let first = trimmed.get(..MAX_LABEL - HASH).unwrap_or_default().trim_end_matches(bare);
        return Cow::Owned(format!("{first}-{}", digits(text)));
    }
    if trimmed.len() == word.len() { word } else { Cow::Owned(trimmed.to_owned()) }
}

fn digits(text: &str) -> String {
    format!("{:08x}", xxh3_64(text.as_bytes()) >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::convert::mapping::Globs;
    use crate::convert::validate::{Release, workload_entry};
    use crate::proto::networking::WorkloadEntry;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    fn globs(patterns: &[&str]) -> Globs {
        Globs::new(patterns.iter().map(|p| (*p).to_owned()).collect()).unwrap()
    }

    fn applied(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let made = LabelRules::default().apply(&labels(pairs));
        made.iter().map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn key(k: &str) -> Option<String> {
        applied(&[(k, "v")]).pop().map(|(k, _)| k)
    }

    fn value(v: &str) -> String {
        applied(&[("k", v)]).pop().unwrap().1
    }

    #[test]
    fn legal_labels_stay_as_they_are() {
        for k in ["version", "App.Name_x-1", "example.com/team", "topology.istio.io/network", "a"] {
            assert_eq!(key(k).as_deref(), Some(k));
        }
        for v in ["", "v1", "A_b.c-d", &"x".repeat(63)] {
            assert_eq!(value(v), v);
        }
    }

    #[test]
    fn illegal_characters_become_hyphens() {
        for (k, legal) in [
            ("my key!", "my-key"),
            ("a/b/c", "a/b-c"),
            ("Example.COM/x", "example.com/x"),
            ("/x", "x"),
            ("_x_", "x"),
            ("@class", "class"),
        ] {
            assert_eq!(key(k).as_deref(), Some(legal), "{k}");
        }
        assert_eq!((key("///"), key("")), (None, None));
        assert_eq!(value("{\"a\": [1]}"), "a-1");
        assert_eq!(value("http://x:80/y?z"), "http-x-80-y-z");
        assert_eq!(value("***"), "");
    }

    #[test]
    fn what_is_too_long_keeps_a_hash_of_all_of_it() {
        let (a, b) = ("x".repeat(70) + "1", "x".repeat(70) + "2");
        for made in [value(&a), key(&a).unwrap()] {
            assert_eq!(made.len(), 63);
        }
        assert_ne!(value(&a), value(&b));
        assert_eq!(value(&a), value(&a));
    }

    #[test]
    fn values_in_another_script_stay_apart() {
        assert_ne!(value("订单"), value("支付"));
        assert!(value("订单").starts_with("x-"));
    }

    #[test]
    fn of_keys_that_become_one_the_legal_one_wins_then_the_first() {
        assert_eq!(applied(&[("a b", "1"), ("a-b", "2"), ("a!b", "3")]), [("a-b".into(), "2".into())]);
        assert_eq!(applied(&[("a!b", "1"), ("a?b", "2")]), [("a-b".into(), "1".into())]);
    }

    #[test]
    fn keys_that_istiod_acts_upon_come_from_the_operator_only() {
        for k in [
            "istio.io/rev",
            "internal.istio.io/parents",
            "networking.istio.io/enable-autoallocate-ip",
            "security.istio.io/tlsMode",
            "ISTIO.io/rev",
            "chandler/siblings",
        ] {
            assert_eq!(key(k), None, "{k}");
        }
        let mut rules =
            LabelRules { set: labels(&[("istio.io/rev", "x"), (TLS_MODE, "istio")]), ..Default::default() };
        assert_eq!(rules.apply(&Labels::EMPTY), labels(&[("istio.io/rev", "x")]));
        rules.set = Labels::EMPTY;
        rules.rename.insert("rev".into(), "istio.io/rev".into());
        assert_eq!(rules.apply(&labels(&[("rev", "x")])), labels(&[("istio.io/rev", "x")]));
    }

    #[test]
    fn rules_select_then_rename_then_set() {
        let rules = LabelRules {
            include: globs(&["team-*", "v"]),
            exclude: globs(&["team-x"]),
            rename: [("v".to_owned(), "version".to_owned())].into(),
            set: labels(&[("mesh", "yes"), ("team-a", "set")]),
        };
        let made = rules.apply(&labels(&[
            ("team-a", "1"),
            ("team-b", "2"),
            ("team-x", "3"),
            ("v", "4"),
            ("w", "5"),
        ]));
        assert_eq!(made, labels(&[("mesh", "yes"), ("team-a", "set"), ("team-b", "2"), ("version", "4")]));
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_label_that_istio_and_kubernetes_take(k in any::<String>(), v in any::<String>()) {
            let made = LabelRules::default().apply(&labels(&[(&k, &v)]));
            for (k, v) in made.iter() {
                let name = k.rsplit('/').next().unwrap();
                prop_assert!(name.len() <= 63 && v.len() <= 63 && k.len() <= 253 + 64);
                let entry = WorkloadEntry {
                    address: "10.0.0.1".into(),
                    labels: std::iter::once((k.to_owned(), v.to_owned())).collect(),
                    ..WorkloadEntry::default()
                };
                let verdict = workload_entry(&entry, &Labels::EMPTY, Release::new(1, 9));
                prop_assert!(verdict.is_accepted(), "{:?}", verdict);
            }
            // Legal stays legal: applying twice changes nothing more.
            prop_assert_eq!(LabelRules::default().apply(&made), made);
        }
    }
}
