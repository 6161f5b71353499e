//! Override rules: `override://…` URLs beside an interface's providers, and YAML in the configuration centre.
//!
//! A rule changes what a provider says: weight, tag, whether it is enabled. In Dubbo they are applied by consumers and by
//! providers themselves; the mesh stands where consumers stand. What only concerns some consumers is not applied and is
//! named, because nobody here knows who calls.

use std::sync::Arc;

use super::provider::Provider;
use super::url::{self, Url};
use crate::model::endpoint::Address;
use crate::registry::zookeeper::tree::Node;
use crate::yaml;

/// The host that means every one.
const ANY_HOST: &str = "0.0.0.0";
/// The value that means every one.
const ANY: &str = "*";
/// A rule of the configuration centre is written by hand; nobody writes as much.
const MAX_RULE: usize = 1 << 20;
/// Keys that say what a rule is for; they never override anything.
const ABOUT: [&str; 18] = [
    "application",
    "category",
    "check",
    "classifier",
    "compatible_config",
    "configVersion",
    "dynamic",
    "enabled",
    "group",
    "interface",
    "interfaces",
    "name",
    "path",
    "priority",
    "providerAddresses",
    "runtime",
    "side",
    "version",
];

/// Something that is not applied: what it is called, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NotApplied(Arc<str>);

impl NotApplied {
    /// Because of `why`.
    pub(crate) fn new(name: &str, why: &str) -> Self {
        Self(format!("{name} ({why})").into())
    }

    /// A routing rule.
    pub(crate) fn router(name: &str) -> Self {
        Self::new(name, "routing rules are not applied")
    }

    /// In words.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a rule's values go over what a provider says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// `override`: they do.
    Replace,
    /// `absent`: only where it says nothing.
    FillIn,
}

/// For whom a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// It says nothing.
    Either,
    Provider,
    Consumer,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    manner: Manner,
    /// Of providers where there is a port, of consumers where there is none; [`ANY_HOST`]: of all.
    host: String,
    port: Option<u16>,
    /// `host:port` of the providers that it is for; empty: of all.
    providers: Vec<String>,
    /// Whose it is for; absent: all.
    application: Option<String>,
    /// Interfaces that it is for; empty: all.
    services: Vec<String>,
    side: Side,
    priority: i64,
    /// What a provider must say (`~key` in a URL).
    conditions: Vec<(String, String)>,
    /// What it says instead.
    params: Vec<(String, String)>,
}

/// A rule with its name, or why there is none.
pub(crate) type Named = (Arc<str>, Result<Rule, String>);

/// Dubbo's order: by host, so that every one's rules come first, then by priority; a later one wins.
fn sorted(mut rules: Vec<Named>) -> Vec<Named> {
    let order = |(_, rule): &Named| rule.as_ref().ok().map(|r| (r.host.clone(), r.priority));
    rules.sort_by(|a, b| (order(a), &a.0).cmp(&(order(b), &b.0)));
    rules
}

/// The rules in an interface's `configurators`, each with the group and the version that it is for.
pub(crate) fn from_urls<'a>(nodes: impl Iterator<Item = (&'a Arc<str>, &'a Node)>) -> Vec<Named> {
    sorted(
        nodes.filter_map(|(name, _)| Some((url::shown(name).into(), from_url(name).transpose()?))).collect(),
    )
}

/// `None`: it is switched off, or says that there is none.
fn from_url(name: &str) -> Result<Option<Rule>, String> {
    let url = Url::parse(name)?;
    let manner = match &*url.scheme {
        "override" => Manner::Replace,
        "absent" => Manner::FillIn,
        "empty" => return Ok(None),
        other => return Err(format!("{other} is no rule that can be applied")),
    };
    if url.get("enabled") == Some("false") {
        return Ok(None);
    }
    let port = match url.port.as_deref() {
        None | Some("0") => None,
        Some(text) => Some(text.parse().map_err(|_| "its port is none")?),
    };
    let either = |key: &str| url.params.get(key).filter(|v| !v.is_empty() && *v != ANY);
    // A rule holds for the group and version that it names, and for those that have none where it names none.
    let key =
        |key: &str| (url.params.get(key).map(String::as_str) != Some(ANY)).then(|| either(key).cloned());
    let mut conditions: Vec<(String, String)> = Vec::new();
    for about in ["group", "version"] {
        conditions.extend(key(about).map(|value| (about.to_owned(), value.unwrap_or_default())));
    }
    let own = url.params.iter().filter_map(|(k, v)| Some((k.strip_prefix('~')?, v)));
    conditions.extend(own.filter(|(_, v)| *v != ANY).map(|(k, v)| (k.to_owned(), v.clone())));
    let params = url.params.iter().filter(|(k, _)| !k.starts_with('~') && !ABOUT.contains(&k.as_str()));
    Ok(Some(Rule {
        manner,
        port,
        providers: list(url.params.get("providerAddresses").map(String::as_str)),
        application: either("application").cloned(),
        services: Vec::new(),
        side: side(url.get("side")),
        priority: url.get("priority").and_then(|p| p.parse().ok()).unwrap_or_default(),
        conditions,
        params: params.map(|(k, v)| (k.clone(), v.clone())).collect(),
        host: url.host,
    }))
}

