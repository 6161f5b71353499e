//! Home-made layouts: a pattern of the path says where instances are, pointers say what of their data means what.
//!
//! ```text
//! /apps/{service}/nodes/{instance}     and  {"host": "10.0.0.1", "port": 80}  with  address: /host, port: /port
//! ```
//! An instance without data, or a layout without pointers, is where the node's name says: `10.0.0.1:80`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::model::endpoint::{Address, Endpoint, EndpointPorts, Weight};
use crate::model::service::{Protocol, Scope};
use crate::registry::zookeeper::layout::{Layout, Unit, Wants, add_variables, service};
use crate::registry::zookeeper::tree::{Node, Tree, below, join, within};

/// `{domain}` of these services.
const DOMAIN: &str = "zookeeper";
/// What a part of the path may be called; templates of hosts know the last three.
const VARIABLES: [&str; 5] = ["service", "instance", "group", "version", "namespace"];
/// An instance has hundreds of bytes.
const MAX_DATA: usize = 256 * 1024;

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// This name.
    Literal(Arc<str>),
    /// Any name.
    Any,
    /// Any name, and what it is.
    Variable(Arc<str>),
}

/// Where instances are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

impl Pattern {
    /// Reads `/apps/{service}/{instance}`; parts may be `*`. `None`: it is none; the configuration says why.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut parts, mut taken) = (Vec::new(), BTreeSet::new());
        for part in text.strip_prefix('/')?.split('/') {
            let name = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'));
            parts.push(match (part, name) {
                ("*", _) => Part::Any,
                (_, Some(name)) if VARIABLES.contains(&name) && taken.insert(name) => {
                    Part::Variable(name.into())
                }
                (literal, None) if !literal.is_empty() && !literal.contains(['{', '}', '*']) => {
                    Part::Literal(literal.into())
                }
                _ => return None,
            });
        }
        let last = parts.last() == Some(&Part::Variable("instance".into()));
        // Without a name at the beginning, all of ZooKeeper would be read.
        let rooted = matches!(parts.first(), Some(Part::Literal(_)));
        (last && rooted && taken.contains("service")).then_some(Self(parts))
    }

    /// The names before the first part that may be anything.
    #[must_use]
    pub fn root(&self) -> Arc<str> {
        let literal =
            self.0.iter().map_while(|p| if let Part::Literal(name) = p { Some(&**name) } else { None });
        literal.fold(Arc::from("/"), |path, name| join(&path, name))
    }

    /// How many parts of `path` match, if all of them do; 0 for the top.
    fn depth(&self, path: &str) -> Option<usize> {
        let names: Vec<&str> = path.split('/').filter(|n| !n.is_empty()).collect();
        let fits = |(name, part): (&&str, &Part)| match part {
            Part::Literal(literal) => **literal == **name,
            Part::Any | Part::Variable(_) => true,
        };
        (names.len() <= self.0.len() && names.iter().zip(&self.0).all(fits)).then_some(names.len())
    }

    /// What the parts of `path` are.
    fn variables<'a>(&'a self, path: &'a str) -> BTreeMap<&'a str, &'a str> {
        let names = path.split('/').filter(|n| !n.is_empty());
        let named = self.0.iter().zip(names);
        named
            .filter_map(|(part, name)| if let Part::Variable(v) = part { Some((&**v, name)) } else { None })
            .collect()
    }
}

/// A home-made layout. Pointers are JSON's (`/a/0/b`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSettings {
    /// Where instances are.
    pub path: Pattern,
    /// Where an instance says its address; absent: its name does, with the port.
    pub address: Option<String>,
    /// Where it says its port; absent: behind its address (`10.0.0.1:80`).
    pub port: Option<String>,
    /// Where it says its weight, relative to the others.
    pub weight: Option<String>,
    /// Where it says whether it is to be called; `false` leaves it out.
    pub enabled: Option<String>,
    /// Where its metadata is: a map.
    pub metadata: Option<String>,
    /// Of its services.
    pub protocol: Protocol,
}

/// The layout.
#[derive(Debug)]
pub(crate) struct Template {
    settings: TemplateSettings,
    root: Arc<str>,
    scope: Scope,
    /// Folders of instances that something was noted of.
    touched: BTreeSet<Arc<str>>,
    /// Folders that are services.
    known: BTreeSet<Arc<str>>,
}

impl Template {
    /// The layout of `settings`.
    pub(crate) fn new(settings: TemplateSettings, scope: Scope) -> Self {
        let root = settings.path.root();
        Self { settings, root, scope, touched: BTreeSet::new(), known: BTreeSet::new() }
    }

    /// How many parts a folder of instances has.
    fn folder_depth(&self) -> usize {
        self.settings.path.0.len() - 1
    }

