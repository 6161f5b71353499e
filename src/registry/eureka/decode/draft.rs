//! An instance while it is read: every field as text, whatever the format made of it.

use std::sync::Arc;

use super::super::instance::{Action, Applications, Entry, Facts, Instance, InstanceKey, Lease, Status};
use super::NotEureka;
use crate::model::endpoint::Address;
use crate::model::labels::Labels;

/// The longest piece of nonsense that is repeated to people.
const SHOWN: usize = 80;

/// A field: absent, or some text.
pub(super) type Text = Option<String>;

/// A port as written: `8080`, `{"$":8080,"@enabled":"true"}` or `<port enabled="true">8080</port>`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DraftPort {
    pub(super) number: Text,
    pub(super) enabled: Text,
}

/// Times in milliseconds of the server's clock, and one duration in seconds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DraftLease {
    pub(super) duration: Text,
    pub(super) registered: Text,
    pub(super) up: Text,
    pub(super) renewed: Text,
    pub(super) evicted: Text,
}

/// All that is read of an instance. Fields that nobody here needs are not kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) id: Text,
    pub(super) host: Text,
    pub(super) app: Text,
    pub(super) ip: Text,
    pub(super) status: Text,
    pub(super) overridden: Text,
    pub(super) action: Text,
    pub(super) vips: Text,
    pub(super) secure_vips: Text,
    pub(super) port: DraftPort,
    pub(super) secure_port: DraftPort,
    pub(super) lease: DraftLease,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) cloud: Vec<(String, String)>,
}

/// A list of applications while it is read.
#[derive(Debug, Default)]
pub(super) struct DraftApplications {
    pub(super) hash: Text,
    pub(super) read: Applications,
}

impl DraftApplications {
    /// Adds the instances of one application.
    pub(super) fn application(&mut self, name: Option<&str>, instances: Vec<Draft>) {
        let named = name.map(AppName::new);
        for draft in instances {
            let app = match &named {
                Some(app) => app.clone(),
                None => AppName::new(draft.app.as_deref().unwrap_or_default()),
            };
            match draft.finish(&app) {
                Some(entry) => self.read.entries.push(entry),
                None => self.read.nameless.push(shown(&app.shown).into()),
            }
        }
    }

    /// # Errors
    /// It says nothing at all, which no server of Eureka's does: an empty one says an empty hash code.
    pub(super) fn finish(self) -> Result<Applications, NotEureka> {
        if self.hash.is_none() && self.read.entries.is_empty() && self.read.nameless.is_empty() {
            return Err(NotEureka("neither instances nor a hash code".into()));
        }
        Ok(Applications { hash: self.hash.map(|h| h.trim().into()), ..self.read })
    }
}

/// An application's name, shared by its instances.
#[derive(Debug, Clone)]
struct AppName {
    shown: Arc<str>,
    folded: Arc<str>,
}

impl AppName {
    fn new(name: &str) -> Self {
        let name = name.trim();
        Self { shown: name.into(), folded: name.to_lowercase().into() }
    }
}

impl Draft {
    /// The field that both formats call `name`, if it is plain text.
    pub(super) fn text(&mut self, name: &str) -> Option<&mut Text> {
        match name {
            "instanceId" => Some(&mut self.id),
            "hostName" => Some(&mut self.host),
            "app" => Some(&mut self.app),
            "ipAddr" => Some(&mut self.ip),
            "status" => Some(&mut self.status),
            "overriddenStatus" | "overriddenstatus" => Some(&mut self.overridden),
            "actionType" => Some(&mut self.action),
            "vipAddress" => Some(&mut self.vips),
            "secureVipAddress" => Some(&mut self.secure_vips),
            _ => None,
        }
    }