fn side(text: Option<&str>) -> Side {
    match text {
        Some("provider") => Side::Provider,
        Some("consumer") => Side::Consumer,
        _ => Side::Either,
    }
}

fn list(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|s| !s.is_empty()).map(Into::into).collect()
}

/// The rules of one node of the configuration centre.
pub(crate) fn from_yaml(name: &str, data: &[u8]) -> Vec<Named> {
    let whole = |why: &str| vec![(Arc::from(name), Err(why.to_owned()))];
    let Ok(text) = std::str::from_utf8(data) else { return whole("it is no text") };
    if text.trim().is_empty() {
        return Vec::new();
    }
    let parsed = yaml::parse(text, MAX_RULE);
    if !parsed.faults.is_empty() {
        return whole("it is no YAML");
    }
    let Some(document) = parsed.documents.first() else { return Vec::new() };
    let Some(top) = document.map() else { return whole("it is no map") };
    if top.get("enabled").and_then(|n| n.boolean().ok()) == Some(false) {
        return Vec::new();
    }
    let configs = top.get("configs").and_then(yaml::Node::list).unwrap_or_default();
    let read = configs.iter().enumerate().flat_map(|(at, config)| {
        let name: Arc<str> = format!("{name}#{}", at + 1).into();
        match from_config(config) {
            Ok(rules) => rules.into_iter().map(|rule| (Arc::clone(&name), Ok(rule))).collect(),
            Err(why) => vec![(name, Err(why.to_owned()))],
        }
    });
    sorted(read.collect())
}

/// One of `configs`: a rule for each of its addresses.
fn from_config(node: &yaml::Node) -> Result<Vec<Rule>, &'static str> {
    let map = node.map().ok_or("it is no map")?;
    if map.get("enabled").and_then(|n| n.boolean().ok()) == Some(false) {
        return Ok(Vec::new());
    }
    if map.get("match").is_some_and(|n| !n.is_null()) {
        return Err("`match` is not applied");
    }
    let words = |key: &str| -> Vec<String> {
        let elements = map.get(key).and_then(yaml::Node::list).unwrap_or_default();
        elements.iter().filter_map(|n| Some(n.text().ok()?.to_owned())).collect()
    };
    let params = map.get("parameters").and_then(yaml::Node::map).ok_or("it has no parameters")?;
    let scalar = |e: &yaml::Entry| Some((e.key.to_string(), e.value.scalar()?.as_str().to_owned()));
    let params: Vec<(String, String)> = params.entries().iter().filter_map(scalar).collect();
    let applications = words("applications");
    let application = match applications.as_slice() {
        [] => None,
        [one] if one == ANY => None,
        [one] => Some(one.clone()),
        _ => return Err("several applications are not applied"),
    };
    let rule = Rule {
        manner: Manner::Replace,
        host: ANY_HOST.into(),
        port: None,
        providers: words("providerAddresses"),
        application,
        services: words("services").into_iter().filter(|s| s != ANY).collect(),
        side: side(map.get("side").and_then(|n| n.text().ok())),
        priority: 0,
        conditions: Vec::new(),
        params: params.into_iter().filter(|(k, _)| !ABOUT.contains(&k.as_str())).collect(),
    };
    let addresses = words("addresses");
    if addresses.is_empty() {
        return Ok(vec![rule]);
    }
    addresses.iter().map(|address| at(&rule, address)).collect()
}

/// `rule` for one address: `0.0.0.0`, `10.0.0.1`, `10.0.0.1:20880`, `[2001:db8::1]:20880`.
fn at(rule: &Rule, address: &str) -> Result<Rule, &'static str> {
    let url = Url::parse(&format!("override://{address}"))?;
    let port = url.port.as_deref().filter(|p| *p != "0").map(str::parse).transpose();
    Ok(Rule { host: url.host, port: port.map_err(|_| "an address has no port that is one")?, ..rule.clone() })
}

