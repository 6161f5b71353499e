//! Which rules concern whom, and in which order: those beside an interface's providers, then the application's, then the
//! service's own of the configuration centre.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::provider::Provider;
use super::rule::{self, Named, NotApplied};
use super::url;
use crate::registry::zookeeper::layout::Wants;
use crate::registry::zookeeper::tree::Node;

/// What the names of override rules end in.
const CONFIGURATORS: &str = ".configurators";
/// What the names of routing rules end in.
const ROUTERS: [&str; 4] = [".condition-router", ".tag-router", ".script-router", ".affinity-router"];

/// Whom a rule of the configuration centre concerns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An interface.
    Interface(Arc<str>),
    /// An application or an interface: the key does not say.
    Either(Arc<str>),
}

/// What is wanted of the node `name` of the configuration centre.
pub(crate) fn wants(name: &str) -> Wants {
    match name {
        _ if name.contains('/') => Wants::Nothing,
        _ if name.ends_with(CONFIGURATORS) => Wants::Data,
        _ if ROUTERS.iter().any(|end| name.ends_with(end)) => Wants::Name,
        _ => Wants::Nothing,
    }
}

/// The rules of the configuration centre, read.
#[derive(Debug, Default)]
pub(crate) struct Central {
    /// Override rules, by the key that they stand under.
    rules: BTreeMap<Arc<str>, Vec<Named>>,
    /// Names of routing rules, by the application or interface that they are for.
    routers: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Central {
    /// Reads the node `name` anew; whom it concerns. `None`: it is no rule.
    pub(crate) fn read(&mut self, name: &str, node: Option<&Node>) -> Option<Target> {
        if let Some(key) = name.strip_suffix(CONFIGURATORS) {
            match node {
                Some(node) => {
                    let read = rule::from_yaml(name, node.data.as_deref().unwrap_or_default());
                    self.rules.insert(key.into(), read);
                }
                None => drop(self.rules.remove(key)),
            }
            return Some(target(key));
        }
        let key = ROUTERS.iter().find_map(|end| name.strip_suffix(end))?;
        let of_key = self.routers.entry(rule::interface_of(key).into()).or_default();
        if node.is_some() {
            of_key.insert(name.into());
        } else {
            of_key.remove(name);
        }
        Some(target(key))
    }

    /// Routing rules for an application or an interface.
    pub(crate) fn routers_of(&self, name: &str) -> impl Iterator<Item = NotApplied> {
        self.routers.get(name).into_iter().flatten().map(|name| NotApplied::router(name))
    }

    /// All rules for an interface, whose folder is `folder` if there is one.
    pub(crate) fn for_interface(&self, folder: Option<&Node>, interface: &str) -> Rules<'_> {
        let nodes = |kind| folder.and_then(|f| f.child(kind)).into_iter().flat_map(Node::children);
        let (own, routers) = (rule::from_urls(nodes("configurators")), nodes("routers"));
        let mut routers: BTreeSet<NotApplied> =
            routers.map(|(name, _)| NotApplied::router(&url::shown(name))).collect();
        routers.extend(self.routers_of(interface));
        Rules { own, central: self, routers }
    }
}

fn target(key: &str) -> Target {
    let interface = rule::interface_of(key);
    if interface == key { Target::Either(key.into()) } else { Target::Interface(interface.into()) }
}

/// The rules that concern one interface.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    own: Vec<Named>,
    central: &'a Central,
    routers: BTreeSet<NotApplied>,
}

impl Rules<'_> {
    /// Routing rules, which are not applied.
    pub(crate) fn routers(&self) -> impl Iterator<Item = NotApplied> {
        self.routers.iter().cloned()
    }

    /// Applies all that concern `provider`; what is not applied is added to `not_applied`.
    pub(crate) fn apply(&self, provider: &mut Provider, not_applied: &mut BTreeSet<NotApplied>) {
        if self.own.is_empty() && self.central.rules.is_empty() {
            return;
        }
        // What a bare instance provides is not known, so nothing that is said of a service is for it.
        let of_service = if provider.is_bare() { Vec::new() } else { rule::keys_of(provider) };
        let keys = provider.application.iter().cloned().chain(of_service);
        let central = keys.filter_map(|key| self.central.rules.get(&key)).flatten();
        for (name, rule) in self.own.iter().chain(central).collect::<Vec<_>>() {
            let outcome = rule.as_ref().map_err(Clone::clone).and_then(|rule| rule.apply(provider));
            if let Err(why) = outcome {
                not_applied.insert(NotApplied::new(name, &why));
            }
        }
    }
}
