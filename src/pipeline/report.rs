//! What the pipeline tells people: per registry, per service, what was read and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::pipeline::guard::freeze::Area;

/// One registry as the pipeline sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryReport {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it has been read completely since it was configured (a reconfigured one: its new form).
    pub complete: bool,
    /// How old what is served of it is, where that was saved by an earlier process and not all of it has been read since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_seconds: Option<u64>,
    /// Scopes of which no complete read has arrived yet.
    pub unread_scopes: Vec<String>,
    /// Why its last read is not believed; absent: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Why it is still served although it is no longer configured; absent: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<String>,
    /// Whether its collections are answered without it, because it is optional and was not read in time.
    pub given_up: bool,
    /// Services of it that are taken.
    pub services: usize,
    /// Services of it that `select`, `services` or their owners leave out.
    pub left_out: usize,
    /// Endpoints of those that are taken, as the registry has them.
    pub endpoints: usize,
    /// Whole objects that it holds.
    pub objects: usize,
    /// Items or resources that were refused; each stands in the report of its service.
    pub refused: usize,
    /// Endpoints kept although the registry does not show them any more.
    pub held_endpoints: usize,
    /// Services and objects that are not taken, or not as they are now, because there are more than `limits` allows;
    /// counted up to 10,000.
    pub over_limit: usize,
    /// Services or areas of it that a person has frozen.
    pub frozen: bool,
}

/// One item of a registry and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    /// The registry that knows it.
    pub registry: String,
    /// The part of the registry that it was read with: a datacenter, a directory.
    pub scope: String,
    /// Its key there; for files `file#name`.
    pub key: String,
    /// The registry's own name of it.
    pub name: String,
    /// `Service`, or the kind of the object.
    pub kind: String,
    /// How many endpoints the registry gives it.
    pub endpoints: usize,
    /// Why the service is left out, on purpose; absent: it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Instances that serve nothing, by reason: what the registry says, then what the configuration and owners say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances_left_out: Vec<LeftOutReport>,
    /// What its owner says in the registry's metadata and what holds therefore, `protocol: GRPC`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_says: Vec<String>,
    /// What its owner says and what does not count, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Every instance; only where one service was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceReport>,
    /// Why what the registry says now is not what is served; absent: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The object that is served in place of this one, which has the same kind, namespace and name: `registry/key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_to: Option<String>,
    /// The hosts that it claims and who has them.
    pub hosts: Vec<HostReport>,
}

/// Instances that serve nothing for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOutReport {
    /// The registry's own word (`critical`), or which rule.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// The ids of the first, or their addresses where they have no ids.
    pub first: Vec<String>,
}

/// One instance that the registry gives a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceReport {
    /// The registry's own name of it; may be empty.
    pub id: String,
    /// Where it is reached.
    pub address: String,
    /// On which ports, `8080` or `http 8080`; empty: on the service's.
    pub ports: Vec<String>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Why it is left out; absent: it is published with its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// Which items are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this registry; absent: of all.
    pub registry: Option<String>,
    /// Of this name or key, with every instance; absent: all, without.
    pub name: Option<String>,
}

/// One claim to a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// The host.
    pub host: String,
    /// The resource that is served for this claim, `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Its virtual addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Whose claim won, where this one lost: `registry/key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_to: Option<String>,
    /// How registries share the host, `union` or `failover`; absent: they do not, or not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Where registries share the host: how many of its endpoints are served there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contributes: Option<usize>,
    /// Where registries share the host: why it contributes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Why no resource, or only an older one, is served for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What was left out of the resource, and what Istio would warn of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A host, all that claim it, and what becomes of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContestReport {
    /// The host.
    pub host: String,
    /// `precedence`, `union` or `failover`.
    pub mode: String,
    /// The registries that the rule in `merge` names, in their order; empty: all, or there is no rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<String>,
    /// What is served for it, `namespace/name`; several only where objects share it.
    pub resources: Vec<String>,
    /// In the order in which it is granted.
    pub claims: Vec<ClaimReport>,
}

