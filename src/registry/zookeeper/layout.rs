//! How services lie in ZooKeeper: a layout says which nodes it looks at and makes services of them. Pure.
//!
//! Several layouts look at the same tree, also below the same root; each takes what is its own by content and leaves the
//! rest. What one cannot read is left out and named, and never stops its neighbours.
//!
//! A layout works by *units*: the smallest thing that it puts together anew when a node changes (a folder of instances, an
//! application). A change of one node costs its units, never the tree.
//!
//! | module | what |
//! | --- | --- |
//! | `dubbo` | Dubbo's registry: interfaces with their providers, applications with their instances, and the rules that override them |
//! | `curator` | Curator's x-discovery and Spring Cloud ZooKeeper |
//! | `template` | home-made ones: a pattern of the path, pointers into the data |
//! | `question` | what a layout must know that is not in the tree |

pub(crate) mod curator;
pub(crate) mod dubbo;
pub(crate) mod question;
pub(crate) mod template;

use std::sync::Arc;

use crate::model::service::{ItemKind, Scope, Service, ServiceKey};
use crate::registry::zookeeper::tree::Tree;
use question::{Finding, Question};

/// What a layout wants to know of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wants {
    /// It is not ours.
    Nothing,
    /// That it is there.
    Name,
    /// What is below it.
    Children,
    /// What it holds.
    Data,
    /// What it holds and what is below it.
    Both,
}

impl Wants {
    /// What is wanted where two layouts look.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Children, Self::Data) | (Self::Data, Self::Children) => Self::Both,
            (a, b) => a.max(b),
        }
    }

    /// Whether the nodes below are to be listed.
    pub(crate) fn children(self) -> bool {
        matches!(self, Self::Children | Self::Both)
    }

    /// Whether the data is to be read.
    pub(crate) fn data(self) -> bool {
        matches!(self, Self::Data | Self::Both)
    }
}

/// What a unit holds now: all of its services.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Its name, unique within the layout.
    pub(crate) name: Arc<str>,
    /// Its services; none: the unit is gone.
    pub(crate) services: Vec<Service>,
    /// What was left out that belongs to no service, and why: `path: reason`.
    pub(crate) faults: Vec<String>,
}

/// One layout below one root.
pub(crate) trait Layout: Send + Sync {
    /// The subtrees that it looks at.
    fn roots(&self) -> Vec<Arc<str>>;

    /// What it wants to know of the node at `path`.
    fn wants(&self, path: &str) -> Wants;

    /// The node at `path` came, went or changed.
    fn note(&mut self, path: &str);

    /// The whole tree was read anew: nothing that was known before counts.
    fn restart(&mut self, tree: &Tree);

    /// Every unit that something was noted of since the last time, as it is now.
    fn settle(&mut self, tree: &Tree) -> Vec<Unit>;

    /// What it must know that is not in the tree, as of the last time that it settled.
    fn questions(&self) -> Vec<Question> {
        Vec::new()
    }

    /// Takes in what came of a question; the layouts that did not ask leave it.
    fn learn(&mut self, _finding: &Finding) {}
}

/// A service without endpoints yet: `name` is what `{service}` and `{name}` stand for.
pub(crate) fn service(key: &str, name: &str, scope: &Scope, domain: &str) -> Service {
    let key = ServiceKey { kind: ItemKind::Service, name: key.into(), scope: scope.clone() };
    Service {
        variables: [("name", name), ("domain", domain)].into_iter().collect(),
        ..Service::new(key, name)
    }
}

/// Puts further variables, those without a value left out.
pub(crate) fn add_variables(service: &mut Service, more: &[(&str, &str)]) {
    let present =
        more.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (Arc::from(*k), Arc::from(*v)));
    service.variables = service.variables.as_slice().iter().cloned().chain(present).collect();
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_layouts_want_what_each_of_them_wants() {
        use Wants::{Both, Children, Data, Name, Nothing};
        for (a, b, want) in
            [(Children, Data, Both), (Nothing, Name, Name), (Both, Name, Both), (Data, Data, Data)]
        {
            assert_eq!((a.and(b), b.and(a)), (want, want));
        }
        assert!(Both.data() && Both.children() && !Name.data() && !Data.children());
    }
}
