//! What the owner of a service may say about it in the registry's metadata, as far as `selfService` allows.
//!
//! Keys of our own (`chandler-…`) and a registry's conventions are read alike. What makes no sense is ignored and named.
//!
//! Weight, mutual TLS and skipping are each instance's own matter. All else is the service's: what its own metadata say
//! holds; otherwise its instances are heard. One voice is enough and silence is none, so that a change that is rolled out
//! instance by instance is one change in the mesh. Where instances disagree, what held before holds as long as one of them
//! says it, else the first value in order; that they disagree is named. Without any instance, what held before holds; and if
//! all that said something have gone and the others say nothing, it holds for `emptyServiceTTL`, since they may only be
//! restarting. (One that is still there and no longer says it is believed at once.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::convert::admission::Past;
use crate::convert::mapping::Mapping;
use crate::model::admitted::Owner;
use crate::model::endpoint::{Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::host::{Host, is_dns1123_label};
use crate::model::labels::Labels;
use crate::model::service::{Addresses, Protocol, Service};
use crate::model::time::Moment;

/// Something that an owner may be allowed to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Say {
    /// That a service or an instance stays out.
    Skip,
    /// The protocol.
    Protocol,
    /// An instance's weight.
    Weight,
    /// The numbers on which the mesh calls the service.
    ServicePort,
    /// The hosts.
    Host,
    /// Who may see it.
    ExportTo,
    /// Whether an instance takes mutual TLS.
    TlsMode,
    /// What a sidecar listens on.
    Addresses,
}

impl Say {
    /// Every one: its word in the configuration, and its key in metadata.
    pub const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::Skip, "skip", "chandler-skip"),
        (Self::Protocol, "protocol", "chandler-protocol"),
        (Self::Weight, "weight", "chandler-weight"),
        (Self::ServicePort, "servicePort", "chandler-service-port"),
        (Self::Host, "host", "chandler-host"),
        (Self::ExportTo, "exportTo", "chandler-export-to"),
        (Self::TlsMode, "tlsMode", "chandler-tls-mode"),
        (Self::Addresses, "addresses", "chandler-addresses"),
    ];
    /// What owners may say unless the configuration says otherwise: nothing by which one could take what is another's, or
    /// change what others' sidecars do.
    pub const USUAL: [Self; 4] = [Self::Skip, Self::Protocol, Self::Weight, Self::ServicePort];

    fn key(self) -> &'static str {
        Self::ALL.iter().find(|(say, _, _)| *say == self).map_or("", |(_, _, key)| key)
    }
}

/// Metadata keys that a registry's users write anyway. Of several the first that is there counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conventions {
    /// The protocol; heard where [`Say::Protocol`] is.
    pub protocol: &'static [&'static str],
    /// A further port, which speaks gRPC; heard where [`Say::ServicePort`] is.
    pub grpc_port: &'static [&'static str],
    /// The region, for instances about whose place nothing else is known.
    pub region: &'static [&'static str],
    /// The zone, likewise. Without a region it counts as one: Istio knows no zone without.
    pub zone: &'static [&'static str],
}

/// What is listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfService {
    /// What owners may say; empty: nothing.
    pub may: BTreeSet<Say>,
    /// Keys that mean something already.
    pub conventions: Conventions,
}

impl Default for SelfService {
    /// [`Say::USUAL`], and no conventions.
    fn default() -> Self {
        Self { may: Say::USUAL.into(), conventions: Conventions::default() }
    }
}

/// A value that makes no sense: what would.
type Nonsense = &'static str;

/// Values that are named at most; more only fill the log.
const NAMED: usize = 10;
/// How much of a value is shown.
const SHOWN: usize = 60;

/// Name of the port of [`Conventions::grpc_port`].
const GRPC: &str = "grpc";

impl SelfService {
    fn hears(&self, say: Say) -> bool {
        self.may.contains(&say)
    }

    /// What `labels` say under `say`.
    fn word<'a>(&self, say: Say, labels: &'a Labels) -> Option<&'a str> {
        if labels.is_empty() || !self.hears(say) {
            return None;
        }
        let conventional = || match say {
            Say::Protocol => first(self.conventions.protocol, labels),
            _ => None,
        };
        labels.get(say.key()).or_else(conventional)
    }

    /// Whether an instance, or the service as such, stays out (`true`) or says that it does not.
    #[must_use]
    pub fn skips(&self, service: &Service, endpoint: Option<&Endpoint>) -> Option<bool> {
        let own = endpoint.and_then(|e| boolean(self.word(Say::Skip, &e.labels)?).ok());
        own.or_else(|| boolean(self.word(Say::Skip, &service.labels)?).ok())
    }

    /// The weight of an instance.
    #[must_use]
    pub fn weight(&self, endpoint: &Endpoint) -> Weight {
        let own = self.word(Say::Weight, &endpoint.labels).and_then(|w| weight(w).ok());
        own.unwrap_or(endpoint.weight)
    }

    /// Whether an instance says that it takes mutual TLS.
    #[must_use]
    pub fn tls_mode(&self, endpoint: &Endpoint) -> Option<TlsMode> {
        tls_mode(self.word(Say::TlsMode, &endpoint.labels)?).ok()
    }

    /// The port on which an instance speaks gRPC beside its own.
    #[must_use]
    pub fn grpc_port(&self, endpoint: &Endpoint) -> Option<u16> {
        if self.conventions.grpc_port.is_empty() || !self.hears(Say::ServicePort) {
            return None;
        }
        first(self.conventions.grpc_port, &endpoint.labels)?.trim().parse().ok().filter(|port| *port != 0)
    }

    /// Where an instance is, by what its metadata say: `region/zone`.
    #[must_use]
    pub fn locality(&self, endpoint: &Endpoint) -> Option<String> {
        let zone = first(self.conventions.zone, &endpoint.labels);
        let region = first(self.conventions.region, &endpoint.labels);
        match (region, zone) {
            (Some(region), Some(zone)) => Some(format!("{region}/{zone}")),
            (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
            (None, None) => None,
        }
    }
}

