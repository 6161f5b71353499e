//! Dubbo's registry: `/dubbo/<interface>/{providers,configurators,routers}/<encoded URL>`, and the rules in `/dubbo/config`.
//!
//! Providers become services by application (one for everything that an application provides), by interface (one for each
//! interface, group and version), or both. Override rules are applied in Dubbo's order; routers and rules that only concern
//! some consumers are not applied, and the service says so by name ([`assemble::NOT_APPLIED`]).
//!
//! Whatever tells how instances are found besides interfaces (Dubbo 3's `/services/<application>` and `/dubbo/metadata`)
//! ends in [`Provider`]s too: `assemble` does not ask where one comes from.
//!
//! | module | what |
//! | --- | --- |
//! | `url` | a URL as a node's name |
//! | `provider` | what a provider's URL says |
//! | `rule` | override rules, from URLs and from YAML |
//! | `governance` | which of them concern whom, and in which order |
//! | `assemble` | providers become services |

mod assemble;
mod governance;
mod provider;
mod rule;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assemble::{Assembler, Offer};
use governance::{Central, Target};
use provider::Provider;

use crate::model::service::Scope;
use crate::registry::zookeeper::layout::{Layout, Unit, Wants};
use crate::registry::zookeeper::tree::{Node, Tree, below, join};

/// Children of the root that are no interfaces.
const RESERVED: [&str; 3] = ["config", "metadata", "mapping"];
/// The folder of the rules in the configuration centre.
const RULES: &str = "dubbo";

/// What becomes a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An application with all that it provides.
    Application,
    /// An interface in a group and a version.
    Interface,
    /// Both.
    Both,
}

impl By {
    fn application(self) -> bool {
        self != Self::Interface
    }

    fn interface(self) -> bool {
        self != Self::Application
    }
}

/// Where Dubbo's registry is, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DubboSettings {
    /// Its root: `/dubbo`, or another where the providers' registry has a `group`.
    pub root: Arc<str>,
    /// Where the configuration centre is: `/dubbo/config`, whatever the group.
    pub config_root: Arc<str>,
    /// What becomes a service.
    pub by: By,
}

/// The layout.
#[derive(Debug)]
pub(crate) struct Dubbo {
    settings: DubboSettings,
    assembler: Assembler,
    central: Central,
    /// The applications that provide each interface's folder.
    members: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// The folders in which each application provides something.
    folders: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    touched: Touched,
}

/// What something was noted of.
#[derive(Debug, Default)]
struct Touched {
    folders: BTreeSet<Arc<str>>,
    applications: BTreeSet<Arc<str>>,
    /// Nodes of the configuration centre.
    rules: BTreeSet<Arc<str>>,
}

impl Dubbo {
    /// The layout below the root of `settings`.
    pub(crate) fn new(settings: DubboSettings, scope: Scope) -> Self {
        let assembler = Assembler { root: Arc::clone(&settings.root), scope };
        let (central, members, folders, touched) = Default::default();
        Self { settings, assembler, central, members, folders, touched }
    }

    fn rules_root(&self) -> Arc<str> {
        join(&self.settings.config_root, RULES)
    }

    /// Reads the rules of the configuration centre that something was noted of, and touches whom they concern.
    fn read_rules(&mut self, tree: &Tree) {
        for name in std::mem::take(&mut self.touched.rules) {
            let node = tree.get(&join(&self.rules_root(), &name));
            let Some(target) = self.central.read(&name, node) else { continue };
            let (Target::Interface(key) | Target::Either(key)) = &target;
            let mut folders: BTreeSet<Arc<str>> = self.folder_of(key).into_iter().collect();
            if let Target::Either(key) = &target
                && let Some((application, provided)) = self.folders.get_key_value(key)
            {
                // An application's rule holds for its interfaces as well.
                self.touched.applications.insert(Arc::clone(application));
                folders.extend(provided.iter().cloned());
            }
            for folder in folders {
                self.touched.applications.extend(self.members.get(&folder).into_iter().flatten().cloned());
                self.touched.folders.insert(folder);
            }
        }
    }

    /// The folder of `interface`, if there is one.
    fn folder_of(&self, interface: &str) -> Option<Arc<str>> {
        self.members.get_key_value(&*url::encode(interface)).map(|(folder, _)| Arc::clone(folder))
    }

    /// Keeps both indexes in line with who provides `folder` now, and touches every application that it concerns.
    fn index(&mut self, tree: &Tree, folder: &Arc<str>) {
        let there = tree.get(&join(&self.settings.root, folder)).is_some();
        let now = self.applications(tree, folder);
        let before = self.members.remove(folder).unwrap_or_default();
        for application in before.difference(&now) {
            if let Some(folders) = self.folders.get_mut(application) {
                folders.remove(folder);
                if folders.is_empty() {
                    self.folders.remove(application);
                }
            }
        }
        for application in &now {
            self.folders.entry(Arc::clone(application)).or_default().insert(Arc::clone(folder));
        }
        self.touched.applications.extend(before.into_iter().chain(now.iter().cloned()));
        if there {
            self.members.insert(Arc::clone(folder), now);
        }
    }

