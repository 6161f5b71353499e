//! What a provider says: where it is, what it provides and how it wants to be called.
//!
//! It says so in a URL (interface level), or its application's metadata and instance do (application level); an instance
//! whose metadata nobody knows is *bare*: it has an address, ports and nothing else.
//!
//! A value that makes no sense is taken as absent, as Dubbo's defaults have it; only what leaves nowhere to call is a fault.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::url::{Fault, Url};
use crate::model::endpoint::{Address, Weight};
use crate::model::labels::Labels;

/// Dubbo's weight of a provider that says nothing. Weights are relative, so it is everyone's 1.
const USUAL_WEIGHT: f64 = 100.0;
/// The version that means none.
const NO_VERSION: &str = "0.0.0";

/// Schemes with what the names of their ports begin with, which is how Istio tells protocols. Others are TCP.
const SCHEMES: [(&str, &str); 8] = [
    ("tri", "grpc"),
    ("triple", "grpc"),
    ("grpc", "grpc"),
    ("rest", "http"),
    ("http", "http"),
    ("hessian", "http"),
    ("webservice", "http"),
    ("jsonrpc", "http"),
];

/// Parameters that describe the process or its caller's policy and not what is provided: no labels. Some change with each
/// start, and a label that changes is a change of the endpoint.
const TECHNICAL: [&str; 49] = [
    "REGISTRY_CLUSTER",
    "accesslog",
    "actives",
    "anyhost",
    "application",
    "async",
    "background",
    "category",
    "check",
    "cluster",
    "codec",
    "connections",
    "corethreads",
    "delay",
    "deprecated",
    "disabled",
    "dubbo",
    "dynamic",
    "enabled",
    "executes",
    "executor-management-mode",
    "file-cache",
    "generic",
    "group",
    "heartbeat",
    "interface",
    "id",
    "iothreads",
    "loadbalance",
    "logger",
    "metadata-service-port",
    "metadata-type",
    "methods",
    "owner",
    "path",
    "payload",
    "pid",
    "queues",
    "retries",
    "register-mode",
    "service-name-mapping",
    "side",
    "threadpool",
    "threads",
    "timeout",
    "timestamp",
    "token",
    "version",
    "weight",
];
/// The same by their beginnings.
const TECHNICAL_PREFIXES: [&str; 7] =
    ["bind.", "default.", "metrics.", "prefer.", "qos.", "registry", "service."];

/// What changes with each start and is of no use to anyone here: forgotten, so that providers of one kind share the rest.
const VOLATILE: [&str; 2] = ["pid", "timestamp"];

/// One provider of one interface over one protocol.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Provider {
    /// What its port is called: Istio's word for the protocol and the scheme, `grpc-tri`.
    pub(crate) port_name: Arc<str>,
    /// Where it is.
    pub(crate) address: Address,
    /// Its port; never 0.
    pub(crate) port: u16,
    /// The interface; empty: it is bare.
    pub(crate) interface: Arc<str>,
    /// Its group; absent: none.
    pub(crate) group: Option<Arc<str>>,
    /// Its version; absent: none.
    pub(crate) version: Option<Arc<str>>,
    /// Whose it is.
    pub(crate) application: Option<Arc<str>>,
    /// Everything that it says; what rules override stands in place of what it said.
    pub(crate) params: Labels,
}

/// A node's name, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    /// What people are shown of it.
    pub(crate) id: Arc<str>,
    /// What it says, or why it says nothing.
    pub(crate) provider: Result<Provider, Fault>,
}

impl Read {
    /// Reads the name of a node below the providers of `interface`; what it says as `like` does is kept once.
    pub(crate) fn of(name: &str, interface: &Arc<str>, like: Option<&Provider>) -> Self {
        match Url::parse(name) {
            Ok(url) => Self { id: url.shown().into(), provider: Provider::of_url(&url, interface, like) },
            Err(fault) => Self { id: super::url::cut(name).into(), provider: Err(fault) },
        }
    }
}

impl Provider {
    fn of_url(url: &Url, interface: &Arc<str>, like: Option<&Self>) -> Result<Self, Fault> {
        match &*url.scheme {
            "injvm" => return Err("injvm is not reachable from outside"),
            "empty" | "consumer" | "override" | "absent" | "route" | "condition" => {
                return Err("its scheme is none of a provider");
            }
            _ => {}
        }
        let address = address(&url.host)?;
        let port = url.port.as_deref().ok_or("no port")?;
        let port = port.parse().ok().filter(|p| *p != 0).ok_or("its port is none (1 to 65535)")?;
        let last = url.path.rsplit('/').next().unwrap_or_default();
        let named = url.get("interface").or(Some(last).filter(|l| !l.is_empty())).unwrap_or(interface);
        if named != &**interface {
            return Err("it stands under another interface, so that no consumer finds it");
        }
        let word = |key: &str, of: fn(&Self) -> Option<&Arc<str>>| -> Option<Arc<str>> {
            url.get(key).map(|text| share(text, like.and_then(of)))
        };
        let name = port_name(&url.scheme, url.get("ssl-enabled"));
        Ok(Self {
            port_name: share(&name, like.map(|l| &l.port_name)),
            address,
            port,
            interface: Arc::clone(interface),
            group: word("group", |l| l.group.as_ref()),
            version: word("version", |l| l.version.as_ref()).filter(|v| **v != *NO_VERSION),
            application: word("application", |l| l.application.as_ref()),
            params: shared(&url.params, like.map(|l| &l.params)),
        })
    }

