//! Dubbo's registry, at both of its levels. By interface: `/dubbo/<interface>/{providers,configurators,routers}/<encoded
//! URL>`. By application: `/services/<application>/<instance>`, with what a revision provides in `/dubbo/metadata` or told
//! by the instances themselves. And the rules in `/dubbo/config`.
//!
//! Whatever level they register at, providers end in [`Provider`]s, and become services by application (one for everything
//! that an application provides), by interface (one for each interface, group and version), or both. What is registered at
//! both levels is one provider; while a level goes, the other one holds the service. Override rules are applied in Dubbo's
//! order; routers and rules that only concern some consumers are not applied, and the service says so by name
//! ([`assemble::NOT_APPLIED`]).
//!
//! | module | what |
//! | --- | --- |
//! | `place` | what a path is |
//! | `url` | a URL as a node's name |
//! | `provider` | what a provider says |
//! | `folders` | the interfaces' folders, read |
//! | `instance` | one instance of an application |
//! | `metadata` | what a revision of an application provides |
//! | `applications` | the applications' instances and what is known of them |
//! | `rule` | override rules, from URLs and from YAML |
//! | `governance` | which of them concern whom, and in which order |
//! | `offers` | both levels and the rules together |
//! | `assemble` | providers become services |

mod applications;
mod assemble;
mod folders;
mod governance;
mod instance;
pub(crate) mod metadata;
mod offers;
mod place;
mod provider;
mod rule;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use applications::Applications;
use assemble::Assembler;
use folders::Folders;
use governance::{Central, Target};
use place::{Place, Places, RESERVED};

use crate::model::service::Scope;
use crate::registry::zookeeper::layout::question::{Finding, Question};
use crate::registry::zookeeper::layout::{Layout, Unit, Wants};
use crate::registry::zookeeper::tree::{Node, Tree, join};

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
    /// Its root: `/dubbo`, or another where the providers' registry has a `group`. The metadata report is below it.
    pub root: Arc<str>,
    /// Where applications register themselves: `/services`, or the root where that is another.
    pub services_root: Arc<str>,
    /// Where the configuration centre is: `/dubbo/config`, whatever the group.
    pub config_root: Arc<str>,
    /// What becomes a service.
    pub by: By,
    /// Whether instances are asked what they provide where the metadata report does not say it.
    pub ask: bool,
}

impl DubboSettings {
    /// Everything where it usually is.
    #[must_use]
    pub fn usual(by: By) -> Self {
        Self {
            root: "/dubbo".into(),
            services_root: "/services".into(),
            config_root: "/dubbo/config".into(),
            by,
            ask: true,
        }
    }
}

/// The layout.
#[derive(Debug)]
pub(crate) struct Dubbo {
    settings: DubboSettings,
    places: Places,
    assembler: Assembler,
    central: Central,
    folders: Folders,
    applications: Applications,
    /// What is to be asked, by application.
    questions: BTreeMap<Arc<str>, Vec<Question>>,
    touched: Touched,
}

/// What something was noted of.
#[derive(Debug, Default)]
struct Touched {
    /// Nodes of the configuration centre.
    rules: BTreeSet<Arc<str>>,
    /// Folders in which something may be new.
    folders: BTreeSet<Arc<str>>,
    /// Instances by path, with their applications.
    instances: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Interfaces that may be mapped otherwise.
    mappings: BTreeSet<Arc<str>>,
    /// Applications of which something was learnt.
    learnt: BTreeSet<Arc<str>>,
}

/// Units that are to be put together anew.
#[derive(Debug, Default)]
struct Stale {
    /// Of interfaces, by the names of their folders, whether these are there or not.
    folders: BTreeSet<Arc<str>>,
    /// Of applications.
    applications: BTreeSet<Arc<str>>,
}

impl Dubbo {
    /// The layout below the roots of `settings`.
    pub(crate) fn new(settings: DubboSettings, scope: Scope) -> Self {
        let assembler = Assembler { root: Arc::clone(&settings.root), scope };
        let places = Places::new(&settings);
        let (central, folders, applications, questions, touched) = Default::default();
        Self { settings, places, assembler, central, folders, applications, questions, touched }
    }

    /// Reads what is new in the interfaces' folders.
    fn read_folders(&mut self, tree: &Tree, stale: &mut Stale) {
        for folder in std::mem::take(&mut self.touched.folders) {
            let node = tree.get(&join(&self.settings.root, &folder));
            stale.applications.extend(self.folders.sync(&folder, node));
            // The folder's rules hold for whoever registers only itself, too.
            let interface = folders::interface_in(&folder);
            stale.applications.extend(self.applications.declaring(&interface).cloned());
            stale.folders.insert(folder);
        }
    }

    /// Reads what is new of the applications' instances.
    fn read_instances(&mut self, tree: &Tree, stale: &mut Stale) {
        let mut applications = std::mem::take(&mut self.touched.learnt);
        for (path, application) in std::mem::take(&mut self.touched.instances) {
            let data = tree.get(&path).and_then(|node| node.data.as_deref());
            self.applications.sync(&application, &path, data);
            applications.insert(application);
        }
        for interface in std::mem::take(&mut self.touched.mappings) {
            let mapped = self.mapped(tree, &interface);
            let interface = folders::interface_in(&interface).into();
            applications.extend(self.applications.map(&interface, mapped));
        }
        for application in applications {
            let concerned = self.applications.index(&application);
            stale.folders.extend(concerned.iter().map(|interface| Arc::from(url::encode(interface))));
            stale.applications.insert(application);
        }
    }

