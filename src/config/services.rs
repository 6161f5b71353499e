//! `services`: exceptions by the registry's own name of a service, a pattern each. The most specific that matches decides,
//! alone; where it is silent the registry's `map` holds.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use super::guard;
use super::map::{self, KindDefaults};
use crate::convert::mapping::{Globs, Mapping};
use crate::convert::policy::{Exception, Fate};
use crate::model::limits::Limits;
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{Fault, Node};

/// Reads `services`; `map` and `guard` are what holds for all others.
pub(super) fn decode(
    node: Option<&Node>,
    findings: &Findings,
    kind: &KindDefaults,
    map: &Mapping,
    guard: &Limits,
) -> Vec<Exception> {
    let entries = node.and_then(|n| findings.note(n.pairs())).unwrap_or_default();
    let mut out: Vec<(&str, Exception)> = Vec::new();
    for entry in entries {
        let names = Globs::new(vec![entry.key.to_string()]);
        let names = names.map_err(|e| Fault::new(entry.at, format!("no pattern: {}", e.kind())));
        let mut f = Fields::of(&entry.value, findings);
        let guard = guarded(&mut f, guard);
        let fate = fate(f, kind, map);
        if let (Some(names), Some(fate)) = (findings.note(names), fate) {
            out.push((entry.key.as_ref(), Exception { names, fate, guard }));
        }
    }
    out.sort_by_key(|(pattern, _)| precedence(pattern));
    out.into_iter().map(|(_, exception)| exception).collect()
}

/// `None` where nothing is written of it.
fn guarded(f: &mut Fields<'_, '_>, default: &Limits) -> Option<Limits> {
    let section = f.section("guard");
    let written = section.written() > 0;
    let limits = guard::decode_of_services(section, default);
    written.then_some(limits)
}

fn fate(mut f: Fields<'_, '_>, kind: &KindDefaults, map: &Mapping) -> Option<Fate> {
    let (drop, at) = (f.entry("drop").map(|e| f.findings().note(e.value.boolean())), f.at());
    let aliases = f.list("aliases", |n| map::host_template(n, kind));
    let findings = f.findings();
    let written = f.written() - usize::from(drop.is_some());
    let mapping = map::decode_over(f, kind, map.clone())?;
    match drop {
        Some(None) => None,
        Some(Some(true)) => {
            if written > 0 {
                findings.push(Fault::new(
                    at,
                    "`drop: true` leaves these services out, so nothing else can hold for them",
                ));
            }
            Some(Fate::Dropped)
        }
        Some(Some(false)) | None => {
            Some(Fate::Mapped(Box::new(Mapping { aliases: aliases.unwrap_or_default(), ..mapping })))
        }
    }
}

/// A whole name first, then what has most letters of its own, then by the text: never by the place in the file, since
/// tools that write maps reorder them.
fn precedence(pattern: &str) -> (bool, Reverse<usize>, &str) {
    const SPECIAL: [char; 8] = ['*', '?', '[', ']', '{', '}', '!', ','];
    let letters = pattern.chars().filter(|c| !SPECIAL.contains(c)).count();
    (pattern.contains(SPECIAL), Reverse(letters), pattern)
}

/// Exceptions in the form in which they are written, but for what they leave to the registry's `map`.
pub(super) fn shown(exceptions: &[Exception]) -> Value {
    let shown = |e: &Exception| {
        let mut value = match &e.fate {
            Fate::Dropped => json!({ "drop": true }),
            Fate::Mapped(mapping) => map::shown(mapping),
        };
        if let (Some(all), Some(limits)) = (value.as_object_mut(), &e.guard) {
            all.insert("guard".into(), guard::shown_of_services(limits));
        }
        (e.names.patterns().join(" "), value)
    };
    Value::Object(exceptions.iter().map(shown).collect::<Map<_, _>>())
}
