//! `registries`: what is read. One kind per entry; kinds that come later are refused as such.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::map::{self, KindDefaults};
use crate::convert::mapping::Mapping;
use crate::model::service::{Protocol, RegistryName};
use crate::yaml::fields::Fields;
use crate::yaml::words::{alternatives, nearest, shown as shown_text};
use crate::yaml::{Fault, Node};

/// One registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Unique; appears in metrics, logs and annotations.
    pub name: RegistryName,
    /// What it is and where.
    pub kind: RegistryKind,
    /// How its services appear in the mesh.
    pub map: Mapping,
}

/// What a registry is, with the settings of its adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryKind {
    /// Files on this machine.
    Files(FilesConfig),
}

/// `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Where they are.
    pub source: Source,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory or a file; relative paths are resolved already. It need not exist yet.
    Path(PathBuf),
    /// Compiled in, for the quickstart: a path for messages, and the text.
    Embedded(&'static [(&'static str, &'static str)]),
}

const FILES: KindDefaults = KindDefaults { placeholders: &["service"], hosts: &[], protocol: Protocol::Auto };

/// Kinds that there are.
const KINDS: [&str; 1] = ["files"];

/// Kinds that have their place and do not work yet.
const LATER: [&str; 5] = ["consul", "eureka", "zookeeper", "nacos", "cloudmap"];

/// Reads `registries`. `None` after a fault that leaves nothing to serve.
pub(super) fn decode(f: &mut Fields<'_, '_>, base: &Path) -> Option<Vec<RegistryConfig>> {
    let node = f.take("registries");
    let elements = node.and_then(Node::list).unwrap_or_default();
    let sections = node.and_then(|_| f.sections("registries"));
    if node.is_none() || sections.as_ref().is_some_and(Vec::is_empty) {
        let at = node.map_or(f.at(), |n| n.at);
        let words = "no registry: there is nothing to serve; write for instance `registries: [{name: onboard, files: {path: services}}]`";
        f.findings().push(Fault::new(at, words));
        return None;
    }
    let mut names: Vec<(RegistryName, u32)> = Vec::new();
    let mut out = Vec::new();
    for (node, mut section) in elements.iter().zip(sections?) {
        let name = name(&mut section, &mut names);
        let body = body(&mut section, node, base);
        if let (Some(name), Some((kind, map))) = (name, body) {
            out.push(RegistryConfig { name, kind, map });
        }
    }
    Some(out)
}

fn name(f: &mut Fields<'_, '_>, taken: &mut Vec<(RegistryName, u32)>) -> Option<RegistryName> {
    let node = f.need("name", Ok)?;
    let name = f.findings().note(read_name(node))?;
    if let Some((_, line)) = taken.iter().find(|(n, _)| *n == name) {
        let words = format!(
            "two registries are called `{name}`, the first in line {line}: each needs a name of its own"
        );
        f.findings().push(node.fault(words));
    }
    taken.push((name.clone(), node.at.line));
    Some(name)
}

/// It becomes a metric's label and an annotation, and people type it.
fn read_name(node: &Node) -> Result<RegistryName, Fault> {
    let text = node.text()?;
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if inner && edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= 63 {
        return Ok(RegistryName::new(text));
    }
    Err(node.fault(format!(
        "`{}` is no legal name: at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit",
        shown_text(text)
    )))
}

fn body(f: &mut Fields<'_, '_>, node: &Node, base: &Path) -> Option<(RegistryKind, Mapping)> {
    f.later(&LATER);
    f.later(&["select", "services", "startup", "guard", "outputs"]);
    let files = f.entry("files");
    let section = f.section("files");
    // Decoded whatever the kind is: what stands there can be wrong by itself.
    let map = map::decode(f.section("map"), &FILES);
    let Some(files) = files else {
        if !f.is_void() && !means_a_kind(node) {
            let words =
                format!("which kind of registry is this? Write {} and its settings", alternatives(&KINDS));
            f.findings().push(Fault::new(f.at(), words));
        }
        return None;
    };
    if !cfg!(feature = "files") {
        let words = "`files` was left out of this build: build with the feature `files`";
        f.findings().push(Fault::new(files.at, words));
    }
    Some((RegistryKind::Files(FilesConfig { source: files_source(section, base)? }), map?))
}

/// Whether a kind stands there that has a fault of its own: one that comes later, or one that is mistyped.
fn means_a_kind(node: &Node) -> bool {
    let means = |key: &str| LATER.contains(&key) || !KINDS.contains(&key) && nearest(key, &KINDS).is_some();
    node.map().is_some_and(|m| m.entries().iter().any(|e| means(&e.key)))
}

fn files_source(mut f: Fields<'_, '_>, base: &Path) -> Option<Source> {
    let path = f.need("path", |n| match n.text()? {
        "" => Err(n.fault("must not be empty: write the directory, `.` for that of this file")),
        text => Ok(base.join(text)),
    })?;
    Some(Source::Path(path))
}

impl RegistryConfig {
    pub(super) fn shown(&self) -> Value {
        let RegistryKind::Files(files) = &self.kind;
        let path = match &files.source {
            Source::Path(path) => path.display().to_string(),
            Source::Embedded(_) => "(built in)".into(),
        };
        json!({ "name": self.name.as_str(), "files": { "path": path }, "map": map::shown(&self.map) })
    }
}
