//! Sorted string pairs, which are labels, annotations and a registry's own metadata; and sorted words, which are tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Pairs sorted by key, each key once; cheap to clone and to share between a million endpoints.
///
/// A `BTreeMap` would cost some 400 bytes for a single pair; this costs one allocation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Option<Arc<[Pair]>>);

/// A key and its value.
pub type Pair = (Arc<str>, Arc<str>);

impl Labels {
    /// No pairs.
    pub const EMPTY: Self = Self(None);

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let pairs = self.as_slice();
        let at = pairs.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        pairs.get(at).map(|(_, v)| &**v)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        self.as_slice().iter().map(|(k, v)| (&**k, &**v))
    }

    /// All pairs in the order of their keys, as shared strings.
    #[must_use]
    pub fn as_slice(&self) -> &[Pair] {
        self.0.as_deref().unwrap_or_default()
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    /// Of several pairs with one key the last wins, as in a map. Pairs that come in order, as most do, need no map.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs: Vec<Pair> = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        if pairs.is_empty() {
            return Self(None);
        }
        if pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Self(Some(pairs.into()));
        }
        let map: BTreeMap<Arc<str>, Arc<str>> = pairs.into_iter().collect();
        Self(Some(map.into_iter().collect()))
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Words that a registry attaches to a service or an instance: sorted, each once; cheap to clone and to share.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Tags(Option<Arc<[Arc<str>]>>);

impl Tags {
    /// No tag.
    pub const EMPTY: Self = Self(None);

    /// All tags in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.iter().flat_map(|tags| tags.iter()).map(|tag| &**tag)
    }

    /// Whether there is no tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Into<Arc<str>>> FromIterator<T> for Tags {
    fn from_iter<I: IntoIterator<Item = T>>(tags: I) -> Self {
        let set: BTreeSet<Arc<str>> = tags.into_iter().map(Into::into).collect();
        if set.is_empty() { Self(None) } else { Self(Some(set.into_iter().collect())) }
    }
}

impl std::fmt::Debug for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_and_stand_once() {
        let tags: Tags = ["b", "a", "b"].into_iter().collect();
        assert_eq!(tags.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(std::iter::empty::<&str>().collect::<Tags>(), Tags::EMPTY);
        assert!(Tags::EMPTY.is_empty());
    }

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_key_wins() {
        let l: Labels = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(l.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(l.get("b"), Some("3"));
        assert_eq!(l.get("c"), None);
    }

    #[test]
    fn empty_is_one_value() {
        assert_eq!(Labels::default(), std::iter::empty::<(&str, &str)>().collect());
        assert!(Labels::EMPTY.is_empty());
    }
}
