//! `access`: the word `open`, or rules.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Access, path};
use crate::config::mesh::network;
use crate::resource::collection::Collection;
use crate::security::access::{Collections, Condition, DnsPattern, Rule, SpiffePattern};
use crate::yaml::fields::Fields;
use crate::yaml::{Entry, Fault, Node, Value as Yaml};

/// Reads what stands under `access`, which is `entry`.
pub(super) fn read(f: &mut Fields<'_, '_>, entry: &Entry, base: &Path) -> Access {
    if !matches!(entry.value.value, Yaml::List(_)) {
        let open = entry.value.choice(&[("open", ())]);
        f.findings().note(open.map_err(|fault| Fault {
            message: format!(
                "{}, or a list of rules such as `- {{from: {{cidr: 10.0.0.0/8}}, collections: [\"*\"]}}`",
                fault.message
            ),
            ..fault
        }));
        return Access::Open;
    }
    let sections = f.sections("access").unwrap_or_default();
    if sections.is_empty() {
        let words = "no rule lets anybody in: write `open`, or at least one rule";
        f.findings().push(entry.value.fault(words));
    }
    Access::Rules(sections.into_iter().filter_map(|section| rule(section, base)).collect())
}

fn rule(mut f: Fields<'_, '_>, base: &Path) -> Option<Rule> {
    let list = f.get("accessListFile", |node| path(node, base));
    let from = f.entry("from").map(|entry| entry.at);
    complete(&mut f);
    let conditions = conditions(f.section("from"), base);
    let named = f.entry("collections").map(|entry| entry.at);
    if f.is_void() {
        return None;
    }
    if let Some(file) = list {
        for at in [from, named].into_iter().flatten() {
            f.findings()
                .push(Fault::new(at, "`accessListFile` is a rule of its own: write this in another one"));
        }
        return Some(Rule::AccessList(file));
    }
    if from.is_some() && conditions.is_empty() {
        // Either it says nothing, or what it says is wrong, which is a fault already.
        f.need("from", nothing_said);
    } else if from.is_none() {
        let words = "`from` is missing: who is this rule about? For everybody write `from: {any: peer}`";
        f.findings().push(Fault::new(f.at(), words));
    }
    let collections = f.need("collections", collections)?;
    Some(Rule::Grant { from: conditions, collections })
}

/// Elsewhere a key with nothing after it is as good as none; here that would let in more than was meant.
fn complete(f: &mut Fields<'_, '_>) {
    let written = f.take("from").and_then(Node::map).map(|map| map.entries()).unwrap_or_default();
    for entry in written.iter().filter(|entry| entry.value.is_null()) {
        let words = format!("nothing stands after `{}`: write what it must be, or take it out", entry.key);
        f.findings().push(Fault::new(entry.at, words));
    }
}

fn nothing_said(node: &Node) -> Result<(), Fault> {
    match node.pairs() {
        Ok([]) => Err(node.fault("no condition: for everybody write `from: {any: peer}`")),
        _ => Ok(()),
    }
}

fn conditions(mut f: Fields<'_, '_>, base: &Path) -> Vec<Condition> {
    let cidr = f.get("cidr", network).map(Condition::Cidr);
    let spiffe = f.get("spiffe", |node| {
        SpiffePattern::parse(node.text()?).map_err(|e| node.fault(e.to_string())).map(Condition::Spiffe)
    });
    let dns = f.get("dns", |node| {
        DnsPattern::parse(node.text()?).map_err(|e| node.fault(e.to_string())).map(Condition::Dns)
    });
    let tokens = f.get("tokenFile", |node| path(node, base)).map(Condition::TokenFile);
    let any = f.get("any", |node| node.choice(&[("peer", false), ("certificate", true)]));
    let any = any.map(|certificate| if certificate { Condition::AnyCertificate } else { Condition::AnyPeer });
    [cidr, spiffe, dns, tokens, any].into_iter().flatten().collect()
}

fn collections(node: &Node) -> Result<Collections, Fault> {
    let elements = node.elements()?;
    let mut these = BTreeSet::new();
    let mut all = false;
    for element in elements {
        match element.text()? {
            "*" => all = true,
            name => {
                these.insert(Collection::of_any_name(name).ok_or_else(|| unknown(element))?);
            }
        }
    }
    Ok(if all { Collections::All } else { Collections::These(these) })
}

fn unknown(node: &Node) -> Fault {
    let known: Vec<&str> = Collection::all().map(Collection::plural).collect();
    node.expected(&format!("a collection ({}) or `\"*\"` for all", known.join(", ")))
}

/// The rules as they can be written.
pub(super) fn shown(rules: &[Rule]) -> Value {
    rules.iter().map(shown_rule).collect()
}

fn shown_rule(rule: &Rule) -> Value {
    match rule {
        Rule::AccessList(file) => json!({ "accessListFile": file }),
        Rule::Grant { from, collections } => {
            let from: Map<String, Value> = from.iter().map(shown_condition).collect();
            json!({ "from": from, "collections": shown_collections(collections) })
        }
    }
}

fn shown_collections(collections: &Collections) -> Value {
    match collections {
        Collections::All => json!(["*"]),
        Collections::These(some) => some.iter().map(|c| c.plural()).collect(),
    }
}

fn shown_condition(condition: &Condition) -> (String, Value) {
    let (key, value) = match condition {
        Condition::Cidr(net) => ("cidr", json!(net.to_string())),
        Condition::Spiffe(pattern) => ("spiffe", json!(pattern.to_string())),
        Condition::Dns(pattern) => ("dns", json!(pattern.to_string())),
        Condition::TokenFile(file) => ("tokenFile", json!(file)),
        Condition::AnyPeer => ("any", json!("peer")),
        Condition::AnyCertificate => ("any", json!("certificate")),
    };
    (key.into(), value)
}
