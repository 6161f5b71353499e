//! Which resources of a collection a client wants. Both ways of asking, whole lists and changes, end here.

use crate::session::names::Names;

/// Everything, when it stands among names.
const WILDCARD: &str = "*";

/// What a client wants.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    everything: bool,
    names: Names,
    /// Whether names were ever given: from then on an empty list means nothing.
    explicit: bool,
}

/// What a change of names did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Everything was asked for, for the first time or again.
    pub(super) everything: bool,
    /// Everything is not wanted any more.
    pub(super) narrowed: bool,
    /// Names of which the client waits to be told: newly or again wanted, or given up while everything is wanted.
    pub(super) tell: Vec<String>,
    /// Names that are not wanted any more in any way.
    pub(super) dropped: Vec<String>,
}

impl Subscription {
    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The whole list anew; whether that is another one.
    pub(super) fn replace(&mut self, list: Vec<String>) -> bool {
        self.explicit |= !list.is_empty();
        let mut names: Names = list.into_iter().collect();
        let everything = names.remove(WILDCARD) || !self.explicit;
        let changed = everything != self.everything || names != self.names;
        self.everything = everything;
        self.names = names;
        changed
    }

    /// Names come and go. A `first` change that adds none asks for everything.
    pub(super) fn change(
        &mut self,
        first: bool,
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
    ) -> Changed {
        let mut changed = Changed::default();
        if first && subscribe.is_empty() {
            self.everything = true;
            changed.everything = true;
        }
        for name in subscribe {
            if name == WILDCARD {
                self.everything = true;
                changed.everything = true;
            } else {
                changed.tell.push(name.clone());
                self.names.insert(name);
            }
        }
        for name in unsubscribe {
            if name == WILDCARD {
                changed.narrowed |= self.everything;
                changed.everything = false;
                self.everything = false;
            } else if self.names.remove(&name) {
                if self.everything { changed.tell.push(name) } else { changed.dropped.push(name) }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn an_empty_list_is_everything_until_names_were_given() {
        let mut s = Subscription::default();
        assert!(s.replace(list(&[])) && s.is_everything());
        assert!(!s.replace(list(&[])));
        assert!(s.replace(list(&["a"])) && !s.is_everything());
        assert!(s.replace(list(&[])) && !s.is_everything() && s.names().is_empty());
        assert!(s.replace(list(&["*", "a"])) && s.is_everything() && s.names().contains("a"));
    }

    #[test]
    fn a_star_comes_and_goes_beside_names() {
        let mut s = Subscription::default();
        let first = s.change(true, list(&[]), list(&[]));
        assert!(first.everything && s.is_everything());
        assert_eq!(s.change(false, list(&["a"]), list(&[])).tell, list(&["a"]));
        assert!(s.is_everything());
        assert!(s.change(false, list(&[]), list(&["*"])).narrowed && !s.is_everything());
        assert_eq!(s.change(false, list(&[]), list(&["a", "b"])).dropped, list(&["a"]));
        assert!(s.names().is_empty());
    }

    #[test]
    fn a_name_given_up_beside_a_star_is_told_again() {
        let mut s = Subscription::default();
        s.change(true, list(&["*", "a"]), list(&[]));
        assert_eq!(s.change(false, list(&[]), list(&["a"])).tell, list(&["a"]));
    }
}
