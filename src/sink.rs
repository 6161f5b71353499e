//! What we push to. There is one kind so far, Kubernetes, so there is no trait: a second kind brings it.
//!
//! A sink takes its share of what is published (of which registries, in which form: [`Takes`]) and makes the other side
//! equal to it. It decides nothing about services: the guard, validation and precedence lie before the snapshot.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::service::RegistryName;

#[cfg(feature = "kubernetes")]
pub mod kubernetes;

/// In which objects a service with its endpoints is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Form {
    /// [`Form::Inline`] up to [`KubernetesSettings::inline_endpoints`] and a size, [`Form::Workloads`] above.
    #[default]
    Auto,
    /// A ServiceEntry with its endpoints in it.
    Inline,
    /// A ServiceEntry that selects its endpoints, and a WorkloadEntry for each of them.
    Workloads,
}

impl Form {
    /// The word in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inline => "inline",
            Self::Workloads => "workloadEntries",
        }
    }
}

/// The registries that go to a sink, and how.
pub type Takes = BTreeMap<RegistryName, Form>;

/// One API server, and how it is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// The sink's name in the configuration.
    pub name: String,
    /// Absent: the service account of the pod that we run in.
    pub kubeconfig: Option<PathBuf>,
    /// Of the kubeconfig; absent: its current one.
    pub context: Option<String>,
    /// Under which name our fields are ours.
    pub field_manager: String,
    /// Whose objects are ours: written on each as a label. Absent: the Lease's namespace and the sink's name.
    pub instance: Option<String>,
    /// The only namespaces that are read and written; empty: all.
    pub namespaces: Vec<String>,
    /// Whether a namespace that is missing is made.
    pub create_namespaces: bool,
    /// Where the Lease is; absent: our own namespace, or that of the kubeconfig's context.
    pub lease_namespace: Option<String>,
    /// How long a writer that says nothing keeps its place.
    pub lease_duration: Duration,
    /// How many requests are under way at once.
    pub parallelism: usize,
    /// How many endpoints a ServiceEntry holds at most, in [`Form::Auto`].
    pub inline_endpoints: usize,
}