/// Who claims a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimReport {
    /// The registry.
    pub registry: String,
    /// Its own name of the service or object.
    pub name: String,
    /// Its key there.
    pub key: String,
    /// Whether it decides how the host appears: ports, protocol, namespace, labels.
    pub decides: bool,
    /// How many of its endpoints are served for the host.
    pub contributes: usize,
    /// Where these are; only where one host was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Why it contributes nothing, although it claims the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Why it is not served as it says now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// An item of which something is held, for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldReport {
    /// The registry that does not show it any more.
    pub registry: String,
    /// The part of the registry that it was read with.
    pub scope: String,
    /// The registry's own name of the service, or the key of the object.
    pub service: String,
    /// How many endpoints are held; 0: it is an object.
    pub endpoints: usize,
    /// The addresses of the first.
    pub addresses: Vec<String>,
    /// Why, for a person.
    pub reason: String,
    /// For how long already, the longest held deciding.
    pub held_seconds: u64,
    /// How many reads have agreed, the least confirmed deciding.
    pub confirmed: u32,
    /// How many have to.
    pub confirm_reads: u32,
    /// How long it stays at least, even if they do.
    pub remaining_seconds: u64,
    /// A person froze it: nothing lets it go but another person.
    pub frozen: bool,
}

/// What a person has frozen.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AreaReport {
    /// The registry; absent: everything is frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The registry's own name of a service of it; absent: all of it is frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A question to the pipeline; it answers between two pieces of work.
#[derive(Debug)]
pub enum Query {
    /// All registries, in the order of the configuration.
    Registries(oneshot::Sender<Vec<RegistryReport>>),
    /// Items, in order.
    Services(Wanted, oneshot::Sender<Vec<ServiceReport>>),
    /// Hosts that several claim, in order; a host by its name whoever claims it.
    Hosts(Option<String>, oneshot::Sender<Vec<ContestReport>>),
    /// What is held, in order.
    Held(oneshot::Sender<Vec<HeldReport>>),
    /// What is frozen, in order.
    Frozen(oneshot::Sender<Vec<AreaReport>>),
    /// Let go what is held there; how many endpoints and objects that is.
    Release(Area, oneshot::Sender<usize>),
    /// Freeze or thaw; what is frozen then.
    Freeze(Area, bool, oneshot::Sender<Vec<AreaReport>>),
    /// Panic, or hang: what no question may bring about, and tests have to.
    #[cfg(test)]
    Fail(fn()),
}

/// Asks the pipeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Questions {
    out: mpsc::Sender<Query>,
    pings: mpsc::Sender<oneshot::Sender<()>>,
}

impl Questions {
    /// The asking end of `out`, and of `pings`: whether it is alive does not wait behind what others ask.
    #[must_use]
    pub fn new(out: mpsc::Sender<Query>, pings: mpsc::Sender<oneshot::Sender<()>>) -> Self {
        Self { out, pings }
    }

    /// Returns once the pipeline has answered; `None` if it has ended. May wait for work in progress: use a time-out.
    pub async fn ping(&self) -> Option<()> {
        let (answer, wait) = oneshot::channel();
        self.pings.send(answer).await.ok()?;
        wait.await.ok()
    }

    /// All registries, in the order of the configuration; `None` if the pipeline has ended.
    pub async fn registries(&self) -> Option<Vec<RegistryReport>> {
        self.ask(Query::Registries).await
    }

    /// The items that are `wanted`; `None` if the pipeline has ended.
    pub async fn services(&self, wanted: Wanted) -> Option<Vec<ServiceReport>> {
        self.ask(|answer| Query::Services(wanted, answer)).await
    }

    /// The hosts that several claim, or the one that is `named`; `None` if the pipeline has ended.
    pub async fn hosts(&self, named: Option<String>) -> Option<Vec<ContestReport>> {
        self.ask(|answer| Query::Hosts(named, answer)).await
    }

    /// What is held; `None` if the pipeline has ended.
    pub async fn held(&self) -> Option<Vec<HeldReport>> {
        self.ask(Query::Held).await
    }

    /// What is frozen; `None` if the pipeline has ended.
    pub async fn frozen(&self) -> Option<Vec<AreaReport>> {
        self.ask(Query::Frozen).await
    }

    /// Lets go what is held in `area`, and says how many endpoints and objects that is; `None` if the pipeline has ended.
    pub async fn release(&self, area: Area) -> Option<usize> {
        self.ask(|answer| Query::Release(area, answer)).await
    }

    /// Freezes or thaws `area`, and says what is frozen then; `None` if the pipeline has ended.
    pub async fn freeze(&self, area: Area, frozen: bool) -> Option<Vec<AreaReport>> {
        self.ask(|answer| Query::Freeze(area, frozen, answer)).await
    }

    /// Makes the pipeline do what it must not; blocks until it can be asked. Whether it is still there.
    #[cfg(test)]
    pub fn fail(&self, how: fn()) -> bool {
        self.out.blocking_send(Query::Fail(how)).is_ok()
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        self.out.send(question(answer)).await.ok()?;
        wait.await.ok()
    }
}
