//! Who claims what, in the order in which it is granted.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::service::{ItemKind, ServiceKey};

/// Who claims something: in the order in which it is granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) kind: ItemKind,
    /// The registry's place in the configuration.
    pub(super) rank: usize,
    pub(super) key: ServiceKey,
}

/// Gives claims their new ranks; whether another claim is first now. Two registries may call an item the same, so that
/// only rank and key together tell whose it is.
pub(super) fn rerank(claims: &mut BTreeSet<Claim>, rank_of: impl Fn(usize) -> Option<usize>) -> bool {
    let ranked = |c: Claim| Claim { rank: rank_of(c.rank).unwrap_or(c.rank), ..c };
    let first = claims.first().cloned().map(ranked);
    *claims = std::mem::take(claims).into_iter().map(ranked).collect();
    first.as_ref() != claims.first()
}

/// Takes `claim` back.
pub(super) fn release<K: Ord>(claims: &mut BTreeMap<K, BTreeSet<Claim>>, of: &K, claim: &Claim) {
    if let Some(set) = claims.get_mut(of) {
        set.remove(claim);
        if set.is_empty() {
            claims.remove(of);
        }
    }
}
