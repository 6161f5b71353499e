//! From the text of a file to the items that it holds. Pure.
//!
//! A fault is charged to the smallest thing that can be named and kept as it was:
//!
//! - An item that makes no sense is refused alone ([`Item::Refused`]) and whatever was known of it stays. One bad endpoint
//!   refuses its service whole: without it, the others would carry its share of the calls, and nobody asked for that.
//! - Where it cannot be told which items are meant (no YAML, an unknown key beside `services`, an entry without a name), the
//!   file is refused whole: what it said before stays. To drop only the unreadable entry would take an item away.
//! - A file in which nothing is written says nothing; whether that is to be believed is for the caller to decide.
//!
//! Keys are `file#name` for services, `file#Kind/namespace/name` for objects. The same key twice in a file: the first
//! counts, the others are refused as `… (2)`, `… (3)`.

mod object;
mod plain;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::change::Item;
use crate::model::host::is_dns1123_label;
use crate::model::labels::Labels;
use crate::model::service::{ItemKind, Scope, ServiceKey};
use crate::registry::files::scan::SourceName;
use crate::yaml::fields::Findings;
use crate::yaml::{Fault, Node, Value, parse, text, words};

/// The longest file that is read, in bytes: enough for 35,000 services, and a tree of it still fits a small machine.
pub(crate) const LONGEST: usize = 16 * 1024 * 1024;
/// How many faults of a text are shown at most; more help nobody.
const SHOWN: usize = 10;

/// How the files of one registry are read.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    /// The scope of every item.
    pub(crate) scope: Scope,
    /// The namespace of objects that name none.
    pub(crate) namespace: Arc<str>,
}

/// A file being read.
#[derive(Debug)]
struct Reading<'a> {
    decoder: &'a Decoder,
    /// As it begins its items' keys.
    name: &'a str,
    /// As a person finds it.
    shown: &'a str,
    /// What concerns no item in particular.
    findings: Findings,
    items: Vec<Item>,
    taken: BTreeSet<ServiceKey>,
}

impl Decoder {
    /// The items of a file in the order of their keys, each key once; `None`: nothing is written in it.
    ///
    /// # Errors
    /// All that makes the file unreadable as a whole, each with `shown`, line and column.
    pub(crate) fn decode(
        &self,
        name: &SourceName,
        shown: &str,
        bytes: &[u8],
    ) -> Result<Option<Vec<Item>>, String> {
        let complete = |text| parse(text, LONGEST).complete();
        let documents = text(bytes).map_err(|f| vec![f]).and_then(complete).map_err(|f| report(shown, &f))?;
        let documents: Vec<Node> = documents.into_iter().filter(|d| !d.is_null()).collect();
        let mut reading = Reading {
            decoder: self,
            name: name.as_str(),
            shown,
            findings: Findings::default(),
            items: Vec::new(),
            taken: BTreeSet::new(),
        };
        documents.iter().for_each(|d| reading.document(d));
        let faults = reading.findings.into_faults();
        if !faults.is_empty() {
            return Err(report(shown, &faults));
        }
        let mut items = reading.items;
        items.sort_by(|a, b| a.key().cmp(b.key()));
        Ok((!documents.is_empty()).then_some(items))
    }
}

impl Reading<'_> {
    fn document(&mut self, document: &Node) {
        const EXPECTED: &str =
            "expected a list under `services:`, or an Istio object with `apiVersion:` and `kind:`";
        let Value::Map(map) = &document.value else {
            return self.findings.push(document.fault(format!("{EXPECTED}; found {}", document.describe())));
        };
        if map.get("apiVersion").is_some() || map.get("kind").is_some() {
            return self.object(document);
        }
        if map.get("services").is_some() {
            return self.plain(document);
        }
        let meant = |key| words::nearest(key, &["services", "apiVersion", "kind"]);
        let near = map.entries().iter().find_map(|e| Some((e, meant(&e.key)?)));
        self.findings.push(match near {
            Some((e, near)) => {
                Fault::new(e.at, format!("unknown key `{}`: did you mean `{near}`?", words::shown(&e.key)))
            }
            None => document.fault(EXPECTED),
        });
    }

    /// Adds what `read` makes of an entry whose key is known, or its refusal.
    fn add(
        &mut self,
        kind: ItemKind,
        own: &str,
        at: &Node,
        read: impl FnOnce(ServiceKey, &Findings) -> Option<Item>,
    ) {
        let key = |own: &str| ServiceKey {
            kind,
            name: format!("{}#{own}", self.name).into(),
            scope: self.decoder.scope.clone(),
        };
        let first = key(own);
        if self.taken.insert(first.clone()) {
            let findings = Findings::default();
            let item = read(first.clone(), &findings);
            let faults = findings.into_faults();
            self.items.push(match item {
                Some(item) if faults.is_empty() => item,
                _ => Item::Refused(first, report(self.shown, &faults).into()),
            });
            return;
        }
        let Some(key) = (2..).map(|n: u32| key(&format!("{own} ({n})"))).find(|k| !self.taken.contains(k))
        else {
            return;
        };
        let why =
            at.fault(format!("`{}` stands in this file twice: the first one counts", words::shown(own)));
        self.taken.insert(key.clone());
        self.items.push(Item::Refused(key, report(self.shown, &[why]).into()));
    }
}

/// All faults of a text or of an item, as one line that says where to look.
fn report(shown: &str, faults: &[Fault]) -> String {
    let place = |f: &Fault| if f.at.line == 0 { format!("{shown}: {f}") } else { format!("{shown}:{f}") };
    let mut all: Vec<String> = faults.iter().take(SHOWN).map(place).collect();
    if faults.len() > SHOWN {
        all.push(format!("and {} more", faults.len() - SHOWN));
    }
    all.join("; ")
}

/// Text that says something.
fn word(node: &Node) -> Result<Arc<str>, Fault> {
    match node.text()? {
        "" => Err(node.fault("expected text, found an empty one")),
        text => Ok(text.into()),
    }
}

/// The name of a namespace.
fn namespace(node: &Node) -> Result<Arc<str>, Fault> {
    let name = node.text()?;
    if is_dns1123_label(name) {
        return Ok(name.into());
    }
    Err(node.fault("a namespace consists of at most 63 lower-case letters, digits and inner hyphens"))
}

/// Labels or annotations, as written.
fn labels(node: &Node, findings: &Findings) -> Labels {
    let pairs = findings.note(node.pairs()).unwrap_or_default();
    pairs.iter().filter_map(|e| Some((&*e.key, findings.note(e.value.text())?))).collect()
}
