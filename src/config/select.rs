//! `select`: what of a registry is taken. Decodes into [`Select`], which the conversion reads.

use serde_json::{Map, Value, json};

use super::map::{KindDefaults, glob};
use crate::convert::mapping::Globs;
use crate::convert::select::{Rule, Select};
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{Fault, Node};

/// Reads `select`; what is absent is the kind's default.
pub(super) fn decode(mut f: Fields<'_, '_>, kind: &KindDefaults) -> Select {
    let default = Select::default();
    let include = f.sections("include").map(rules);
    let exclude = f.sections("exclude").map(rules);
    Select {
        include: include.unwrap_or(default.include),
        exclude: exclude.unwrap_or_else(|| excluded(kind)),
        exposed_by_default: f.or("exposedByDefault", default.exposed_by_default, Node::boolean),
    }
}

/// What a kind leaves out by default; a pattern that were none is caught by the test of all defaults.
fn excluded(kind: &KindDefaults) -> Vec<Rule> {
    let globs = |pattern: &str| Globs::new(vec![pattern.into()]).ok();
    let rule = |(key, value): &(&str, &str)| {
        Some(Rule { metadata: vec![(globs(key)?, globs(value)?)], ..Rule::default() })
    };
    let named = |name: &&str| Some(Rule { name: Some(globs(name)?), ..Rule::default() });
    kind.excluded.iter().filter_map(rule).chain(kind.excluded_names.iter().filter_map(named)).collect()
}

fn rules(sections: Vec<Fields<'_, '_>>) -> Vec<Rule> {
    sections.into_iter().map(rule).collect()
}

fn rule(mut f: Fields<'_, '_>) -> Rule {
    let rule = Rule {
        name: f.get("name", glob),
        tag: f.get("tag", glob),
        metadata: f.take("metadata").map(|n| metadata(n, f.findings())).unwrap_or_default(),
    };
    if f.written() == 0 && !f.is_void() {
        let words = "a rule without a condition: write `name`, `tag` or `metadata`";
        f.findings().push(Fault::new(f.at(), words));
    }
    rule
}

fn metadata(node: &Node, findings: &Findings) -> Vec<(Globs, Globs)> {
    let pairs = findings.note(node.pairs()).unwrap_or_default();
    if pairs.is_empty() && node.map().is_some() {
        findings.push(node.fault("a condition that always holds: write a key and its value (`*`: any)"));
    }
    let read = pairs.iter().filter_map(|entry| {
        let key = Globs::new(vec![entry.key.to_string()]);
        let key = key.map_err(|e| Fault::new(entry.at, format!("no pattern: {}", e.kind())));
        let (key, value) = (findings.note(key), findings.note(glob(&entry.value)));
        Some((key?, value?))
    });
    read.collect()
}

/// A selection in the form in which it is written.
pub(super) fn shown(select: &Select) -> Value {
    let rules = |rules: &[Rule]| rules.iter().map(shown_rule).collect::<Vec<_>>();
    json!({
        "include": rules(&select.include),
        "exclude": rules(&select.exclude),
        "exposedByDefault": select.exposed_by_default,
    })
}

fn shown_rule(rule: &Rule) -> Value {
    let pattern = |globs: &Globs| globs.patterns().first().cloned().unwrap_or_default();
    let mut out = Map::new();
    out.extend(rule.name.as_ref().map(|g| ("name".into(), json!(pattern(g)))));
    out.extend(rule.tag.as_ref().map(|g| ("tag".into(), json!(pattern(g)))));
    if !rule.metadata.is_empty() {
        let pairs = rule.metadata.iter().map(|(k, v)| (pattern(k), json!(pattern(v))));
        out.insert("metadata".into(), Value::Object(pairs.collect()));
    }
    out.into()
}
