//! A set of resource names that knows how much memory it takes, because a client decides how many there are.

use std::collections::BTreeSet;

/// About what one remembered name costs beside its bytes: the string's header, its allocation, its share of a node.
const OVERHEAD: usize = 64;

/// About how much memory a remembered `name` takes.
pub(super) fn cost(name: &str) -> usize {
    name.len() + OVERHEAD
}

/// Sorted names.
#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    set: BTreeSet<String>,
    bytes: usize,
}

impl Names {
    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.set.contains(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &String> {
        self.set.iter()
    }

    pub(super) fn insert(&mut self, name: String) {
        let bytes = cost(&name);
        if self.set.insert(name) {
            self.bytes += bytes;
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let was = self.set.remove(name);
        if was {
            self.bytes -= cost(name);
        }
        was
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.set.retain(|name| keep(name));
        self.bytes = self.set.iter().map(|name| cost(name)).sum();
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Extend<String> for Names {
    fn extend<I: IntoIterator<Item = String>>(&mut self, names: I) {
        for name in names {
            self.insert(name);
        }
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let mut all = Self::default();
        all.extend(names);
        all
    }
}

impl IntoIterator for Names {
    type Item = String;
    type IntoIter = std::collections::btree_set::IntoIter<String>;

    fn into_iter(self) -> Self::IntoIter {
        self.set.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_gone_cost_nothing() {
        let mut names: Names = ["a", "bb", "a"].into_iter().map(String::from).collect();
        assert_eq!(names.bytes(), 3 + 2 * OVERHEAD);
        names.retain(|name| name == "a");
        assert!(names.remove("a") && !names.remove("a"));
        assert_eq!(names.bytes(), 0);
    }
}