    /// Who provides the interface of this name, says the mapping.
    fn mapped(&self, tree: &Tree, name: &str) -> BTreeSet<Arc<str>> {
        let Some((value, folder)) = self.places.mapping(name) else { return BTreeSet::new() };
        let data = tree.get(&value).and_then(|node| node.data.as_deref()).unwrap_or_default();
        let text = std::str::from_utf8(data).unwrap_or_default();
        let listed = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Arc::from);
        let below = tree.get(&folder).into_iter().flat_map(Node::children).map(|(name, _)| Arc::clone(name));
        listed.chain(below).collect()
    }

    /// Reads the rules of the configuration centre that something was noted of.
    fn read_rules(&mut self, tree: &Tree, stale: &mut Stale) {
        for name in std::mem::take(&mut self.touched.rules) {
            let node = tree.get(&join(&self.places.rules, &name));
            let Some(target) = self.central.read(&name, node) else { continue };
            let (Target::Interface(key) | Target::Either(key)) = &target;
            let mut folders: BTreeSet<Arc<str>> = self.folders.of_interface(key).into_iter().collect();
            if self.applications.declaring(key).next().is_some() {
                folders.insert(url::encode(key).into());
            }
            if let Target::Either(application) = &target {
                // An application's rule holds for its interfaces as well.
                stale.applications.insert(Arc::clone(application));
                folders.extend(self.folders_of(application));
            }
            for folder in folders {
                stale.applications.extend(self.folders.applications(&folder).cloned());
                let interface = folders::interface_in(&folder);
                stale.applications.extend(self.applications.declaring(&interface).cloned());
                stale.folders.insert(folder);
            }
        }
    }

    /// The folders of all that `application` provides at either level.
    fn folders_of(&self, application: &str) -> BTreeSet<Arc<str>> {
        let declared = self.applications.declares(application).map(|i| Arc::from(url::encode(i)));
        self.folders.of_application(application).cloned().chain(declared).collect()
    }
}

impl Layout for Dubbo {
    fn roots(&self) -> Vec<Arc<str>> {
        self.places.roots()
    }

    fn wants(&self, path: &str) -> Wants {
        self.places.of(path).wants()
    }

    fn note(&mut self, path: &str) {
        match self.places.of(path) {
            Place::Elsewhere | Place::Way => {}
            Place::Rule(name) => drop(self.touched.rules.insert(name.into())),
            Place::Folder(name, _) => drop(self.touched.folders.insert(name.into())),
            Place::Instance(name) => drop(self.touched.instances.insert((path.into(), name.into()))),
            Place::Mapping(name, _) => drop(self.touched.mappings.insert(name.into())),
        }
    }

    fn restart(&mut self, tree: &Tree) {
        self.central = Central::default();
        self.touched.rules.extend(names(tree, &self.places.rules));
        self.touched.folders.extend(self.folders.names().cloned());
        let there = names(tree, &self.settings.root).filter(|name| !RESERVED.contains(&&**name));
        self.touched.folders.extend(there);
        let known = self.applications.paths().map(|(name, path)| (Arc::clone(path), Arc::clone(name)));
        self.touched.instances.extend(known);
        for root in [&self.settings.root, &self.settings.services_root] {
            for application in names(tree, root) {
                let folder = join(root, &application);
                let paths = names(tree, &folder).map(|id| join(&folder, &id));
                let instances = paths.filter(|path| matches!(self.places.of(path), Place::Instance(_)));
                self.touched.instances.extend(instances.map(|path| (path, Arc::clone(&application))));
            }
        }
        let mapped = self.applications.mapped_interfaces().map(|i| Arc::from(url::encode(i)));
        self.touched.mappings.extend(mapped);
        self.touched.mappings.extend(self.places.mapping_roots().flat_map(|root| names(tree, root)));
    }

    fn settle(&mut self, tree: &Tree) -> Vec<Unit> {
        let mut stale = Stale::default();
        // Who provides what comes first: a rule has to find whom it concerns.
        self.read_folders(tree, &mut stale);
        self.read_instances(tree, &mut stale);
        self.read_rules(tree, &mut stale);
        for application in &stale.applications {
            self.ask_about(application);
        }
        let mut units: Vec<Unit> = stale.folders.iter().map(|f| self.interface_unit(tree, f)).collect();
        units.extend(stale.applications.iter().map(|a| self.application_unit(tree, a)));
        units
    }

    fn questions(&self) -> Vec<Question> {
        self.questions.values().flatten().cloned().collect()
    }

    fn learn(&mut self, finding: &Finding) {
        if self.applications.learn(finding) {
            self.touched.learnt.insert(Arc::clone(&finding.key.application));
        }
    }
}

/// The names of what is below `path`.
fn names<'a>(tree: &'a Tree, path: &str) -> impl Iterator<Item = Arc<str>> + use<'a> {
    tree.get(path).into_iter().flat_map(Node::children).map(|(name, _)| Arc::clone(name))
}

#[cfg(test)]
mod tests;