    /// The instance; `None`: nothing in it tells which.
    fn finish(self, app: &AppName) -> Option<Entry> {
        let cloud = |key: &str| self.cloud.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v);
        // The server's own order: old clients send no id, and those in Amazon's cloud are known by the machine's.
        let ids = [self.id.as_ref(), cloud("instance-id"), self.host.as_ref(), self.ip.as_ref()];
        let id = ids.into_iter().flatten().find(|id| !id.trim().is_empty())?.trim();
        if app.shown.is_empty() {
            return None;
        }
        let key = InstanceKey { app: Arc::clone(&app.folded), id: id.into() };
        let lease = self.lease.finish();
        let facts = self.facts(cloud("availability-zone")).map_err(Arc::from);
        let status = |text: &Text| text.as_deref().map_or(Status::Unknown, Status::read);
        let deleted = self.action.as_deref().is_some_and(|a| a.trim().eq_ignore_ascii_case("DELETED"));
        let instance = Instance {
            key,
            app: Arc::clone(&app.shown),
            status: status(&self.status),
            overridden: status(&self.overridden),
            vips: names(&self.vips),
            secure_vips: names(&self.secure_vips),
            facts,
            stale: false,
        };
        Some(Entry { instance, action: if deleted { Action::Delete } else { Action::Put }, lease })
    }

    fn facts(&self, cloud_zone: Option<&String>) -> Result<Facts, String> {
        let address = |text: &Text| text.as_deref().and_then(|t| reachable(t.trim()));
        let (ip, host) = (address(&self.ip), address(&self.host));
        if ip.is_none() && host.is_none() {
            return Err(match some(self.ip.clone()).or_else(|| some(self.host.clone())) {
                Some(text) => {
                    format!("its address {:?} is neither an IP nor a legal host name", shown(&text))
                }
                None => "it has neither `ipAddr` nor `hostName`".into(),
            });
        }
        let plain = self.port.finish("port", true);
        let secure = self.secure_port.finish("securePort", false);
        // One port that makes sense is enough to be called on.
        let (plain, secure) = match (plain, secure) {
            (Err(why), Err(_) | Ok(None)) | (Ok(None), Err(why)) => return Err(why),
            (Ok(None), Ok(None)) => return Err("neither its port nor its secure port is enabled".into()),
            (plain, secure) => (plain.unwrap_or_default(), secure.unwrap_or_default()),
        };
        Ok(Facts {
            ip,
            host,
            plain,
            secure,
            metadata: self.labels(),
            cloud_zone: cloud_zone.map(|z| z.as_str().into()),
        })
    }

    /// Without the name of the Java class that held them.
    fn labels(&self) -> Labels {
        self.metadata.iter().filter(|(k, _)| k != "@class").map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }
}

impl DraftPort {
    /// The number, if it is enabled. Servers have always written both, so an absent `enabled` is the default of the class.
    fn finish(&self, field: &str, default: bool) -> Result<Option<u16>, String> {
        let enabled = match self.enabled.as_deref().map(str::trim) {
            Some(text) => text.eq_ignore_ascii_case("true"),
            None => default,
        };
        let Some(text) = self.number.as_deref().map(str::trim).filter(|_| enabled) else {
            return Ok(None);
        };
        match text.parse::<u16>() {
            Ok(0) => Err(format!("its `{field}` is 0: nothing can listen there")),
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("its `{field}` {:?} is no port", shown(text))),
        }
    }
}

impl DraftLease {
    /// The field that both formats call `name`.
    pub(super) fn text(&mut self, name: &str) -> Option<&mut Text> {
        match name {
            "durationInSecs" => Some(&mut self.duration),
            "registrationTimestamp" => Some(&mut self.registered),
            "serviceUpTimestamp" => Some(&mut self.up),
            "lastRenewalTimestamp" => Some(&mut self.renewed),
            "evictionTimestamp" => Some(&mut self.evicted),
            _ => None,
        }
    }

    fn finish(&self) -> Lease {
        let number = |text: &Text| text.as_deref().and_then(|t| t.trim().parse::<u64>().ok()).unwrap_or(0);
        let [registered, up, renewed] = [&self.registered, &self.up, &self.renewed].map(number);
        // A registration that is repeated has a new lease, which remembers since when the old one was up.
        let since = [registered, up].into_iter().filter(|t| *t > 0).min().unwrap_or(0);
        let until = match (renewed, number(&self.duration)) {
            (0, _) | (_, 0) => 0,
            (renewed, duration) => renewed.saturating_add(duration.saturating_mul(1000)),
        };
        Lease { since, until, ended: number(&self.evicted) }
    }
}

/// An address that other machines may call; an instance that registered `0.0.0.0` has told nobody where it is.
fn reachable(text: &str) -> Option<Address> {
    match Address::parse(text) {
        Ok(Address::Ip(ip)) if ip.is_unspecified() || ip.is_multicast() => None,
        Ok(Address::Unix(_)) | Err(_) => None,
        Ok(address) => Some(address),
    }
}

/// The parts of a comma list, each once, as they stand.
fn names(text: &Text) -> Box<[Arc<str>]> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for name in text.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|n| !n.is_empty()) {
        if !names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            names.push(name.into());
        }
    }
    names.into()
}

fn some(text: Text) -> Text {
    text.filter(|t| !t.trim().is_empty())
}

/// The beginning of something that may be long.
fn shown(text: &str) -> String {
    let text = text.trim();
    let mut out: String = text.chars().take(SHOWN).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