impl Rule {
    /// Changes `provider` where the rule is for it.
    ///
    /// # Errors
    /// It is only for some consumers: why it is not applied.
    pub(crate) fn apply(&self, provider: &mut Provider) -> Result<(), String> {
        if !self.matches(provider)? {
            return Ok(());
        }
        for (key, value) in &self.params {
            match self.manner {
                Manner::FillIn if provider.params.get(key).is_some() => {}
                _ => provider.say(key, value),
            }
        }
        Ok(())
    }

    fn matches(&self, provider: &Provider) -> Result<bool, String> {
        if !self.concerns(provider) {
            return Ok(false);
        }
        // A host without a port is a consumer's, where the rule does not say that it is a provider's.
        let here = self.host == ANY_HOST || Address::parse(&self.host).is_ok_and(|a| a == provider.address);
        match (self.port, self.side) {
            (Some(port), _) if port != provider.port => return Ok(false),
            (None, Side::Either | Side::Consumer) if self.host != ANY_HOST => {
                return Err("it is only for one consumer".into());
            }
            _ if !here => return Ok(false),
            _ => {}
        }
        match &self.application {
            Some(application) if Some(&**application) != provider.application.as_deref() => {
                if self.side == Side::Provider {
                    Ok(false)
                } else {
                    Err("it is only for one application's calls".into())
                }
            }
            _ => Ok(true),
        }
    }

    /// Whether it is for this service and this provider of it, whoever calls.
    fn concerns(&self, provider: &Provider) -> bool {
        let says = |key: &str| match key {
            "group" => provider.group.as_deref(),
            "version" => provider.version.as_deref(),
            _ => provider.params.get(key),
        };
        let service = provider.service_key();
        let address = format!("{}:{}", provider.address, provider.port);
        let any = format!("{ANY_HOST}:{}", provider.port);
        let among =
            |list: &[String], own: &[&str]| list.is_empty() || list.iter().any(|l| own.contains(&l.as_str()));
        self.conditions.iter().all(|(key, value)| says(key).unwrap_or_default() == value)
            && among(&self.services, &[&provider.interface, &service])
            && among(&self.providers, &[&address, &any, ANY_HOST])
    }
}

/// The interface in a key of the configuration centre; an application's key is itself.
///
/// Three forms are about: `interface:version:group` (all parts, empty ones too), `group*interface:version` and the plain
/// `interface`.
pub(crate) fn interface_of(key: &str) -> &str {
    let key = key.split_once('*').map_or(key, |(_, rest)| rest);
    key.split_once(':').map_or(key, |(interface, _)| interface)
}

