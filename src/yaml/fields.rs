//! Reads maps strictly and finds everything that is wrong in one go.
//!
//! A reader asks a [`Fields`] for each key that it knows; when the `Fields` goes, every key that nobody asked for is a
//! fault. So ask for all keys first, and only then give up on an incomplete whole.

use std::cell::RefCell;

use super::words::{alternatives, nearest, shown};
use super::{Entry, Fault, Node, Position};

/// All faults of one reading.
#[derive(Debug, Default)]
pub struct Findings {
    faults: RefCell<Vec<Fault>>,
    /// Keys that were asked for and not there; noted only on request.
    unset: Option<RefCell<Vec<String>>>,
}

impl Findings {
    /// Nothing found yet; notes in addition which keys could have been written and were not, for tests of a reference.
    #[must_use]
    pub fn noting_unset() -> Self {
        Self { unset: Some(RefCell::default()), ..Self::default() }
    }

    /// Adds a fault.
    pub fn push(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// The value, or `None` and its fault added.
    pub fn note<T>(&self, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|f| self.push(f)).ok()
    }

    /// Everything that was found, in the order of the text, each once.
    #[must_use]
    pub fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort();
        faults.dedup();
        faults
    }

    /// Paths (`registries[].name`) of keys that nobody wrote; empty unless they were to be noted.
    #[must_use]
    pub fn unset(&self) -> Vec<String> {
        self.unset.as_ref().map(|u| u.borrow().clone()).unwrap_or_default()
    }

    /// Reads every element of a list with `read`; the elements that are right, all others being faults.
    /// `None`: it is no list.
    pub fn each<'n, T>(&self, node: &'n Node, read: impl Fn(&'n Node) -> Result<T, Fault>) -> Option<Vec<T>> {
        let elements = self.note(node.elements())?;
        Some(elements.iter().filter_map(|e| self.note(read(e))).collect())
    }
}

/// One map being read.
#[derive(Debug)]
pub struct Fields<'n, 'f> {
    at: Position,
    entries: &'n [Entry],
    findings: &'f Findings,
    path: String,
    known: Vec<&'static str>,
    later: Vec<&'static str>,
    never: Vec<(&'static str, &'static str)>,
    /// Stands for a section that is absent or no map: nothing can be missing in it.
    void: bool,
}

impl<'n, 'f> Fields<'n, 'f> {
    /// Reads `node`; if that is no map, says so and reads as if it were empty.
    #[must_use]
    pub fn of(node: &'n Node, findings: &'f Findings) -> Self {
        Self::at_path(Some(node), findings, String::new())
    }

    fn at_path(node: Option<&'n Node>, findings: &'f Findings, path: String) -> Self {
        let entries = node.and_then(|n| findings.note(n.pairs()));
        Self {
            at: node.map_or(Position::NOWHERE, |n| n.at),
            void: entries.is_none(),
            entries: entries.unwrap_or_default(),
            findings,
            path,
            known: Vec::new(),
            later: Vec::new(),
            never: Vec::new(),
        }
    }

    /// Where the map stands; nowhere for a section that is absent.
    #[must_use]
    pub fn at(&self) -> Position {
        self.at
    }

