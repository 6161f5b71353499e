//! Patterns of names: `*` stands for any part of one segment, and for nothing beyond it.

use std::fmt;

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A SPIFFE id is a URI.
    #[error("a SPIFFE id begins with `spiffe://`, as in `spiffe://*/ns/istio-system/sa/*`")]
    NoSpiffe,
    /// Nothing between two separators, or around one: no name has that.
    #[error("a part of it is empty: no name looks like that")]
    EmptySegment,
    /// `**` and the like.
    #[error("`*` stands within one part of the name only, so `**` means no more than `*`: write each part")]
    DoubleStar,
}

/// A pattern of SPIFFE ids. `spiffe://*/ns/a/sa/*`: any trust domain, any account of the namespace `a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffePattern(String);

/// A pattern of DNS names, any case. `*.example.com` matches `a.example.com` and neither `example.com` nor
/// `b.a.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsPattern(String);

const SCHEME: &str = "spiffe://";

impl SpiffePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Nothing could match it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix(SCHEME).ok_or(PatternError::NoSpiffe)?;
        check(rest, '/')?;
        Ok(Self(text.into()))
    }

    /// Whether `uri` is one of these. Case counts.
    #[must_use]
    pub fn matches(&self, uri: &str) -> bool {
        match (self.0.strip_prefix(SCHEME), uri.strip_prefix(SCHEME)) {
            (Some(pattern), Some(rest)) => matches(pattern, rest, '/'),
            _ => false,
        }
    }
}

impl DnsPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Nothing could match it.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check(text, '.')?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// Whether `name` is one of these.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, &name.to_ascii_lowercase(), '.')
    }
}

impl fmt::Display for SpiffePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(pattern: &str, separator: char) -> Result<(), PatternError> {
    if pattern.contains("**") {
        return Err(PatternError::DoubleStar);
    }
    if pattern.split(separator).any(str::is_empty) {
        return Err(PatternError::EmptySegment);
    }
    Ok(())
}

fn matches(pattern: &str, name: &str, separator: char) -> bool {
    let (mut patterns, mut names) = (pattern.split(separator), name.split(separator));
    loop {
        match (patterns.next(), names.next()) {
            (Some(pattern), Some(name)) if !name.is_empty() && segment(pattern, name) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// One segment: what stands before the first star, after the last, and between, in this order.
fn segment(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_segment() {
        let pattern = SpiffePattern::parse("spiffe://*/ns/istio-system/sa/*").unwrap();
        for id in [
            "spiffe://cluster.local/ns/istio-system/sa/istiod",
            "spiffe://td/ns/istio-system/sa/istio-pilot-service-account",
        ] {
            assert!(pattern.matches(id), "{id}");
        }
        for id in [
            "spiffe://cluster.local/ns/other/sa/istiod",
            "spiffe://cluster.local/ns/istio-system/sa/a/b",
            "spiffe://cluster.local/ns/istio-system/sa/",
            "spiffe://cluster.local/ns/istio-system/sa",
            "spiffe://a/b/ns/istio-system/sa/istiod",
            "spiffe:///ns/istio-system/sa/istiod",
            "SPIFFE://td/ns/istio-system/sa/istiod",
            "https://td/ns/istio-system/sa/istiod",
            "xspiffe://td/ns/istio-system/sa/istiod",
            "",
        ] {
            assert!(!pattern.matches(id), "{id}");
        }
    }

    #[test]
    fn a_star_stands_for_a_part_of_a_segment_too() {
        let yes = |pattern: &str, name: &str| segment(pattern, name);
        assert!(
            yes("istio*", "istiod")
                && yes("*d", "istiod")
                && yes("i*t*d", "istiod")
                && yes("istiod", "istiod")
        );
        assert!(yes("a*", "a") && yes("*", "a"));
        assert!(
            !yes("istio*", "pilot") && !yes("*x", "istiod") && !yes("i*x*d", "istiod") && !yes("a", "ab")
        );
        // What stands before a star and after it must both be there.
        assert!(!yes("ab*ba", "aba"));
    }

    #[test]
    fn dns_names_match_label_by_label_in_any_case() {
        let pattern = DnsPattern::parse("*.Example.com").unwrap();
        assert!(pattern.matches("a.example.COM"));
        for name in ["example.com", "b.a.example.com", ".example.com", "a.example.com.evil"] {
            assert!(!pattern.matches(name), "{name}");
        }
    }

    #[test]
    fn what_could_match_nothing_is_refused() {
        assert_eq!(SpiffePattern::parse("cluster.local/ns/a"), Err(PatternError::NoSpiffe));
        assert_eq!(SpiffePattern::parse("spiffe://td//sa"), Err(PatternError::EmptySegment));
        assert_eq!(SpiffePattern::parse("spiffe://td/**"), Err(PatternError::DoubleStar));
        assert_eq!(DnsPattern::parse(""), Err(PatternError::EmptySegment));
    }
}
