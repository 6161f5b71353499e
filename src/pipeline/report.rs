//! What the pipeline tells people: per registry, per service, what was read and what became of it.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// One registry as the pipeline sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryReport {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it has been read completely since it was configured (a reconfigured one: its new form).
    pub complete: bool,
    /// Scopes of which no complete read has arrived yet.
    pub unread_scopes: Vec<String>,
    /// Why its last read is not believed; absent: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Why it is still served although it is no longer configured; absent: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<String>,
    /// Services that it holds.
    pub services: usize,
    /// Endpoints of these.
    pub endpoints: usize,
    /// Whole objects that it holds.
    pub objects: usize,
    /// Items or resources that were refused; each stands in the report of its service.
    pub refused: usize,
    /// Endpoints kept although the registry does not show them any more.
    pub held_endpoints: usize,
}

/// One item of a registry and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    /// The registry that knows it.
    pub registry: String,
    /// Its key there; for files `file#name`.
    pub key: String,
    /// The registry's own name of it.
    pub name: String,
    /// `Service`, or the kind of the object.
    pub kind: String,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// Why what the registry says now is not what is served; absent: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The object that is served in place of this one, which has the same kind, namespace and name: `registry/key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_to: Option<String>,
    /// The hosts that it claims and who has them.
    pub hosts: Vec<HostReport>,
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
    /// Why no resource, or only an older one, is served for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A question to the pipeline; it answers between two pieces of work.
#[derive(Debug)]
pub enum Query {
    /// Is it alive?
    Ping(oneshot::Sender<()>),
    /// All registries, in the order of the configuration.
    Registries(oneshot::Sender<Vec<RegistryReport>>),
    /// All items, or those of one registry, in order.
    Services(Option<String>, oneshot::Sender<Vec<ServiceReport>>),
}

/// Asks the pipeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Questions {
    out: mpsc::Sender<Query>,
}

impl Questions {
    /// The asking end of `out`.
    #[must_use]
    pub fn new(out: mpsc::Sender<Query>) -> Self {
        Self { out }
    }

    /// Returns once the pipeline has answered; `None` if it has ended. May wait for work in progress: use a time-out.
    pub async fn ping(&self) -> Option<()> {
        self.ask(Query::Ping).await
    }

    /// All registries, in the order of the configuration; `None` if the pipeline has ended.
    pub async fn registries(&self) -> Option<Vec<RegistryReport>> {
        self.ask(Query::Registries).await
    }

    /// All items, or those of one registry; `None` if the pipeline has ended.
    pub async fn services(&self, registry: Option<String>) -> Option<Vec<ServiceReport>> {
        self.ask(|answer| Query::Services(registry, answer)).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        self.out.send(question(answer)).await.ok()?;
        wait.await.ok()
    }
}
