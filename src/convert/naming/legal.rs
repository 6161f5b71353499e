//! Any text made a legal DNS name. Deterministic, and the same for a legal name as it was.

use xxhash_rust::xxh3::xxh3_64;

use crate::model::host::MAX_LABEL;

/// A hyphen and eight hex digits.
const HASH: usize = 9;

/// `text` as a DNS name of at most `max`, label by label. Empty labels vanish; nothing at all gives nothing.
pub(crate) fn host(text: &str, max: usize) -> String {
    let labels: Vec<String> = text.split('.').map(label).filter(|l| !l.is_empty()).collect();
    fit(&labels.join("."), max)
}

/// `text` as one DNS-1123 label: lower-cased, what is illegal becomes a hyphen, runs of hyphens become one, hyphens
/// at the ends go. Longer than 63 it is cut and ends in a hash of all of it. A text without one legal character
/// becomes `x-` and its hash, so that services whose names are written in another script stay apart.
pub(crate) fn label(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            'A'..='Z' => out.push(c.to_ascii_lowercase()),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    let legal = out.trim_end_matches('-');
    if legal.is_empty() {
        let lost = !text.is_ascii();
        return if lost { format!("x-{}", digits(text)) } else { String::new() };
    }
    if legal.len() <= MAX_LABEL { legal.to_owned() } else { cut(legal, MAX_LABEL) }
}

/// `name`, at most `max` long: labels on the left are cut away and stand as one with a hash of the whole.
pub(super) fn fit(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    // The right part is the suffix that people chose; keep as much of it as fits beside one label.
    let kept = name.char_indices().filter(|(_, c)| *c == '.').map(|(at, _)| name.split_at(at));
    let (left, right) =
        kept.into_iter().find(|(_, right)| right.len() + MAX_LABEL <= max).unwrap_or((name, ""));
    let first = left.split('.').next().unwrap_or_default();
    let room = first.get(..first.len().min(MAX_LABEL - HASH)).unwrap_or_default().trim_end_matches('-');
    format!("{room}-{}{right}", digits(name))
}

/// The first part of `legal` and a hash of all of it, `max` long at most.
fn cut(legal: &str, max: usize) -> String {
    let first = legal.get(..max - HASH).unwrap_or_default().trim_end_matches('-');
    format!("{first}-{}", digits(legal))
}

/// Eight hex digits that stand for `text`.
pub(super) fn digits(text: &str) -> String {
    format!("{:08x}", xxh3_64(text.as_bytes()) >> 32)
}
