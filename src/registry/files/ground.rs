//! Where changes are noticed, and which source a noticed path belongs to. Pure but for resolving a parent's real path.
//!
//! Directories are watched one by one under their real paths, never recursively and never a file itself: a link that is
//! swapped takes its directory's watch with it otherwise, and a file that is replaced by a rename is not watched any more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::registry::files::scan::{SourceName, is_ignored, is_source_name};

/// The directories that matter, as the last walk found them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ground {
    /// Real path of each directory below the root, and its name there (empty: the root itself).
    inside: BTreeMap<PathBuf, String>,
    /// Links to directories, where they lie: they come and go like files.
    links: BTreeSet<PathBuf>,
    /// Directories elsewhere in which something matters: the root's own parent, and where links lead.
    outside: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// The only source, where the root is a file.
    single: Option<OsString>,
}

/// What a path is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A source, or what would be one if it is a regular file.
    Source(SourceName),
    /// Something in a directory of ours: of interest if it is a directory or a link.
    Entry,
    /// One of our directories, the root, or what a link leads to.
    Structure,
    /// Nothing of ours.
    Nowhere,
}

impl Ground {
    /// The root is a directory: its own coming and going shows in its parent.
    pub(crate) fn add_root(&mut self, root: &Path) {
        if let Ok(whole) = std::path::absolute(root) {
            self.add_target(&whole);
        }
    }

    /// The root is a file.
    pub(crate) fn add_single(&mut self, root: &Path, name: &str) {
        self.single = Some(name.into());
        let parent = std::path::absolute(root).ok().and_then(|p| p.parent()?.canonicalize().ok());
        self.inside.extend(parent.map(|p| (p, String::new())));
    }

    /// A directory below the root.
    pub(crate) fn add_directory(&mut self, real: PathBuf, name: String) {
        self.inside.insert(real, name);
    }

    /// A link to a directory.
    pub(crate) fn add_link(&mut self, path: &Path) {
        self.links.insert(path.into());
    }

    /// Something outside that one of our names leads to; a parent that cannot be resolved is not watched.
    pub(crate) fn add_target(&mut self, path: &Path) {
        let parent = path.parent().and_then(|p| p.canonicalize().ok());
        if let (Some(parent), Some(name)) = (parent, path.file_name()) {
            self.outside.entry(parent).or_default().insert(name.into());
        }
    }

    /// Whether the root is a file.
    pub(crate) fn is_single(&self) -> bool {
        self.single.is_some()
    }

    /// Every directory to be watched.
    pub(crate) fn directories(&self) -> BTreeSet<PathBuf> {
        self.inside.keys().chain(self.outside.keys()).cloned().collect()
    }

    /// What `path`, as a watch reports it, is to us.
    pub(crate) fn place(&self, path: &Path) -> Place {
        if self.inside.contains_key(path) || self.links.contains(path) {
            return Place::Structure;
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Place::Nowhere };
        let inside = self.inside.get(parent).map_or(Place::Nowhere, |d| self.place_inside(d, name));
        let outside = self.outside.get(parent);
        match inside {
            Place::Source(_) => inside,
            _ if outside.is_some_and(|names| names.contains(name) || is_hidden_twice(name)) => {
                Place::Structure
            }
            _ => inside,
        }
    }

    fn place_inside(&self, directory: &str, name: &OsStr) -> Place {
        let source = self.single.as_deref().map_or_else(|| is_source_name(name), |single| single == name);
        match name.to_str() {
            Some(name) if source && directory.is_empty() => Place::Source(SourceName::new(name)),
            Some(name) if source => Place::Source(SourceName::new(&format!("{directory}/{name}"))),
            _ if is_hidden_twice(name) => Place::Entry,
            _ if self.is_single() || is_ignored(name) => Place::Nowhere,
            _ => Place::Entry,
        }
    }
}

/// `..data` and its like: never a source, but when it is swapped, what the links beside it lead to is.
fn is_hidden_twice(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"..")
}
