//! One instance as `/v1/health/service` has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{Failing, shown};
use crate::model::endpoint::{Address, AddressError, Endpoint, EndpointPorts, Weight};
use crate::model::labels::Labels;
use crate::registry::consul::settings::Instances;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Entry {
    node: Option<Node>,
    service: Option<Registration>,
    checks: Option<Vec<Check>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    node: Option<String>,
    address: Option<String>,
    datacenter: Option<String>,
    tagged_addresses: Option<BTreeMap<String, String>>,
    locality: Option<Locality>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Registration {
    #[serde(rename = "ID")]
    id: Option<String>,
    tags: Option<Vec<String>>,
    address: Option<String>,
    tagged_addresses: Option<BTreeMap<String, Tagged>>,
    meta: Option<BTreeMap<String, String>>,
    port: Option<i64>,
    weights: Option<Weights>,
    kind: Option<String>,
    locality: Option<Locality>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tagged {
    address: Option<String>,
    port: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Weights {
    passing: Option<f64>,
    warning: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Locality {
    region: Option<String>,
    zone: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Check {
    node: Option<String>,
    #[serde(rename = "CheckID")]
    id: Option<String>,
    status: Option<String>,
    service_name: Option<String>,
}

/// What all checks of an instance together say: the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

/// Why an instance is no endpoint.
#[derive(Debug)]
pub(super) enum LeftOut {
    /// It is not well, in the registry's own word.
    Unwell(&'static str),
    /// It makes no sense: in short, and what exactly.
    Senseless(&'static str, String),
}

impl Check {
    /// Maintenance is a critical check of a certain name.
    fn health(&self) -> Result<Health, LeftOut> {
        let id = self.id.as_deref().unwrap_or_default();
        let maintained = id == "_node_maintenance" || id.starts_with("_service_maintenance:");
        match self.status.as_deref() {
            Some("passing") => Ok(Health::Passing),
            Some("warning") => Ok(Health::Warning),
            Some("maintenance") => Ok(Health::Maintenance),
            Some("critical") if maintained => Ok(Health::Maintenance),
            Some("critical") => Ok(Health::Critical),
            other => {
                let words = format!("its check has the unknown status {}", shown(other.unwrap_or("(none)")));
                Err(LeftOut::Senseless("unknown status", words))
            }
        }
    }

    pub(super) fn failing(self) -> Failing {
        Failing {
            node: self.node.unwrap_or_default(),
            check: self.id.unwrap_or_default(),
            service: self.service_name.unwrap_or_default(),
        }
    }
}

impl Entry {
    pub(super) fn node(&self) -> &str {
        text(self.node.as_ref().and_then(|n| n.node.as_ref())).unwrap_or_default()
    }

    /// Node and id.
    pub(super) fn id(&self) -> String {
        let id = self.service.as_ref().and_then(|s| s.id.as_ref());
        format!("{}/{}", self.node(), text(id).unwrap_or_default())
    }

    pub(super) fn datacenter(&self) -> Option<&str> {
        text(self.node.as_ref()?.datacenter.as_ref())
    }

    /// Whether it is of a kind that is taken.
    pub(super) fn is_taken(&self, options: &Instances) -> bool {
        match self.service.as_ref().and_then(|s| s.kind.as_deref()).unwrap_or_default() {
            "" | "typical" => true,
            "connect-proxy" => options.sidecars,
            kind => options.gateways && kind.ends_with("-gateway"),
        }
    }

    /// The endpoint that it is.
    pub(super) fn endpoint(&self, options: &Instances) -> Result<Endpoint, LeftOut> {
        let (address, port) = self.reached(options)?;
        let health = self.health()?;
        match health {
            Health::Maintenance => return Err(LeftOut::Unwell("maintenance")),
            Health::Critical => return Err(LeftOut::Unwell("critical")),
            Health::Warning if options.only_passing => return Err(LeftOut::Unwell("warning")),
            Health::Warning | Health::Passing => {}
        }
        let mut endpoint = Endpoint::at(address, EndpointPorts::One(port));
        endpoint.id = self.id().into();
        endpoint.labels = self.labels();
        endpoint.tags = self.tags().collect();
        endpoint.locality = self.locality();
        endpoint.weight = self.weight(health)?;
        Ok(endpoint)
    }

    fn health(&self) -> Result<Health, LeftOut> {
        let mut worst = Health::Passing;
        for check in self.checks.iter().flatten() {
            worst = worst.max(check.health()?);
        }
        Ok(worst)
    }

    /// The preferred tagged address, else the service's own, else its node's.
    fn reached(&self, options: &Instances) -> Result<(Address, u16), LeftOut> {
        let (node, service) = (self.node.as_ref(), self.service.as_ref());
        let own_port = service.and_then(|s| s.port).unwrap_or_default();
        let tag = options.tagged_address.as_ref();
        let tagged = tag.and_then(|tag| service?.tagged_addresses.as_ref()?.get(tag));
        let tagged = tagged
            .and_then(|t| Some((text(t.address.as_ref())?, t.port.filter(|p| *p != 0).unwrap_or(own_port))));
        let own = || text(service.and_then(|s| s.address.as_ref()));
        let node_tagged = || text(tag.and_then(|tag| node?.tagged_addresses.as_ref()?.get(tag)));
        let nodes_own = || text(node.and_then(|n| n.address.as_ref()));
        let plain = || own().or_else(node_tagged).or_else(nodes_own).map(|address| (address, own_port));
        let no_address = || LeftOut::Senseless("no address", "neither it nor its node has an address".into());
        let (address, port) = tagged.or_else(plain).ok_or_else(no_address)?;
        let legal = u16::try_from(port).ok().filter(|p| *p != 0);
        let no_port =
            || LeftOut::Senseless("no port", format!("its port is {port}: nothing can be called there"));
        let legal = legal.ok_or_else(no_port)?;
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let illegal = |e: AddressError| LeftOut::Senseless("illegal address", shown(&e.to_string()));
        Ok((Address::parse(bare).map_err(illegal)?, legal))
    }

    /// Its metadata, and its tags as far as they say something else: `key=value`, `key|value` or a bare key.
    fn labels(&self) -> Labels {
        let tags = self.tags().map(|t| t.split_once(['=', '|']).unwrap_or((t, "")));
        let meta = self.service.as_ref().and_then(|s| s.meta.as_ref()).into_iter().flatten();
        tags.chain(meta.map(|(k, v)| (k.as_str(), v.as_str()))).filter(|(k, _)| !k.is_empty()).collect()
    }

    fn tags(&self) -> impl Iterator<Item = &str> {
        let tags = self.service.as_ref().and_then(|s| s.tags.as_ref());
        tags.into_iter().flatten().map(String::as_str).filter(|t| !t.is_empty())
    }

    /// Region and zone where they are known; else the datacenter is the region.
    fn locality(&self) -> Option<Arc<str>> {
        let (node, service) = (self.node.as_ref(), self.service.as_ref());
        let locality = service.and_then(|s| s.locality.as_ref()).or_else(|| node?.locality.as_ref());
        let region = text(locality.and_then(|l| l.region.as_ref()));
        let zone = text(locality.and_then(|l| l.zone.as_ref()));
        match (region, zone) {
            (Some(region), Some(zone)) => Some(format!("{region}/{zone}").into()),
            (Some(region), None) => Some(region.into()),
            _ => self.datacenter().map(Into::into),
        }
    }

    fn weight(&self, health: Health) -> Result<Weight, LeftOut> {
        let weights = self.service.as_ref().and_then(|s| s.weights.as_ref());
        let weight = weights.and_then(|w| if health == Health::Warning { w.warning } else { w.passing });
        let Some(weight) = weight else { return Ok(Weight::ONE) };
        let illegal = || LeftOut::Senseless("illegal weight", format!("its weight is {weight}"));
        Weight::new(weight).ok_or_else(illegal)
    }
}

fn text(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|t| !t.is_empty())
}