    /// Where the faults go.
    #[must_use]
    pub fn findings(&self) -> &'f Findings {
        self.findings
    }

    /// Whether there is nothing to read: the section is absent, or no map.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.void
    }

    /// How many keys somebody wrote, known or not.
    #[must_use]
    pub fn written(&self) -> usize {
        self.entries.len()
    }

    /// The entry of `key`; `None` if it is absent or nothing is written after it.
    pub fn entry(&mut self, key: &'static str) -> Option<&'n Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let found = self.entries.iter().find(|e| &*e.key == key && !e.value.is_null());
        if let (None, Some(unset)) = (found, &self.findings.unset) {
            unset.borrow_mut().push(self.child(key));
        }
        found
    }

    /// Where `key` is written with nothing after it.
    #[must_use]
    pub fn blank(&self, key: &str) -> Option<Position> {
        self.entries.iter().find(|e| &*e.key == key && e.value.is_null()).map(|e| e.at)
    }

    /// The value of `key`; `None` if it is absent or nothing is written after it.
    pub fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).map(|e| &e.value)
    }

    /// What `read` makes of the value of `key`; `None` if it is absent or wrong.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'n Node) -> Result<T, Fault>,
    ) -> Option<T> {
        let node = self.take(key)?;
        self.findings.note(read(node))
    }

    /// What `read` makes of the value of `key`, or `default`.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&'n Node) -> Result<T, Fault>,
    ) -> T {
        self.get(key, read).unwrap_or(default)
    }

    /// What `read` makes of the value of `key`, which must be there.
    pub fn need<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'n Node) -> Result<T, Fault>,
    ) -> Option<T> {
        let Some(node) = self.take(key) else {
            if !self.void {
                self.findings.push(Fault::new(self.at, format!("`{key}` is missing")));
            }
            return None;
        };
        self.findings.note(read(node))
    }

    /// What `read` makes of each element of the list under `key`; `None` if it is absent or no list.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&'n Node) -> Result<T, Fault>,
    ) -> Option<Vec<T>> {
        let node = self.take(key)?;
        self.findings.each(node, read)
    }

    /// The map under `key`; an empty one if it is absent.
    #[must_use]
    pub fn section(&mut self, key: &'static str) -> Self {
        let path = self.child(key);
        // Noted as unset with its own keys: those are what one writes.
        let unset = self.findings.unset.as_ref().map(|u| u.borrow().len());
        let node = self.take(key);
        if let (Some(before), Some(all)) = (unset, &self.findings.unset) {
            all.borrow_mut().truncate(before);
        }
        Self::at_path(node, self.findings, path)
    }

    /// The maps in the list under `key`; `None` if it is absent or no list.
    pub fn sections(&mut self, key: &'static str) -> Option<Vec<Self>> {
        let node = self.take(key)?;
        let elements = self.findings.note(node.elements())?;
        let path = format!("{}[]", self.child(key));
        Some(elements.iter().map(|e| Self::at_path(Some(e), self.findings, path.clone())).collect())
    }

    /// Keys that have their place and do not work yet.
    pub fn later(&mut self, keys: &[&'static str]) {
        self.later.extend(keys);
    }

    /// A key that people know from elsewhere and that means nothing here, for good: `why`, and what to write instead.
    pub fn never(&mut self, key: &'static str, why: &'static str) {
        self.never.push((key, why));
    }

    fn child(&self, key: &str) -> String {
        match (&self.findings.unset, self.path.as_str()) {
            (None, _) => String::new(),
            (Some(_), "") => key.into(),
            (Some(_), path) => format!("{path}.{key}"),
        }
    }

    fn unknown(&self, entry: &Entry) -> Fault {
        let key = shown(&entry.key);
        if self.later.contains(&&*entry.key) {
            return Fault::new(entry.at, format!("`{key}` is not available in this version"));
        }
        if let Some((_, why)) = self.never.iter().find(|(key, _)| *key == &*entry.key) {
            return Fault::new(entry.at, *why);
        }
        let hint = match nearest(&entry.key, &self.known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", alternatives(&self.known)),
        };
        Fault::new(entry.at, format!("unknown key `{key}`: {hint}"))
    }
}

/// Nobody can forget to ask for what is left over.
impl Drop for Fields<'_, '_> {
    fn drop(&mut self) {
        for entry in self.entries {
            if !self.known.contains(&&*entry.key) {
                self.findings.push(self.unknown(entry));
            }
        }
    }
}

impl Node {
    /// The value that one of `choices` names.
    ///
    /// # Errors
    /// It names none of them.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.scalar().map(super::Scalar::as_str);
        if let Some((_, value)) = choices.iter().find(|(name, _)| Some(*name) == text) {
            return Ok(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(n, _)| *n).collect();
        let fault = self.expected(&alternatives(&names));
        Err(match text.and_then(|t| nearest(t, &names)) {
            Some(near) => Fault { message: format!("{}: did you mean `{near}`?", fault.message), ..fault },
            None => fault,
        })
    }
}