    /// All that `folder` offers: its providers with the rules applied.
    fn offer(&self, tree: &Tree, folder: &str) -> Offer {
        let mut offer = Offer::default();
        let Some(node) = tree.get(&join(&self.settings.root, folder)) else { return offer };
        let interface = interface_in(folder);
        let rules = self.central.for_interface(node, &interface);
        offer.not_applied.extend(rules.routers());
        for (name, _) in node.child("providers").into_iter().flat_map(Node::children) {
            let id = url::shown(name);
            match Provider::parse(name, &interface) {
                Ok(mut provider) => {
                    rules.apply(&mut provider, &mut offer.not_applied);
                    offer.providers.push((id, provider));
                }
                Err(fault) => offer.faults.push((id, fault)),
            }
        }
        offer
    }

    /// The applications that provide `folder`; rules change nothing about that.
    fn applications(&self, tree: &Tree, folder: &str) -> BTreeSet<Arc<str>> {
        let path = join(&join(&self.settings.root, folder), "providers");
        let names = tree.get(&path).into_iter().flat_map(Node::children).map(|(name, _)| name);
        let interface = interface_in(folder);
        names.filter_map(|name| Provider::parse(name, &interface).ok()?.application).collect()
    }

    fn interface_unit(&self, tree: &Tree, folder: &Arc<str>) -> Unit {
        let offer = self.offer(tree, folder);
        let path = join(&self.settings.root, folder);
        let mut faults: Vec<String> =
            offer.faults.iter().map(|(id, fault)| format!("{path}: {id}: {fault}")).collect();
        let mut services = Vec::new();
        if self.settings.by.interface() {
            services = self.assembler.interfaces(&interface_in(folder), &offer);
        } else {
            let nameless = offer.providers.iter().filter(|(_, p)| p.application.is_none());
            faults.extend(nameless.map(|(id, _)| format!("{path}: {id}: it names no application")));
        }
        Unit { name: format!("interface {folder}").into(), services, faults }
    }

    fn application_unit(&self, tree: &Tree, application: &Arc<str>) -> Unit {
        let folders = self.folders.get(application).into_iter().flatten();
        let mut offers = folders.map(|folder| self.offer(tree, folder)).collect::<Vec<_>>();
        if let Some(first) = offers.first_mut() {
            first.not_applied.extend(self.central.routers_of(application));
        }
        let services = self.assembler.application(application, &offers).into_iter().collect();
        Unit { name: format!("application {application}").into(), services, faults: Vec::new() }
    }
}

impl Layout for Dubbo {
    fn roots(&self) -> Vec<Arc<str>> {
        vec![Arc::clone(&self.settings.root), Arc::clone(&self.settings.config_root)]
    }

    fn wants(&self, path: &str) -> Wants {
        if *path == *self.settings.config_root || *path == *self.rules_root() {
            return Wants::Children;
        }
        if let Some(name) = below(path, &self.rules_root()) {
            return governance::wants(name);
        }
        if *path == *self.settings.root {
            return Wants::Children;
        }
        let Some(rest) = below(path, &self.settings.root) else { return Wants::Nothing };
        let mut names = rest.split('/');
        match (names.next(), names.next(), names.next(), names.next()) {
            (Some(first), ..) if RESERVED.contains(&first) => Wants::Nothing,
            (Some(_), None, ..) => Wants::Children,
            (Some(_), Some("providers" | "configurators" | "routers"), None, _) => Wants::Children,
            (Some(_), Some("providers" | "configurators" | "routers"), Some(_), None) => Wants::Name,
            _ => Wants::Nothing,
        }
    }

    fn note(&mut self, path: &str) {
        if let Some(name) = below(path, &self.rules_root()) {
            self.touched.rules.insert(name.into());
        } else if self.wants(path) != Wants::Nothing
            && let Some(rest) = below(path, &self.settings.root)
        {
            let folder = rest.split_once('/').map_or(rest, |(folder, _)| folder);
            self.touched.folders.insert(folder.into());
        }
    }

    fn restart(&mut self, tree: &Tree) {
        self.central = Central::default();
        let rules = tree.get(&self.rules_root()).into_iter().flat_map(Node::children);
        self.touched.rules.extend(rules.map(|(name, _)| Arc::clone(name)));
        let known = std::mem::take(&mut self.members).into_keys();
        self.touched.applications.extend(std::mem::take(&mut self.folders).into_keys());
        self.touched.folders.extend(known);
        let there = tree.get(&self.settings.root).into_iter().flat_map(Node::children);
        let interfaces = there.map(|(name, _)| name).filter(|name| !RESERVED.contains(&&***name));
        self.touched.folders.extend(interfaces.cloned());
    }

    fn settle(&mut self, tree: &Tree) -> Vec<Unit> {
        // Who provides what comes first: a rule has to find whom it concerns.
        for folder in self.touched.folders.clone() {
            self.index(tree, &folder);
        }
        self.read_rules(tree);
        let Touched { folders, mut applications, .. } = std::mem::take(&mut self.touched);
        if !self.settings.by.application() {
            applications.clear();
        }
        let mut units: Vec<Unit> = folders.iter().map(|folder| self.interface_unit(tree, folder)).collect();
        units.extend(applications.iter().map(|application| self.application_unit(tree, application)));
        units
    }
}

/// The interface whose folder is called so: names of nodes are percent-encoded.
fn interface_in(folder: &str) -> String {
    url::decode(folder).unwrap_or_else(|| folder.to_owned())
}

#[cfg(test)]
mod tests;