    /// Whether nothing is known of it but where it is.
    pub(crate) fn is_bare(&self) -> bool {
        self.interface.is_empty()
    }

    /// Says `value` for `key` from now on.
    pub(crate) fn say(&mut self, key: &str, value: &str) {
        let said = self.params.as_slice().iter().cloned();
        self.params = said.chain([(Arc::from(key), Arc::from(value))]).collect();
    }

    /// Whether it may be called: neither disabled nor not enabled, in Dubbo's order of the two.
    pub(crate) fn is_enabled(&self) -> bool {
        match (self.flag("disabled"), self.flag("enabled")) {
            (Some(disabled), _) => !disabled,
            (None, enabled) => enabled.unwrap_or(true),
        }
    }

    /// Its share of the calls. What is no whole number of at least 0 is what says nothing.
    pub(crate) fn weight(&self) -> Weight {
        let written = self.params.get("weight").and_then(|w| w.parse::<u32>().ok());
        written.and_then(|w| Weight::new(f64::from(w) / USUAL_WEIGHT)).unwrap_or(Weight::ONE)
    }

    /// Dubbo's name of the service: `group/interface:version`, what is absent left out.
    pub(crate) fn service_key(&self) -> String {
        let group = self.group.as_deref().map(|g| format!("{g}/")).unwrap_or_default();
        let version = self.version.as_deref().map(|v| format!(":{v}")).unwrap_or_default();
        format!("{group}{}{version}", self.interface)
    }

    /// The methods that it names.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &str> {
        let written = self.params.get("methods").unwrap_or_default();
        written.split(',').map(str::trim).filter(|m| !m.is_empty() && *m != "*")
    }

    /// What it says that is worth a label.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let methods: Vec<&str> = self.methods().collect();
        let of_method =
            move |key: &str| key.split_once('.').is_some_and(|(first, _)| methods.contains(&first));
        let own = self.params.iter().filter(move |(key, value)| {
            let technical = TECHNICAL.contains(key)
                || TECHNICAL_PREFIXES.iter().any(|p| key.starts_with(p))
                || key.starts_with('.')
                || of_method(key);
            !technical && !value.is_empty() && *key != "revision"
        });
        let words = [("application", &self.application), ("group", &self.group), ("version", &self.version)];
        own.chain(words.into_iter().filter_map(|(k, v)| Some((k, v.as_deref()?))))
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.params.get(key).map(|v| v.to_ascii_lowercase()).as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        }
    }
}

