//! One scope of Consul: a datacenter, and in Enterprise a partition and a namespace of it; or a peer.

use std::sync::Arc;

use crate::model::labels::Labels;
use crate::model::service::{ItemKind, Scope, ServiceKey};
use crate::registry::consul::settings::ConsulSettings;

/// Where something is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) scope: Scope,
    /// Absent: the agent's own.
    pub(super) datacenter: Option<Arc<str>>,
    pub(super) partition: Option<Arc<str>>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) peer: Option<Arc<str>>,
    /// What its services' DNS names have between `service` and the domain; empty: nothing.
    at: String,
    domain: Arc<str>,
}

/// What Consul calls the partition and the namespace that need not be named.
const DEFAULT: &str = "default";
/// The scope of the agent's own datacenter, whose name nobody wrote.
const OWN: &str = "local";

impl Place {
    /// Every scope that the settings ask for, in their order.
    pub(super) fn all(settings: &ConsulSettings) -> Vec<Self> {
        let own = settings.local_datacenter.clone().map(Some).into_iter().collect();
        let datacenters = if settings.datacenters.is_empty() { own } else { options(&settings.datacenters) };
        let datacenters = if datacenters.is_empty() { vec![None] } else { datacenters };
        let local = settings.local_datacenter.as_ref().or(settings.datacenters.first());
        let mut places = Vec::new();
        for datacenter in &datacenters {
            for partition in or_none(&settings.partitions) {
                for namespace in or_none(&settings.namespaces) {
                    let remote = datacenter.as_ref().filter(|d| Some(*d) != local);
                    let at = suffix(namespace.as_deref(), partition.as_deref(), remote.map(String::as_str));
                    let parts = [datacenter.as_deref(), partition.as_deref(), namespace.as_deref()];
                    let name = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
                    places.push(Self {
                        scope: Scope::new(if name.is_empty() { OWN } else { &name }),
                        datacenter: datacenter.as_deref().map(Arc::from),
                        partition: partition.as_deref().map(Arc::from),
                        namespace: namespace.as_deref().map(Arc::from),
                        peer: None,
                        at,
                        domain: settings.domain.as_str().into(),
                    });
                }
            }
        }
        places.extend(settings.peers.iter().map(|peer| Self::peer(peer, settings)));
        places
    }

    fn peer(peer: &str, settings: &ConsulSettings) -> Self {
        Self {
            scope: Scope::new(&format!("peer/{peer}")),
            datacenter: None,
            partition: None,
            namespace: None,
            peer: Some(peer.into()),
            at: format!("{peer}.peer"),
            domain: settings.domain.as_str().into(),
        }
    }

    /// Whether Consul's own servers are registered here, so that it is never empty.
    pub(super) fn is_home(&self) -> bool {
        let default = |name: &Option<Arc<str>>| name.as_deref().is_none_or(|n| n == DEFAULT);
        self.peer.is_none() && default(&self.namespace) && default(&self.partition)
    }

    /// The key of a service that is read here: its bare name if nothing has to tell it from its namesakes.
    pub(super) fn key(&self, service: &str) -> ServiceKey {
        let name = if self.at.is_empty() {
            service.into()
        } else {
            format!("{}/{service}", self.scope.as_str()).into()
        };
        ServiceKey { kind: ItemKind::Service, name, scope: self.scope.clone() }
    }

    /// What templates may name; `datacenter` is what the instances say of it.
    pub(super) fn variables(&self, datacenter: Option<&str>) -> Labels {
        let pairs = [
            ("at", Some(self.at.as_str())),
            ("datacenter", datacenter.or(self.datacenter.as_deref())),
            ("domain", Some(&*self.domain)),
            ("namespace", self.namespace.as_deref()),
            ("partition", self.partition.as_deref()),
            ("peer", self.peer.as_deref()),
        ];
        pairs.into_iter().filter_map(|(k, v)| v.filter(|v| !v.is_empty()).map(|v| (k, v))).collect()
    }
}

/// As Consul's DNS has it: `web.service.dc2.consul`; with a namespace or a partition every part says what it is.
fn suffix(namespace: Option<&str>, partition: Option<&str>, remote: Option<&str>) -> String {
    let named = |name: Option<&str>, what| name.filter(|n| *n != DEFAULT).map(|n| format!("{n}.{what}"));
    let (namespace, partition) = (named(namespace, "ns"), named(partition, "ap"));
    if namespace.is_none() && partition.is_none() {
        return remote.unwrap_or_default().to_owned();
    }
    let parts = [namespace, partition, remote.map(|r| format!("{r}.dc"))];
    parts.into_iter().flatten().collect::<Vec<_>>().join(".")
}

fn options(names: &[String]) -> Vec<Option<String>> {
    names.iter().cloned().map(Some).collect()
}

fn or_none(names: &[String]) -> Vec<Option<String>> {
    if names.is_empty() { vec![None] } else { options(names) }
}
