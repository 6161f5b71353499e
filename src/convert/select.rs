//! What of a registry is taken: the validated form of `select` in the configuration.
//!
//! Rules about names decide about services, rules about tags and metadata about instances: an instance has its own tags
//! and metadata, and those of its service where it does not say otherwise. Whatever filter a registry has itself, what is
//! decided here holds exactly. What is left out is left out on purpose: it is no silent absence.

use crate::convert::mapping::Globs;
use crate::model::admitted::Reason;
use crate::model::endpoint::Endpoint;
use crate::model::labels::Labels;
use crate::model::service::Service;

/// What is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Taken is what one of these matches; empty: everything.
    pub include: Vec<Rule>,
    /// Of that, what one of these matches is left out.
    pub exclude: Vec<Rule>,
    /// Whether what is left is taken although its owner does not say so.
    pub exposed_by_default: bool,
}

impl Default for Select {
    /// Everything.
    fn default() -> Self {
        Self { include: Vec::new(), exclude: Vec::new(), exposed_by_default: true }
    }
}

/// Conditions that hold together; at least one of them is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The registry's own name of the service.
    pub name: Option<Globs>,
    /// Any of the tags.
    pub tag: Option<Globs>,
    /// Each of these is there: a key and its value.
    pub metadata: Vec<(Globs, Globs)>,
}

impl Rule {
    fn is_about_instances(&self) -> bool {
        self.tag.is_some() || !self.metadata.is_empty()
    }

    fn matches(&self, service: &Service, endpoint: Option<&Endpoint>) -> bool {
        let tags = || service.tags.iter().chain(endpoint.into_iter().flat_map(|e| e.tags.iter()));
        self.tag.as_ref().is_none_or(|glob| tags().any(|tag| glob.is_match(tag)))
            && self.metadata.iter().all(|pair| has(pair, service, endpoint))
    }
}

/// Whether a pair of an instance is as it should be; its own come before those of its service.
fn has((key, value): &(Globs, Globs), service: &Service, endpoint: Option<&Endpoint>) -> bool {
    let own = endpoint.map_or(&Labels::EMPTY, |e| &e.labels);
    let is = |(k, v): (&str, &str)| key.is_match(k) && value.is_match(v);
    own.iter().any(is) || service.labels.iter().any(|(k, v)| own.get(k).is_none() && is((k, v)))
}

/// The rules that matter for one service, its name being known.
#[derive(Debug)]
pub struct Selection<'a> {
    service: &'a Service,
    include: Matching<'a>,
    exclude: Matching<'a>,
}

#[derive(Debug)]
enum Matching<'a> {
    /// Whatever the instance is.
    Always,
    /// If one of these matches.
    If(Vec<&'a Rule>),
}

impl<'a> Matching<'a> {
    fn of(rules: &'a [Rule], service: &Service) -> Self {
        let named: Vec<&Rule> =
            rules.iter().filter(|r| r.name.as_ref().is_none_or(|n| n.is_match(&service.name))).collect();
        if named.iter().all(|r| r.is_about_instances()) { Self::If(named) } else { Self::Always }
    }

    fn matches(&self, service: &Service, endpoint: Option<&Endpoint>) -> bool {
        match self {
            Self::Always => true,
            Self::If(rules) => rules.iter().any(|r| r.matches(service, endpoint)),
        }
    }
}

impl Select {
    /// What decides about `service` and its instances.
    #[must_use]
    pub fn of<'a>(&'a self, service: &'a Service) -> Selection<'a> {
        let include = match self.include.as_slice() {
            [] => Matching::Always,
            rules => Matching::of(rules, service),
        };
        Selection { service, include, exclude: Matching::of(&self.exclude, service) }
    }
}

impl Selection<'_> {
    /// Why an instance (`None`: the service as such) is left out; `None`: it is not.
    #[must_use]
    pub fn refuses(&self, endpoint: Option<&Endpoint>) -> Option<Reason> {
        if self.exclude.matches(self.service, endpoint) {
            return Some(Reason::Excluded);
        }
        let taken = self.include.matches(self.service, endpoint);
        (!taken).then_some(Reason::NotIncluded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::fixtures::{endpoint, service};

    fn globs(pattern: &str) -> Option<Globs> {
        Some(Globs::new(vec![pattern.into()]).unwrap())
    }

    fn name(pattern: &str) -> Rule {
        Rule { name: globs(pattern), ..Rule::default() }
    }

    fn tag(pattern: &str) -> Rule {
        Rule { tag: globs(pattern), ..Rule::default() }
    }

    fn metadata(key: &str, value: &str) -> Rule {
        Rule { metadata: vec![(globs(key).unwrap(), globs(value).unwrap())], ..Rule::default() }
    }

    fn with(tags: &[&str], labels: &[(&str, &str)]) -> Endpoint {
        let (tags, labels) = (tags.iter().copied().collect(), labels.iter().copied().collect());
        Endpoint { tags, labels, ..endpoint("10.0.0.1", 80) }
    }

    fn says(select: &Select, s: &Service, e: &Endpoint) -> Option<Reason> {
        select.of(s).refuses(Some(e))
    }

    #[test]
    fn without_rules_everything_is_taken() {
        assert_eq!(says(&Select::default(), &service("web"), &with(&[], &[])), None);
    }

    #[test]
    fn one_rule_of_the_list_is_enough_and_all_conditions_of_a_rule_are_needed() {
        let both = Rule { tag: globs("mesh"), ..name("pay-*") };
        let select = Select { include: vec![name("web-*"), both], ..Select::default() };
        let (plain, tagged) = (with(&[], &[]), with(&["mesh", "x"], &[]));
        assert_eq!(says(&select, &service("web-1"), &plain), None);
        assert_eq!(says(&select, &service("pay-1"), &plain), Some(Reason::NotIncluded));
        assert_eq!(says(&select, &service("pay-1"), &tagged), None);
        assert_eq!(says(&select, &service("other"), &tagged), Some(Reason::NotIncluded));
    }

    #[test]
    fn what_is_excluded_is_not_included_whatever_says_so() {
        let select = Select {
            include: vec![tag("m*")],
            exclude: vec![metadata("external-source", "kube*")],
            ..Select::default()
        };
        assert_eq!(says(&select, &service("a"), &with(&["mesh"], &[])), None);
        let synced = with(&["mesh"], &[("external-source", "kubernetes")]);
        assert_eq!(says(&select, &service("a"), &synced), Some(Reason::Excluded));
    }

    #[test]
    fn an_instance_has_what_its_service_has_unless_it_says_otherwise() {
        let select = Select { include: vec![metadata("te*", "pay")], ..Select::default() };
        let mut s = service("a");
        s.labels = [("team", "pay")].into_iter().collect();
        assert_eq!(says(&select, &s, &with(&[], &[])), None);
        assert_eq!(says(&select, &s, &with(&[], &[("team", "shop")])), Some(Reason::NotIncluded));
        assert_eq!(select.of(&s).refuses(None), None);
    }
}
