//! `merge`: how registries share the hosts that several of them know. A list of rules, the first that matches a host holds.
//!
//! What cannot be meant is a fault: registries that there are not, a merge of one, a rule that no host ever reaches.

use serde_json::{Map, Value, json};

use super::map::glob;
use crate::convert::mapping::Globs;
use crate::model::merging::{Merging, Mode, Rule};
use crate::model::service::RegistryName;
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::words::{alternatives, nearest, shown as shown_text};
use crate::yaml::{Fault, Node};

const MODES: [(&str, Mode); 3] =
    [("precedence", Mode::Precedence), ("union", Mode::Union), ("failover", Mode::Failover)];

/// A pattern of an earlier rule, and where it stands.
struct Earlier {
    text: String,
    globs: Globs,
    line: u32,
}

/// Reads `merge`. The registries are read again for their names alone, so that a fault in one of them is told once.
pub(super) fn decode(f: &mut Fields<'_, '_>) -> Merging {
    let registries = f.take("registries").and_then(Node::list).unwrap_or_default();
    let known: Vec<&str> =
        registries.iter().filter_map(|r| r.map()?.get("name")?.scalar()).map(|s| s.as_str()).collect();
    let mut earlier = Vec::new();
    let sections = f.sections("merge").unwrap_or_default();
    Merging(sections.into_iter().filter_map(|section| rule(section, &known, &mut earlier)).collect())
}

fn rule(mut f: Fields<'_, '_>, known: &[&str], earlier: &mut Vec<Earlier>) -> Option<Rule> {
    let (findings, at) = (f.findings(), f.at());
    let hosts = f.need("hosts", Ok).map(|node| (node, self::hosts(node, findings, earlier)));
    let written = f.take("registries");
    let registries = written.and_then(|node| self::registries(node, findings, known));
    let mode = f.need("mode", |node| node.choice(&MODES))?;
    let several = |count: usize| mode == Mode::Precedence || count > 1;
    match (written, &registries) {
        (Some(node), Some(named)) if named.is_empty() => {
            findings
                .push(node.fault("no registry: name at least two, or leave `registries` out to mean all"));
        }
        (Some(node), Some(named)) if !several(named.len()) => {
            let words = format!(
                "`{}` merges several registries, and here is one: name those to merge",
                mode.as_str()
            );
            findings.push(node.fault(words));
        }
        (None, _) if !several(known.len()) => {
            let words = format!("`{}` merges several registries, and only one is configured", mode.as_str());
            findings.push(Fault::new(at, words));
        }
        _ => {}
    }
    let (node, patterns) = hosts?;
    let hosts = findings
        .note(Globs::new(patterns).map_err(|e| node.fault(format!("too much for one list: {}", e.kind()))))?;
    Some(Rule { hosts, registries: registries.unwrap_or_default(), mode })
}

/// The patterns; each may be reached by some host.
fn hosts(node: &Node, findings: &Findings, earlier: &mut Vec<Earlier>) -> Vec<String> {
    let mut own = Vec::new();
    let read = findings.each(node, |n| {
        let (globs, text) = (glob(n)?, n.text()?.to_owned());
        if text.is_empty() || text.contains(char::is_uppercase) || text.contains(char::is_whitespace) {
            return Err(n.fault(format!(
                "no host is like `{}`: hosts are written in lower case, without spaces",
                shown_text(&text)
            )));
        }
        if let Some(first) = earlier.iter().find(|e| covers(e, &text)) {
            return Err(n.fault(format!(
                "never reached: `{}` in line {} has every such host, and the first rule that matches holds",
                shown_text(&first.text),
                first.line
            )));
        }
        Ok((text, globs, n.at.line))
    });
    if read.is_some() && node.list().is_some_and(<[Node]>::is_empty) {
        findings.push(node.fault("no host: write patterns such as `*.service.consul`"));
    }
    for (text, globs, line) in read.unwrap_or_default() {
        own.push(text.clone());
        earlier.push(Earlier { text, globs, line });
    }
    own
}

/// Whether every host that `later` means is one that `earlier` means: told where both are plain enough to tell. A `*` of
/// the later one can only be taken up by a `*` of the earlier, and that takes up whatever may stand for it.
fn covers(earlier: &Earlier, later: &str) -> bool {
    let plain = |text: &str, beyond: &[char]| !text.contains(beyond);
    earlier.text == later
        || (plain(&earlier.text, &['?', '[', ']', '{', '}', '!', '\\'])
            && plain(later, &['[', ']', '{', '}', '!', '\\'])
            && earlier.globs.is_match(later))
}

fn registries(node: &Node, findings: &Findings, known: &[&str]) -> Option<Vec<RegistryName>> {
    let mut names: Vec<RegistryName> = Vec::new();
    for element in findings.note(node.elements())? {
        let Some(text) = findings.note(element.text()) else { continue };
        if !known.contains(&text) {
            let hint = match nearest(text, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", alternatives(known)),
            };
            findings.push(element.fault(format!("no registry is called `{}`: {hint}", shown_text(text))));
        } else if names.iter().any(|name| name.as_str() == text) {
            findings.push(element.fault(format!("`{}` stands here twice", shown_text(text))));
        }
        names.push(RegistryName::new(text));
    }
    Some(names)
}

/// In the form in which it is written.
pub(super) fn shown(merging: &Merging) -> Value {
    let rule = |rule: &Rule| {
        let mut out = Map::new();
        out.insert("hosts".into(), json!(rule.hosts.patterns()));
        out.insert("mode".into(), rule.mode.as_str().into());
        if !rule.registries.is_empty() {
            let names: Vec<&str> = rule.registries.iter().map(RegistryName::as_str).collect();
            out.insert("registries".into(), json!(names));
        }
        Value::Object(out)
    };
    merging.0.iter().map(rule).collect()
}
