//! Curator's x-discovery and Spring Cloud ZooKeeper: `/services/<name>/<id>`, JSON in each. Names may have slashes.
//!
//! Dubbo 3 registers its applications in the same form and below the same root; those instances are not ours, and a folder
//! that holds nothing else is no service. Every node below the root may be a folder, an instance, or nothing at all: what
//! is no JSON object and has something below it is a folder, whatever it holds (Curator writes its own address there).

mod instance;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use instance::{Instance, Read, is_dubbo};

use crate::model::endpoint::{Endpoint, EndpointPorts};
use crate::model::service::{Protocol, Scope};
use crate::registry::zookeeper::layout::{Layout, Unit, Wants, service};
use crate::registry::zookeeper::tree::{Node, Tree, below, join, split, within};

/// `{domain}` of these services.
const DOMAIN: &str = "zookeeper";
/// How deep a nested name may be; also what keeps a foreign tree below the root from being read to its end.
const DEPTH: usize = 8;

/// Where Curator's registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CuratorSettings {
    /// Its root: `/services` in Spring Cloud.
    pub root: Arc<str>,
    /// Of services that Spring Cloud did not write.
    pub protocol: Protocol,
}

/// The layout.
#[derive(Debug)]
pub(crate) struct Curator {
    root: Arc<str>,
    protocol: Protocol,
    scope: Scope,
    /// Folders that something was noted of, by path.
    touched: BTreeSet<Arc<str>>,
    /// Folders that are services.
    known: BTreeSet<Arc<str>>,
}

impl Curator {
    /// The layout below the root of `settings`.
    pub(crate) fn new(settings: CuratorSettings, scope: Scope) -> Self {
        let CuratorSettings { root, protocol } = settings;
        Self { root, protocol, scope, touched: BTreeSet::new(), known: BTreeSet::new() }
    }

    fn unit(&self, tree: &Tree, folder: &Arc<str>) -> Unit {
        let mut unit = Unit { name: Arc::clone(folder), services: Vec::new(), faults: Vec::new() };
        let (Some(name), Some(node)) = (below(folder, &self.root), tree.get(folder)) else { return unit };
        let mut made = service(&format!("{}#{name}", self.root), name, &self.scope, DOMAIN);
        let (mut found, mut foreign, mut spring) = (false, false, false);
        for (id, child) in node.children() {
            match Read::of(child) {
                Read::Nothing => continue,
                Read::Foreign => {
                    foreign = true;
                    continue;
                }
                Read::LeftOut(reason) => made.left_out.add(&reason, Arc::clone(id)),
                Read::Instance(instance) => {
                    spring |= instance.spring;
                    made.endpoints.push(endpoint(id, *instance));
                }
            }
            found = true;
        }
        if !made.endpoints.is_empty() && !spring {
            made.says.protocol = Some(self.protocol);
        }
        // What cannot be read beside Dubbo's instances is a broken one of those.
        if found && (!foreign || !made.endpoints.is_empty()) {
            unit.services.push(made);
        }
        unit
    }
}

fn endpoint(id: &Arc<str>, instance: Instance) -> Endpoint {
    let mut ports: Vec<(Arc<str>, u16)> = Vec::new();
    // Names tell the protocol of a port with TLS; that of the plain one is the service's.
    ports.extend(instance.port.map(|port| (if instance.spring { "http" } else { "auto" }.into(), port)));
    ports.extend(
        instance.secure_port.map(|port| (if instance.spring { "https" } else { "tls" }.into(), port)),
    );
    Endpoint {
        id: Arc::clone(id),
        labels: instance.metadata,
        ..Endpoint::at(instance.address, EndpointPorts::Named(ports.into()))
    }
}

impl Layout for Curator {
    fn roots(&self) -> Vec<Arc<str>> {
        vec![Arc::clone(&self.root)]
    }

    fn wants(&self, path: &str) -> Wants {
        if *path == *self.root {
            return Wants::Children;
        }
        match below(path, &self.root).map(|rest| rest.split('/').count()) {
            // Directly below the root there are only folders; what they hold is of no interest.
            Some(1) => Wants::Children,
            Some(depth) if depth <= DEPTH => Wants::Both,
            _ => Wants::Nothing,
        }
    }

    fn note(&mut self, path: &str) {
        if self.wants(path) == Wants::Nothing {
            return;
        }
        if below(path, &self.root).is_some() {
            // As a folder that went with all that was below it, as an instance of the folder above, and as what makes
            // that one a folder and no instance itself.
            self.touched.extend(within(&self.known, path).cloned());
            self.touched.insert(path.into());
            let above = split(path).map(|(parent, _)| parent);
            let twice = above.and_then(split).map(|(parent, _)| parent);
            self.touched.extend(above.into_iter().chain(twice).map(Arc::from));
        }
    }

    fn restart(&mut self, tree: &Tree) {
        self.touched.extend(std::mem::take(&mut self.known));
        let mut open: Vec<(Arc<str>, &Node)> =
            tree.get(&self.root).into_iter().map(|node| (Arc::clone(&self.root), node)).collect();
        while let Some((path, node)) = open.pop() {
            for (name, child) in node.children().filter(|(_, child)| !child.is_leaf()) {
                open.push((join(&path, name), child));
            }
            self.touched.insert(path);
        }
    }

    fn settle(&mut self, tree: &Tree) -> Vec<Unit> {
        let touched = std::mem::take(&mut self.touched);
        let units: Vec<Unit> = touched.iter().map(|folder| self.unit(tree, folder)).collect();
        for unit in &units {
            if unit.services.is_empty() {
                self.known.remove(&unit.name);
            } else {
                self.known.insert(Arc::clone(&unit.name));
            }
        }
        units
    }
}

#[cfg(test)]
mod tests;