/// The ports of an instance with `grpc` beside them. `main` is what its one port is called.
#[must_use]
pub fn with_grpc(ports: &EndpointPorts, main: &str, grpc: Option<u16>) -> EndpointPorts {
    let mut named: BTreeMap<Arc<str>, u16> = match ports {
        EndpointPorts::AsService => BTreeMap::new(),
        EndpointPorts::One(number) => [(main.into(), *number)].into(),
        EndpointPorts::Named(named) => named.iter().cloned().collect(),
    };
    if let Some(number) = grpc.filter(|n| !named.values().any(|other| other == n)) {
        named.entry(GRPC.into()).or_insert(number);
    }
    if named.is_empty() { ports.clone() } else { EndpointPorts::Named(named.into_iter().collect()) }
}

fn first<'a>(keys: &[&str], labels: &'a Labels) -> Option<&'a str> {
    keys.iter().find_map(|key| labels.get(key)).filter(|value| !value.trim().is_empty())
}

/// What the owner of a service says about it, heard from those of its instances that are `taken`; `None`: nothing. Beside
/// it, until when some of that holds although nobody says it any more.
#[must_use]
pub(super) fn hear(
    past: &Past<'_>,
    mapping: &Mapping,
    taken: impl Fn(&Endpoint) -> bool,
) -> (Option<Box<Owner>>, Option<Moment>) {
    let (ears, service) = (&mapping.self_service, past.service());
    let mut heard = Heard { ears, past, voices: BTreeMap::new(), ignored: BTreeSet::new(), until: None };
    heard.listen(&service.labels, true);
    // In a service with many instances all labels are looked at, whenever one of them changes.
    for endpoint in service.endpoints.iter().filter(|e| !e.labels.is_empty() && taken(e)) {
        heard.listen(&endpoint.labels, false);
    }
    let none = Owner::default();
    let before = past.admitted().and_then(|a| a.owner.as_deref()).unwrap_or(&none);
    let mut owner = Owner::default();
    let says = &mut owner.says;
    says.protocol = heard.decide(Say::Protocol, protocol, before.says.protocol.as_ref());
    says.service_ports = heard.decide(Say::ServicePort, ports, before.says.service_ports.as_ref());
    says.export_to = heard.decide(Say::ExportTo, export_to, before.says.export_to.as_ref());
    says.addresses = heard.decide(Say::Addresses, addresses, before.says.addresses.as_ref());
    let hosts_before = Some(&before.hosts).filter(|hosts| !hosts.is_empty());
    owner.hosts = heard.decide(Say::Host, hosts, hosts_before).unwrap_or_default();
    says.tls_mode = ears.word(Say::TlsMode, &service.labels).and_then(|w| tls_mode(w).ok());
    owner.ignored = heard.ignored.into_iter().take(NAMED).collect();
    ((owner != none).then(|| Box::new(owner)), heard.until)
}

/// What is said, by whom does not matter but for the service itself.
struct Heard<'a> {
    ears: &'a SelfService,
    past: &'a Past<'a>,
    voices: BTreeMap<Say, Voices<'a>>,
    ignored: BTreeSet<Arc<str>>,
    /// Until when something holds that nobody says any more.
    until: Option<Moment>,
}

#[derive(Default)]
struct Voices<'a> {
    service: Option<&'a str>,
    instances: BTreeSet<&'a str>,
}

impl<'a> Heard<'a> {
    fn listen(&mut self, labels: &'a Labels, is_service: bool) {
        for say in &self.ears.may {
            let Some(word) = self.ears.word(*say, labels) else { continue };
            match say {
                Say::Skip => self.check(*say, word, boolean),
                Say::TlsMode => self.check(*say, word, tls_mode),
                Say::Weight if is_service => self.ignore(*say, word, "each instance says its own"),
                Say::Weight => self.check(*say, word, weight),
                _ if is_service => self.voices.entry(*say).or_default().service = Some(word),
                _ => {
                    self.voices.entry(*say).or_default().instances.insert(word);
                }
            }
        }
    }

    fn check<T>(&mut self, say: Say, word: &str, parse: impl Fn(&str) -> Result<T, Nonsense>) {
        if let Err(expected) = parse(word) {
            self.ignore(say, word, expected);
        }
    }

