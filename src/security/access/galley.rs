//! Galley's access list, as its users have it: `allowed`, a list of names, and `isblacklist`, which turns it round.
//!
//! Names are compared with those of the verified certificate, as text and whole. As in Galley, who shows no certificate is
//! in no list; other than there, a list that is missing or does not parse lets nobody in.

use std::collections::BTreeSet;

use crate::security::kept::Held;
use crate::security::peer::Identity;
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{self, Node};

/// Names, and what being among them means.
#[derive(Debug)]
pub(super) struct AccessList {
    names: BTreeSet<String>,
    meaning: Meaning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Allowed,
    Refused,
}

impl Held for AccessList {}

/// More than any list that somebody keeps by hand.
const MAX_NODES: usize = 1 << 20;

impl AccessList {
    /// Reads a file; whatever is not as Galley has it is an error.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = yaml::text(bytes).map_err(|fault| fault.to_string())?;
        let mut documents =
            yaml::parse(text, MAX_NODES).complete().map_err(|faults| words(&faults))?.into_iter();
        let whole = documents.next().filter(|node| !node.is_null());
        let (Some(whole), None) = (whole, documents.next()) else {
            return Err("one document with `allowed` is expected".into());
        };
        let findings = Findings::default();
        let list = Self::decode(&whole, &findings);
        let faults = findings.into_faults();
        if faults.is_empty() { Ok(list) } else { Err(words(&faults)) }
    }

    fn decode(whole: &Node, findings: &Findings) -> Self {
        let mut f = Fields::of(whole, findings);
        let names = f.list("allowed", |node| node.text().map(ToOwned::to_owned)).unwrap_or_default();
        let refused = f.or("isblacklist", false, Node::boolean);
        let meaning = if refused { Meaning::Refused } else { Meaning::Allowed };
        Self { names: names.into_iter().collect(), meaning }
    }

    /// Whether whoever has these names may come; `None`: the list says nothing about him.
    pub(super) fn knows(&self, identities: &[Identity]) -> Option<bool> {
        if identities.is_empty() {
            return None;
        }
        let listed = identities.iter().any(|id| match id {
            Identity::Uri(name) | Identity::Dns(name) => self.names.contains(&**name),
        });
        match self.meaning {
            Meaning::Allowed => listed.then_some(true),
            Meaning::Refused => Some(!listed),
        }
    }
}

fn words(faults: &[yaml::Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PILOT: &str = "spiffe://cluster.local/ns/istio-system/sa/istio-pilot-service-account";

    fn knows(list: &str, name: Option<&str>) -> Option<bool> {
        let identities: Vec<Identity> = name.iter().map(|n| Identity::Uri((*n).into())).collect();
        AccessList::read(list.as_bytes()).unwrap().knows(&identities)
    }

    #[test]
    fn a_list_allows_or_refuses_whom_it_names() {
        let list = format!("allowed:\n- {PILOT}\n");
        assert_eq!(knows(&list, Some(PILOT)), Some(true));
        assert_eq!(knows(&list, Some("spiffe://other")), None, "the next rule decides");
        let turned = format!("allowed: [{PILOT}]\nisblacklist: true\n");
        assert_eq!(knows(&turned, Some(PILOT)), Some(false));
        assert_eq!(knows(&turned, Some("spiffe://other")), Some(true));
        for list in [list, turned] {
            assert_eq!(knows(&list, None), None, "without a certificate");
        }
    }

    #[test]
    fn a_list_that_is_not_as_galley_has_it_is_refused() {
        for (text, words) in [
            ("", "`allowed` is expected"),
            ("allowed: x", "list"),
            ("alowed: []", "did you mean `allowed`"),
            ("isblacklist: maybe", "true"),
            ("allowed: [", "1:"),
            ("allowed: []\n---\nallowed: []", "one document"),
        ] {
            let error = AccessList::read(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