/// The keys under which rules for `provider`'s service stand, each once.
pub(crate) fn keys_of(provider: &Provider) -> Vec<Arc<str>> {
    let (group, version) =
        (provider.group.as_deref().unwrap_or(""), provider.version.as_deref().unwrap_or(""));
    let mut keys = vec![
        Arc::from(format!("{}:{version}:{group}", provider.interface)),
        Arc::from(provider.service_key().replace('/', "*")),
    ];
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::super::provider::Read;
    use super::*;

    const PROVIDER: &str = "dubbo://10.0.0.1:20880/a.B?application=app&group=g&version=1.0&weight=100";

    fn provider() -> Provider {
        Read::of(PROVIDER, &"a.B".into(), None).provider.unwrap()
    }

    fn weight_after(rules: &[Named]) -> Result<String, String> {
        let mut provider = provider();
        for (_, rule) in rules {
            rule.as_ref().map_err(Clone::clone)?.apply(&mut provider)?;
        }
        Ok(provider.params.get("weight").unwrap_or_default().to_owned())
    }

    fn urls(urls: &[&str]) -> Vec<Named> {
        let nodes: Vec<(Arc<str>, Node)> = urls.iter().map(|u| (Arc::from(*u), Node::default())).collect();
        from_urls(nodes.iter().map(|(name, node)| (name, node)))
    }

    #[test]
    fn rules_for_all_come_first_then_those_for_one_and_the_last_wins() {
        let rules = urls(&[
            "override://10.0.0.1:20880/a.B?category=configurators&group=g&version=1.0&weight=300",
            "override://0.0.0.0/a.B?category=configurators&group=g&version=1.0&weight=7&priority=9",
            "override://0.0.0.0/a.B?category=configurators&group=g&version=1.0&weight=5&priority=1",
        ]);
        assert_eq!(weight_after(&rules).as_deref(), Ok("300"));
        assert_eq!(weight_after(&rules[..1]).as_deref(), Ok("5"));
        assert_eq!(weight_after(&rules[..2]).as_deref(), Ok("7"));
    }

    #[test]
    fn a_rule_holds_for_its_own_group_version_port_and_conditions() {
        for (rule, want) in [
            ("override://0.0.0.0/a.B?weight=1", "100"),
            ("override://0.0.0.0/a.B?group=g&version=1.0&weight=1", "1"),
            ("override://0.0.0.0/a.B?group=*&version=*&weight=1", "1"),
            ("override://10.0.0.1:1/a.B?group=*&version=*&weight=1", "100"),
            ("override://10.0.0.2:20880/a.B?group=*&version=*&weight=1", "100"),
            ("override://0.0.0.0/a.B?group=*&version=*&weight=1&enabled=false", "100"),
            ("override://0.0.0.0/a.B?group=*&version=*&weight=1&~weight=100", "1"),
            ("override://0.0.0.0/a.B?group=*&version=*&weight=1&~weight=50", "100"),
            ("override://0.0.0.0/a.B?group=*&version=*&weight=1&providerAddresses=10.0.0.9:1", "100"),
            ("absent://0.0.0.0/a.B?group=*&version=*&weight=1", "100"),
            ("empty://0.0.0.0/a.B?group=*&version=*&weight=1", "100"),
        ] {
            assert_eq!(weight_after(&urls(&[rule])).as_deref(), Ok(want), "{rule}");
        }
        let mut filled = provider();
        let rules = urls(&["absent://0.0.0.0/a.B?group=*&version=*&dubbo.tag=gray"]);
        rules[0].1.as_ref().unwrap().apply(&mut filled).unwrap();
        assert_eq!(filled.params.get("dubbo.tag"), Some("gray"));
    }

    #[test]
    fn what_is_only_for_some_consumers_is_named_and_not_applied() {
        for (rule, words) in [
            ("override://10.9.9.9/a.B?group=*&version=*&weight=1", "one consumer"),
            (
                "override://0.0.0.0/a.B?group=*&version=*&weight=1&application=other",
                "one application's calls",
            ),
            ("condition://0.0.0.0/a.B?rule=x", "no rule"),
            ("override://0.0.0.0:x/a.B?weight=1", "port"),
        ] {
            let why = weight_after(&urls(&[rule])).unwrap_err();
            assert!(why.contains(words), "{rule}: {why}");
        }
    }

    #[test]
    fn yaml_says_the_same_for_each_of_its_addresses() {
        let rules = from_yaml(
            "app.configurators",
            b"configVersion: v2.7\nenabled: true\nconfigs:\n- addresses: ['10.0.0.1:20880', '10.0.0.2:20880']\n  side: provider\n  \
              parameters: {weight: 222, timeout: 1000}\n- {addresses: [0.0.0.0], parameters: {weight: 9}}\n- {enabled: false, parameters: {weight: 8}}\n",
        );
        assert_eq!(rules.len(), 3);
        assert_eq!(weight_after(&rules).as_deref(), Ok("222"));
        for (text, words) in [
            ("configs: [{match: {app: x}, parameters: {weight: 1}}]", "`match`"),
            ("configs: [{applications: [a, b], parameters: {weight: 1}}]", "several applications"),
            ("configs: [{addresses: [0.0.0.0]}]", "no parameters"),
            ("configs: [7]", "no map"),
            ("[]", "no map"),
            ("a: b: c", "no YAML"),
        ] {
            let rules = from_yaml("x", text.as_bytes());
            assert!(rules[0].1.as_ref().is_err_and(|why| why.contains(words)), "{text}: {rules:?}");
        }
        for none in ["", "enabled: false\nconfigs: [7]", "configs: []"] {
            assert!(from_yaml("x", none.as_bytes()).is_empty());
        }
    }

    #[test]
    fn a_key_names_its_interface_in_each_of_its_forms() {
        for key in ["a.B", "a.B:1.0:g", "a.B::", "g*a.B:1.0", "g*a.B"] {
            assert_eq!(interface_of(key), "a.B");
        }
        let keys = keys_of(&provider());
        assert_eq!(keys, [Arc::from("a.B:1.0:g"), Arc::from("g*a.B:1.0")]);
    }
}