    fn ignore(&mut self, say: Say, word: &str, expected: &str) {
        self.ignored.insert(format!("{}: {}: {expected}", say.key(), quoted(word)).into());
    }

    fn decide<T: PartialEq + Clone>(
        &mut self,
        say: Say,
        parse: impl Fn(&str) -> Result<T, Nonsense>,
        before: Option<&T>,
    ) -> Option<T> {
        let voices = self.voices.remove(&say).unwrap_or_default();
        if let Some(word) = voices.service {
            match parse(word) {
                Ok(value) => return Some(value),
                Err(expected) => self.ignore(say, word, expected),
            }
        }
        let mut values: Vec<(&str, T)> = Vec::new();
        for word in voices.instances {
            match parse(word) {
                Ok(value) if values.iter().any(|(_, other)| *other == value) => {}
                Ok(value) => values.push((word, value)),
                Err(expected) => self.ignore(say, word, expected),
            }
        }
        if values.is_empty() {
            let value = before?;
            let says_it = |word: &str| parse(word).is_ok_and(|said| said == *value);
            let holds = self.past.holds(|e| self.ears.word(say, &e.labels).is_some_and(says_it));
            self.until = self.until.max(holds);
            let silent = self.past.service().endpoints.is_empty();
            return (silent || holds.is_some()).then(|| value.clone());
        }
        let held = values.iter().find(|(_, value)| Some(value) == before).or(values.first());
        let (word, value) = held.cloned()?;
        if values.len() > 1 {
            let others: Vec<String> = values.iter().take(NAMED).map(|(w, _)| quoted(w)).collect();
            let words =
                format!("{}: instances disagree ({}): {} holds", say.key(), others.join(", "), quoted(word));
            self.ignored.insert(words.into());
        }
        Some(value)
    }
}

/// A value for people: on one line, and not all of 64 KiB.
fn quoted(word: &str) -> String {
    let mut shown: String = word.chars().take(SHOWN).collect();
    if word.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("{shown:?}")
}

fn boolean(word: &str) -> Result<bool, Nonsense> {
    match word.trim() {
        w if w.eq_ignore_ascii_case("true") => Ok(true),
        w if w.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("write `true` or `false`"),
    }
}

fn weight(word: &str) -> Result<Weight, Nonsense> {
    word.trim().parse().ok().and_then(Weight::new).ok_or("write a number from 0 on, such as `1` or `0.5`")
}

fn tls_mode(word: &str) -> Result<TlsMode, Nonsense> {
    match word.trim() {
        "istio" => Ok(TlsMode::Istio),
        "none" => Ok(TlsMode::None),
        _ => Err("write `istio` or `none`"),
    }
}

fn addresses(word: &str) -> Result<Addresses, Nonsense> {
    match word.trim() {
        "virtual" => Ok(Addresses::Virtual),
        "endpoints" => Ok(Addresses::Endpoints),
        "none" => Ok(Addresses::None),
        _ => Err("write `virtual`, `endpoints` or `none`"),
    }
}

fn protocol(word: &str) -> Result<Protocol, Nonsense> {
    let word = word.trim();
    Protocol::parse(word)
        .filter(|_| !word.is_empty())
        .ok_or("Istio knows no such protocol: write for instance `http`, `grpc` or `tcp`")
}

/// Enough for anybody, and few enough for every sidecar.
const LISTED: usize = 16;

/// The parts of a list with commas, if each of them can be read and there are neither none nor too many.
fn list<T>(word: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let parts = || word.split(',').map(str::trim).filter(|part| !part.is_empty());
    if parts().count() > LISTED {
        return None;
    }
    parts().map(read).collect::<Option<Vec<T>>>().filter(|list| !list.is_empty())
}

fn ports(word: &str) -> Result<Arc<[u16]>, Nonsense> {
    let number = |part: &str| part.parse::<u16>().ok().filter(|n| *n != 0);
    let numbers: BTreeSet<u16> = list(word, number)
        .ok_or("write ports from 1 to 65535, such as `80` or `80,8080`")?
        .into_iter()
        .collect();
    Ok(numbers.into_iter().collect())
}

fn hosts(word: &str) -> Result<Vec<Host>, Nonsense> {
    // A wildcard would take calls that are nobody's.
    let host = |part: &str| Host::parse(part).ok().filter(|h| !h.is_wildcard());
    let mut hosts = list(word, host).ok_or("write DNS names without wildcards, such as `billing.example`")?;
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

fn export_to(word: &str) -> Result<Vec<Arc<str>>, Nonsense> {
    let good =
        |part: &str| (matches!(part, "." | "*" | "~") || is_dns1123_label(part)).then(|| Arc::from(part));
    let mut names: Vec<Arc<str>> = list(word, good).unwrap_or_default();
    names.sort();
    names.dedup();
    let alone = names.len() == 1 || !names.iter().any(|n| matches!(&**n, "*" | "~"));
    if names.is_empty() || !alone {
        return Err("write namespaces or `.`, or one of `*` and `~` alone");
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
