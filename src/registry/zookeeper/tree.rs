//! A mirror of the part of ZooKeeper that layouts look at. Pure: what was read or reported is put in, nothing is fetched.
//!
//! Only what a layout wants is kept. A node that may not be read is marked as such and keeps what was known of it: lost
//! rights are no absence.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// One node: what it holds, and the nodes below it that anyone wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its data, where a layout wants that; absent: not read, or it may not be read.
    pub(crate) data: Option<Arc<[u8]>>,
    children: BTreeMap<Arc<str>, Node>,
}

impl Node {
    /// The nodes below it by name.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&Arc<str>, &Self)> {
        self.children.iter()
    }

    /// The node of that name below it.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.get(name)
    }

    /// Whether there is none below it, as far as anyone wants to know.
    pub(crate) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }
}

/// The mirror. Paths are ZooKeeper's: `/a/b`, and `/` for the top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    top: Node,
    denied: BTreeSet<Arc<str>>,
}

/// The names on the way to `path`.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// The path of `name` below `path`.
pub(crate) fn join(path: &str, name: &str) -> Arc<str> {
    if path == "/" { format!("/{name}").into() } else { format!("{path}/{name}").into() }
}

/// The path of the node above, and the name in it; `None` for the top.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/')?;
    let parent = if parent.is_empty() { "/" } else { parent };
    (!name.is_empty()).then_some((parent, name))
}

/// What follows `root` in `path`, without a slash; `None` where `path` is `root` or lies elsewhere.
pub(crate) fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let rest = if root == "/" { path } else { path.strip_prefix(root)? };
    rest.strip_prefix('/').filter(|rest| !rest.is_empty())
}

/// Those of `paths` that lie below `path`.
pub(crate) fn within<'a>(paths: &'a BTreeSet<Arc<str>>, path: &str) -> impl Iterator<Item = &'a Arc<str>> {
    let from: Arc<str> = if path == "/" { path.into() } else { format!("{path}/").into() };
    let range = (Bound::Excluded(Arc::clone(&from)), Bound::Unbounded);
    paths.range(range).take_while(move |p| p.starts_with(&*from))
}

impl Tree {
    /// The node at `path`, if it is there.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        names(path).try_fold(&self.top, |node, name| node.children.get(name))
    }

    /// The node at `path`, made with all above it where it is missing.
    fn make(&mut self, path: &str) -> &mut Node {
        names(path).fold(&mut self.top, |node, name| node.children.entry(name.into()).or_default())
    }

    /// There is a node at `path`. What is known of it stays.
    pub(crate) fn put(&mut self, path: &str) {
        self.make(path);
    }

    /// There is a node at `path`, and this is its data.
    pub(crate) fn put_data(&mut self, path: &str, data: &[u8]) {
        self.make(path).data = Some(data.into());
    }

    /// The node at `path` and all below it are gone: the paths of those that were there.
    pub(crate) fn remove(&mut self, path: &str) -> Vec<Arc<str>> {
        let Some((parent, name)) = split(path) else { return Vec::new() };
        let found = names(parent).try_fold(&mut self.top, |node, name| node.children.get_mut(name));
        let Some(gone) = found.and_then(|node| node.children.remove(name)) else { return Vec::new() };
        self.denied.retain(|denied| &**denied != path && below(denied, path).is_none());
        let (mut paths, mut open) = (Vec::new(), vec![(Arc::from(path), gone)]);
        while let Some((path, node)) = open.pop() {
            open.extend(node.children.into_iter().map(|(name, child)| (join(&path, &name), child)));
            paths.push(path);
        }
        paths
    }

    /// `names` is all that there is below `path`: the paths of what was known below it and is there no more.
    pub(crate) fn missing(&self, path: &str, names: &BTreeSet<&str>) -> Vec<Arc<str>> {
        let known = self.get(path).into_iter().flat_map(Node::children);
        known.filter(|(name, _)| !names.contains(&***name)).map(|(name, _)| join(path, name)).collect()
    }

    /// What `other` knows of the node at `path` and of all below it stands here too.
    pub(crate) fn graft(&mut self, path: &str, other: &Self) {
        if let Some(known) = other.get(path) {
            *self.make(path) = known.clone();
        }
    }

    /// The node at `path` may not be read. What is known of it and of all below it stays.
    pub(crate) fn deny(&mut self, path: &Arc<str>) {
        self.make(path);
        self.denied.insert(Arc::clone(path));
    }

    /// The node at `path` can be read again.
    pub(crate) fn allow(&mut self, path: &str) {
        self.denied.remove(path);
    }

    /// Whether the node at `path` could not be read when that was last tried.
    pub(crate) fn is_denied(&self, path: &str) -> bool {
        self.denied.contains(path)
    }

    /// The nodes that may not be read, in order.
    pub(crate) fn denied(&self) -> impl Iterator<Item = &Arc<str>> {
        self.denied.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_and_put_together() {
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/"), None);
        assert_eq!((&*join("/", "a"), &*join("/a", "b")), ("/a", "/a/b"));
        assert_eq!(below("/a/b/c", "/a"), Some("b/c"));
        assert_eq!(below("/ab", "/a"), None);
        assert_eq!((below("/a", "/"), below("/a", "/a")), (Some("a"), None));
    }

    #[test]
    fn a_removed_node_takes_along_what_is_below_it() {
        let mut tree = Tree::default();
        tree.put("/a/b/c");
        tree.put_data("/a/d", b"x");
        assert_eq!(tree.get("/a/d").and_then(|n| n.data.as_deref()), Some(&b"x"[..]));
        assert_eq!(tree.remove("/a/b"), ["/a/b".into(), "/a/b/c".into()]);
        assert!(tree.get("/a/b/c").is_none() && tree.get("/a/d").is_some());
        assert!(tree.remove("/a/b").is_empty(), "it was there once");
        assert_eq!(tree.missing("/a", &["e"].into()), ["/a/d".into()]);
    }

    #[test]
    fn what_may_not_be_read_keeps_what_was_known_of_it() {
        let (mut before, mut now) = (Tree::default(), Tree::default());
        before.put("/a/b/c");
        now.graft("/a/b", &before);
        now.deny(&"/a/b".into());
        now.deny(&"/a/new".into());
        assert!(now.get("/a/b/c").is_some());
        assert_eq!(now.denied().map(|p| &**p).collect::<Vec<_>>(), ["/a/b", "/a/new"]);
        now.allow("/a/b");
        now.remove("/a/new");
        assert_eq!(now.denied().count(), 0);
    }

    #[test]
    fn a_path_is_within_another_by_whole_names() {
        let paths: BTreeSet<Arc<str>> = ["/a", "/a/b", "/a/b/c", "/a-b", "/ab"].map(Arc::from).into();
        assert_eq!(within(&paths, "/a").map(|p| &**p).collect::<Vec<_>>(), ["/a/b", "/a/b/c"]);
        assert_eq!(within(&paths, "/").count(), 5);
    }
}
