//! What stands in the interfaces' folders, each name read once, and who provides what there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::provider::{Provider, Read};
use super::url;
use crate::registry::zookeeper::tree::Node;

/// The folder of an interface.
#[derive(Debug)]
struct Folder {
    interface: Arc<str>,
    /// The names of the nodes below `providers`, read.
    read: BTreeMap<Arc<str>, Read>,
    applications: BTreeSet<Arc<str>>,
}

/// All folders that are there.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    all: BTreeMap<Arc<str>, Folder>,
    /// The folders in which each application provides something.
    of_application: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Folders {
    /// Reads what is new in `folder`, whose node is `node`; the applications that this may concern.
    pub(crate) fn sync(&mut self, folder: &Arc<str>, node: Option<&Node>) -> BTreeSet<Arc<str>> {
        let before = self.all.get(folder).map(|f| f.applications.clone()).unwrap_or_default();
        let now = match node {
            Some(node) => self.read(folder, node.child("providers")),
            None => {
                self.all.remove(folder);
                BTreeSet::new()
            }
        };
        for application in before.difference(&now) {
            if let Some(folders) = self.of_application.get_mut(application) {
                folders.remove(folder);
                if folders.is_empty() {
                    self.of_application.remove(application);
                }
            }
        }
        for application in now.difference(&before) {
            self.of_application.entry(Arc::clone(application)).or_default().insert(Arc::clone(folder));
        }
        before.into_iter().chain(now).collect()
    }

    /// The applications that provide something in `folder` now.
    fn read(&mut self, folder: &Arc<str>, providers: Option<&Node>) -> BTreeSet<Arc<str>> {
        let known = self.all.entry(Arc::clone(folder)).or_insert_with(|| Folder {
            interface: interface_in(folder).into(),
            read: BTreeMap::new(),
            applications: BTreeSet::new(),
        });
        known.read.retain(|name, _| providers.is_some_and(|p| p.child(name).is_some()));
        let mut like = known.read.values().find_map(|r| r.provider.as_ref().ok()).cloned();
        for (name, _) in providers.into_iter().flat_map(Node::children) {
            if !known.read.contains_key(name) {
                let read = Read::of(name, &known.interface, like.as_ref());
                like = read.provider.as_ref().ok().cloned().or(like);
                known.read.insert(Arc::clone(name), read);
            }
        }
        let providers = known.read.values().filter_map(|r| r.provider.as_ref().ok());
        known.applications = providers.filter_map(|p| p.application.clone()).collect();
        known.applications.clone()
    }

    /// What stands in `folder`, in order.
    pub(crate) fn of(&self, folder: &str) -> impl Iterator<Item = &Read> {
        self.all.get(folder).into_iter().flat_map(|f| f.read.values())
    }

    /// The folder of `interface`, if there is one.
    pub(crate) fn of_interface(&self, interface: &str) -> Option<Arc<str>> {
        self.all.get_key_value(&*url::encode(interface)).map(|(folder, _)| Arc::clone(folder))
    }

    /// The applications that provide something in `folder`.
    pub(crate) fn applications(&self, folder: &str) -> impl Iterator<Item = &Arc<str>> {
        self.all.get(folder).into_iter().flat_map(|f| &f.applications)
    }

    /// The folders in which `application` provides something.
    pub(crate) fn of_application(&self, application: &str) -> impl Iterator<Item = &Arc<str>> {
        self.of_application.get(application).into_iter().flatten()
    }

    /// All that `application` provides.
    pub(crate) fn provided(&self, application: &Arc<str>) -> impl Iterator<Item = &Provider> {
        let folders = self.of_application(application).filter_map(|folder| self.all.get(folder));
        let read = folders.flat_map(|f| f.read.values());
        read.filter_map(move |r| {
            r.provider.as_ref().ok().filter(|p| p.application.as_ref() == Some(application))
        })
    }

    /// All folders.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all.keys()
    }
}

/// The interface whose folder is called so: names of nodes are percent-encoded.
pub(crate) fn interface_in(folder: &str) -> String {
    url::decode(folder).unwrap_or_else(|| folder.to_owned())
}
