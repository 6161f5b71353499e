//! What a path is to Dubbo: told by where it lies, never by what it holds.
//!
//! Providers whose registry has a `group` keep interfaces and applications side by side below one root: an instance is told
//! by its name, which has a colon.

use std::sync::Arc;

use super::DubboSettings;
use super::governance;
use crate::registry::zookeeper::layout::Wants;
use crate::registry::zookeeper::tree::{below, join};

/// Children of the root that are neither interfaces nor applications.
pub(crate) const RESERVED: [&str; 3] = ["config", "metadata", "mapping"];
/// The folder of the rules in the configuration centre.
const RULES: &str = "dubbo";
/// The folder of who provides which interface: in the metadata report, and in the configuration centre of 2.7.
const MAPPING: &str = "mapping";
/// The folder of what revisions provide, in the metadata report.
const METADATA: &str = "metadata";
/// What of an interface's folder is looked at.
const KINDS: [&str; 3] = ["providers", "configurators", "routers"];

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// Nothing of interest.
    Elsewhere,
    /// On the way to something.
    Way,
    /// A rule in the configuration centre.
    Rule(&'a str),
    /// In or at the folder of an interface; perhaps of an application.
    Folder(&'a str, Wants),
    /// An instance of an application.
    Instance(&'a str),
    /// Who provides this interface.
    Mapping(&'a str, Wants),
}

impl Place<'_> {
    /// What is wanted to know of a node there.
    pub(crate) fn wants(self) -> Wants {
        match self {
            Self::Elsewhere => Wants::Nothing,
            Self::Way => Wants::Children,
            Self::Rule(name) => governance::wants(name),
            Self::Folder(_, wants) | Self::Mapping(_, wants) => wants,
            Self::Instance(_) => Wants::Data,
        }
    }
}

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) root: Arc<str>,
    pub(crate) services: Arc<str>,
    config: Arc<str>,
    pub(crate) rules: Arc<str>,
    metadata: Arc<str>,
    /// Mappings as values of 3.x, and as folders of 2.7. Absent: nobody needs them.
    mappings: Option<(Arc<str>, Arc<str>)>,
}

impl Places {
    /// The places of `settings`.
    pub(crate) fn new(settings: &DubboSettings) -> Self {
        let mappings = (join(&settings.root, MAPPING), join(&settings.config_root, MAPPING));
        Self {
            root: Arc::clone(&settings.root),
            services: Arc::clone(&settings.services_root),
            config: Arc::clone(&settings.config_root),
            rules: join(&settings.config_root, RULES),
            metadata: join(&settings.root, METADATA),
            mappings: settings.by.interface().then_some(mappings),
        }
    }

    /// The subtrees that are looked at.
    pub(crate) fn roots(&self) -> Vec<Arc<str>> {
        let mut roots = vec![Arc::clone(&self.root), Arc::clone(&self.services), Arc::clone(&self.config)];
        roots.sort();
        roots.dedup();
        roots
    }

    /// Where the metadata report holds a revision.
    pub(crate) fn report(&self, application: &str, revision: &str) -> Arc<str> {
        join(&join(&self.metadata, application), revision)
    }

    /// The nodes that say who provides `interface`: as a value, and as a folder.
    pub(crate) fn mapping(&self, interface: &str) -> Option<(Arc<str>, Arc<str>)> {
        self.mappings.as_ref().map(|(values, folders)| (join(values, interface), join(folders, interface)))
    }

    /// The folders of all mappings.
    pub(crate) fn mapping_roots(&self) -> impl Iterator<Item = &Arc<str>> {
        self.mappings.iter().flat_map(|(values, folders)| [values, folders])
    }

    /// What `path` is.
    pub(crate) fn of<'a>(&self, path: &'a str) -> Place<'a> {
        let is_way =
            [&self.root, &self.services, &self.config, &self.rules].iter().any(|way| ***way == *path);
        if is_way || self.mapping_roots().any(|way| **way == *path) {
            return Place::Way;
        }
        if let Some(name) = below(path, &self.rules) {
            return Place::Rule(name);
        }
        if let Some((values, folders)) = &self.mappings {
            if let Some(name) = below(path, values) {
                return if name.contains('/') { Place::Elsewhere } else { Place::Mapping(name, Wants::Data) };
            }
            if let Some(name) = below(path, folders) {
                return match name.split_once('/') {
                    None => Place::Mapping(name, Wants::Children),
                    Some((name, rest)) if !rest.contains('/') => Place::Mapping(name, Wants::Name),
                    Some(_) => Place::Elsewhere,
                };
            }
        }
        match below(path, &self.root).map(in_root) {
            Some(Place::Elsewhere) | None => self.in_services(path),
            Some(place) => place,
        }
    }

    fn in_services<'a>(&self, path: &'a str) -> Place<'a> {
        // Where they share a root, the names have told already.
        let rest = below(path, &self.services).filter(|_| self.services != self.root);
        let Some(rest) = rest else { return Place::Elsewhere };
        match rest.split_once('/') {
            None => Place::Way,
            Some((application, id)) if !id.contains('/') => Place::Instance(application),
            Some(_) => Place::Elsewhere,
        }
    }
}

fn in_root(rest: &str) -> Place<'_> {
    let mut names = rest.split('/');
    match (names.next(), names.next(), names.next(), names.next()) {
        (Some(first), ..) if RESERVED.contains(&first) => Place::Elsewhere,
        (Some(first), None, ..) => Place::Folder(first, Wants::Children),
        (Some(first), Some(kind), None, _) if KINDS.contains(&kind) => Place::Folder(first, Wants::Children),
        (Some(first), Some(kind), Some(_), None) if KINDS.contains(&kind) => {
            Place::Folder(first, Wants::Name)
        }
        (Some(first), Some(id), None, _) if id.contains(':') => Place::Instance(first),
        _ => Place::Elsewhere,
    }
}
