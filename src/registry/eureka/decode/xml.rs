//! XML, read event by event. Only the predefined entities and characters by number are expanded: a document cannot grow.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::draft::{Draft, DraftApplications};
use super::{DEEPEST, NotEureka};
use crate::registry::eureka::instance::Applications;

/// Reads an answer in XML.
pub(super) fn decode(body: &[u8]) -> Result<Applications, NotEureka> {
    let mut reader = Reader::from_reader(body);
    reader.config_mut().expand_empty_elements = true;
    let mut walk = Walk::default();
    loop {
        let event = reader.read_event().map_err(|e| NotEureka(format!("no XML: {e}")))?;
        match event {
            Event::Start(start) => walk.start(&start)?,
            Event::End(_) => walk.end(),
            Event::Text(text) => walk.text.push_str(&String::from_utf8_lossy(&text)),
            Event::CData(text) => walk.text.push_str(&String::from_utf8_lossy(&text)),
            Event::GeneralRef(entity) => walk.entity(&entity),
            Event::Eof => break,
            _ => {}
        }
    }
    if !walk.path.is_empty() {
        return Err(NotEureka("XML that breaks off".into()));
    }
    if !walk.found {
        return Err(NotEureka("XML without `<applications>`".into()));
    }
    walk.applications.finish()
}

/// Where in the document we are, and what has been read of it.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    /// Since the last tag.
    text: String,
    found: bool,
    applications: DraftApplications,
    name: Option<String>,
    instances: Vec<Draft>,
}

impl Walk {
    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), NotEureka> {
        let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
        if self.path.is_empty() && name != "applications" {
            return Err(NotEureka(format!(
                "XML that begins with <{}>",
                name.chars().take(40).collect::<String>()
            )));
        }
        if self.path.len() >= DEEPEST {
            return Err(NotEureka("XML nested more deeply than any of Eureka's".into()));
        }
        self.found = true;
        self.text.clear();
        self.path.push(name);
        match self.here().as_slice() {
            ["applications", "application", "instance"] => self.instances.push(Draft::default()),
            ["applications", "application", "instance", "port"] => {
                let enabled = attribute(start, "enabled");
                self.draft(|d| d.port.enabled = enabled);
            }
            ["applications", "application", "instance", "securePort"] => {
                let enabled = attribute(start, "enabled");
                self.draft(|d| d.secure_port.enabled = enabled);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) {
        let text = std::mem::take(&mut self.text);
        match self.here().as_slice() {
            ["applications", "apps__hashcode"] => self.applications.hash = Some(text),
            ["applications", "application"] => {
                let (name, instances) = (self.name.take(), std::mem::take(&mut self.instances));
                self.applications.application(name.as_deref(), instances);
            }
            ["applications", "application", "name"] => self.name = Some(text),
            ["applications", "application", "instance", field @ ..] => {
                let field: Vec<String> = field.iter().map(|f| (*f).to_owned()).collect();
                self.draft(|d| put(d, &field, text));
            }
            _ => {}
        }
        self.path.pop();
    }

    fn here(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    fn draft(&mut self, change: impl FnOnce(&mut Draft)) {
        if let Some(draft) = self.instances.last_mut() {
            change(draft);
        }
    }

    fn entity(&mut self, entity: &BytesRef<'_>) {
        if let Ok(Some(c)) = entity.resolve_char_ref() {
            return self.text.push(c);
        }
        let name = String::from_utf8_lossy(entity);
        match quick_xml::escape::resolve_predefined_entity(&name) {
            Some(text) => self.text.push_str(text),
            None => self.text.push_str(&format!("&{name};")),
        }
    }
}

/// Puts the text of an element where it belongs.
fn put(draft: &mut Draft, field: &[String], text: String) {
    let field: Vec<&str> = field.iter().map(String::as_str).collect();
    match field.as_slice() {
        ["port"] => draft.port.number = Some(text),
        ["securePort"] => draft.secure_port.number = Some(text),
        ["metadata", key] => draft.metadata.push((unescaped(key), text)),
        ["dataCenterInfo", "metadata", key] => draft.cloud.push((unescaped(key), text)),
        ["leaseInfo", key] => {
            if let Some(field) = draft.lease.text(key) {
                *field = Some(text);
            }
        }
        [key] => {
            if let Some(field) = draft.text(key) {
                *field = Some(text);
            }
        }
        _ => {}
    }
}

/// A key that became an element's name: `__` stands for `_`, `_-` for `$`, and `_.` with four hex digits for what no name
/// may hold.
fn unescaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('_') {
        out.push_str(before);
        let hex = after.strip_prefix('.').and_then(|a| a.get(..4));
        let coded = hex.and_then(|h| u32::from_str_radix(h, 16).ok()).and_then(char::from_u32);
        let (c, used) = match (after.as_bytes().first(), coded) {
            (Some(b'_'), _) => ('_', 1),
            (Some(b'-'), _) => ('$', 1),
            (Some(b'.'), Some(c)) => (c, 5),
            _ => ('_', 0),
        };
        out.push(c);
        rest = after.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = start.try_get_attribute(name).ok().flatten()?;
    Some(String::from_utf8_lossy(&found.value).into_owned())
}