    fn unit(&self, tree: &Tree, folder: &Arc<str>) -> Unit {
        let mut unit = Unit { name: Arc::clone(folder), services: Vec::new(), faults: Vec::new() };
        let Some(node) = tree.get(folder).filter(|node| !node.is_leaf()) else { return unit };
        let mut variables = self.settings.path.variables(folder);
        let name = variables.remove("service").unwrap_or_default();
        let mut made = service(&format!("{folder}#"), name, &self.scope, DOMAIN);
        made.says.protocol = Some(self.settings.protocol);
        let dashed: Vec<(&str, String)> =
            variables.into_iter().map(|(k, v)| (k, v.replace('.', "-"))).collect();
        add_variables(&mut made, &dashed.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>());
        for (id, child) in node.children() {
            match self.instance(id, child) {
                Ok(endpoint) => made.endpoints.push(endpoint),
                Err(reason) => made.left_out.add(reason, Arc::clone(id)),
            }
        }
        unit.services.push(made);
        unit
    }

    fn instance(&self, id: &Arc<str>, node: &Node) -> Result<Endpoint, &'static str> {
        let s = &self.settings;
        let data = node.data.as_deref().unwrap_or_default();
        let json = if s.address.is_none() && data.trim_ascii().is_empty() {
            Value::Null
        } else if data.len() > MAX_DATA {
            return Err("its data is larger than 256 KiB");
        } else {
            match serde_json::from_slice(data) {
                Ok(json) => json,
                // A layout that looks for nothing in the data does not mind what is there.
                Err(_) if s.address.is_none() => Value::Null,
                Err(_) => return Err("its data is no JSON"),
            }
        };
        let at = |pointer: &Option<String>| json.pointer(pointer.as_deref()?);
        if matches!(at(&s.enabled), Some(Value::Bool(false))) {
            return Err("disabled");
        }
        let text = match &s.address {
            None => &**id,
            Some(_) => at(&s.address).and_then(Value::as_str).ok_or("no address")?,
        };
        let (address, port) = match &s.port {
            Some(_) => (text, number(at(&s.port)).ok_or("no port")?),
            None => {
                let (address, port) = text.rsplit_once(':').ok_or("no port")?;
                (address, port.parse().map_err(|_| "its port is none (1 to 65535)")?)
            }
        };
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let address = Address::parse(bare).map_err(|_| "its address is neither an address nor a name")?;
        let port = u16::try_from(port).ok().filter(|p| *p != 0).ok_or("its port is none (1 to 65535)")?;
        let weight = at(&s.weight).and_then(Value::as_f64).and_then(Weight::new).unwrap_or(Weight::ONE);
        let labels =
            at(&s.metadata).and_then(Value::as_object).into_iter().flatten().filter_map(label).collect();
        Ok(Endpoint { id: Arc::clone(id), labels, weight, ..Endpoint::at(address, EndpointPorts::One(port)) })
    }
}

fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64().or(Some(0)),
        Value::String(text) => text.parse().ok().or(Some(0)),
        _ => None,
    }
}

fn label((key, value): (&String, &Value)) -> Option<(Arc<str>, Arc<str>)> {
    let value = match value {
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => number.to_string().into(),
        Value::Bool(bool) => bool.to_string().into(),
        _ => return None,
    };
    Some((key.as_str().into(), value))
}

impl Layout for Template {
    fn roots(&self) -> Vec<Arc<str>> {
        vec![Arc::clone(&self.root)]
    }

    fn wants(&self, path: &str) -> Wants {
        match self.settings.path.depth(path) {
            Some(depth) if depth == self.settings.path.0.len() => Wants::Data,
            Some(_) if *path == *self.root || below(path, &self.root).is_some() => Wants::Children,
            _ => Wants::Nothing,
        }
    }

    fn note(&mut self, path: &str) {
        let Some(depth) = self.settings.path.depth(path) else { return };
        if depth < self.folder_depth() {
            self.touched.extend(within(&self.known, path).cloned());
        } else if depth == self.folder_depth() {
            self.touched.insert(path.into());
        } else if let Some((folder, _)) = path.rsplit_once('/') {
            self.touched.insert(folder.into());
        }
    }

    fn restart(&mut self, tree: &Tree) {
        self.touched.extend(std::mem::take(&mut self.known));
        let mut open: Vec<(Arc<str>, &Node)> =
            tree.get(&self.root).into_iter().map(|node| (Arc::clone(&self.root), node)).collect();
        while let Some((path, node)) = open.pop() {
            match self.settings.path.depth(&path) {
                Some(depth) if depth == self.folder_depth() => drop(self.touched.insert(path)),
                Some(_) => open.extend(node.children().map(|(name, child)| (join(&path, name), child))),
                None => {}
            }
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