/// The address of `host`.
pub(crate) fn address(host: &str) -> Result<Address, Fault> {
    if host.is_empty() {
        return Err("no host");
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match Address::parse(bare) {
        Ok(Address::Ip(ip)) if ip.is_unspecified() => Err("its host is the address of every interface"),
        Ok(Address::Unix(_)) | Err(_) => Err("its host is neither an address nor a name"),
        Ok(address) => Ok(address),
    }
}

/// What a port over `scheme` is called. With TLS the protocol inside is not to be seen.
pub(crate) fn port_name(scheme: &str, tls: Option<&str>) -> String {
    let known = SCHEMES.iter().find(|(known, _)| *known == scheme).map_or("tcp", |(_, word)| word);
    let tls = tls.is_some_and(|v| v.eq_ignore_ascii_case("true"));
    format!("{}-{scheme}", if tls { "tls" } else { known })
}

/// A version; absent where it means none.
pub(crate) fn version(text: &str) -> Option<&str> {
    Some(text).filter(|v| !v.is_empty() && *v != NO_VERSION)
}

fn share(text: &str, like: Option<&Arc<str>>) -> Arc<str> {
    like.filter(|like| ***like == *text).map_or_else(|| text.into(), Arc::clone)
}

/// `params`, what is volatile left out; the strings that `like` has too are its own.
pub(crate) fn shared(params: &BTreeMap<String, String>, like: Option<&Labels>) -> Labels {
    let kept = || {
        let all = params.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        all.filter(|(k, v)| !k.is_empty() && !v.is_empty() && !VOLATILE.contains(k))
    };
    let Some(like) = like else { return kept().collect() };
    if kept().eq(like.iter()) {
        return like.clone();
    }
    let pair = |(key, value): (&str, &str)| {
        let known = like.as_slice();
        let at = known.binary_search_by(|(k, _)| (**k).cmp(key)).ok();
        let found = at.and_then(|at| known.get(at));
        (share(key, found.map(|(k, _)| k)), share(value, found.map(|(_, v)| v)))
    };
    kept().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Provider, Fault> {
        Read::of(url, &"a.B".into(), None).provider
    }

    #[test]
    fn every_scheme_gets_the_protocol_that_istio_knows() {
        for (scheme, want) in [
            ("dubbo", "tcp-dubbo"),
            ("tri", "grpc-tri"),
            ("rest", "http-rest"),
            ("thrift", "tcp-thrift"),
            ("homemade", "tcp-homemade"),
        ] {
            assert_eq!(&*parse(&format!("{scheme}://10.0.0.1:1/a.B")).unwrap().port_name, want);
        }
        assert_eq!(&*parse("tri://10.0.0.1:1/a.B?ssl-enabled=true").unwrap().port_name, "tls-tri");
    }

    #[test]
    fn what_leaves_nowhere_to_call_is_a_fault() {
        for (url, words) in [
            ("injvm://127.0.0.1:1/a.B", "injvm"),
            ("consumer://10.0.0.1:1/a.B", "scheme"),
            ("dubbo:///a.B", "no host"),
            ("dubbo://10.0.0.1/a.B", "no port"),
            ("dubbo://10.0.0.1:0/a.B", "port"),
            ("dubbo://10.0.0.1:99999/a.B", "port"),
            ("dubbo://10.0.0.1:-1/a.B", "port"),
            ("dubbo://0.0.0.0:1/a.B", "every interface"),
            ("dubbo://a_b:1/a.B", "neither an address nor a name"),
            ("dubbo://10.0.0.1:1/a.C", "another interface"),
            ("dubbo://10.0.0.1:1/a.B?interface=a.C", "another interface"),
        ] {
            let fault = parse(url).unwrap_err();
            assert!(fault.contains(words), "{url}: {fault}");
        }
    }

    #[test]
    fn without_an_interface_the_path_says_it_and_then_the_folder() {
        for url in
            ["dubbo://h.example:1/ctx/a.B", "dubbo://h.example:1", "dubbo://[2001:db8::1]:1/?interface=a.B"]
        {
            assert_eq!(&*parse(url).unwrap().interface, "a.B");
        }
    }

    #[test]
    fn a_weight_that_makes_no_sense_is_the_usual_one() {
        for (text, want) in [
            ("100", Weight::ONE),
            ("200", Weight::new(2.0).unwrap()),
            ("0", Weight::ZERO),
            ("-5", Weight::ONE),
            ("0.5", Weight::ONE),
            ("x", Weight::ONE),
            ("99999999999", Weight::ONE),
        ] {
            assert_eq!(parse(&format!("dubbo://h:1/a.B?weight={text}")).unwrap().weight(), want, "{text}");
        }
    }

    #[test]
    fn disabled_is_asked_before_enabled() {
        for (query, want) in [
            ("", true),
            ("enabled=false", false),
            ("disabled=true", false),
            ("disabled=false&enabled=false", true),
            ("enabled=perhaps", true),
        ] {
            assert_eq!(parse(&format!("dubbo://h:1/a.B?{query}")).unwrap().is_enabled(), want, "{query}");
        }
    }

    #[test]
    fn labels_say_what_is_provided_and_nothing_of_the_process() {
        let url = "dubbo://10.0.0.1:1/a.B?application=app&dubbo.tag=gray&zone=z1&warmup=1000&pid=7&timestamp=1&methods=greet,x\
                   &greet.timeout=3&bind.ip=1.2.3.4&group=g&version=0.0.0&revision=1&weight=3&release=3.3.6&token=secret";
        let provider = parse(url).unwrap();
        let labels: BTreeMap<&str, &str> = provider.labels().collect();
        let want = [
            ("application", "app"),
            ("dubbo.tag", "gray"),
            ("group", "g"),
            ("release", "3.3.6"),
            ("warmup", "1000"),
            ("zone", "z1"),
        ];
        assert_eq!(labels, want.into_iter().collect());
        assert_eq!(provider.service_key(), "g/a.B");
    }

    #[test]
    fn providers_of_one_kind_keep_what_they_say_once() {
        let one = parse("dubbo://10.0.0.1:1/a.B?application=app&methods=a,b&pid=1&timestamp=1").unwrap();
        let url = "dubbo://10.0.0.2:1/a.B?application=app&methods=a,b&pid=2&timestamp=2";
        let alike = Read::of(url, &"a.B".into(), Some(&one)).provider.unwrap();
        assert!(std::ptr::eq(alike.params.as_slice(), one.params.as_slice()), "nothing was copied");
        let other = Read::of(&format!("{url}&weight=7"), &"a.B".into(), Some(&one)).provider.unwrap();
        assert_eq!(other.params.get("weight"), Some("7"));
        assert_eq!(other.params.len(), one.params.len() + 1);
        assert_eq!(other, parse(&format!("{url}&weight=7")).unwrap(), "sharing changes nothing");
    }
}
