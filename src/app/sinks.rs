//! The sinks of the configuration in force: the only place that names a concrete one.

use std::sync::Arc;

use crate::config::Sinks as Config;
use crate::runtime::status::Status;
use crate::sink::KubernetesSettings;
use crate::store::StoreReader;

#[cfg(feature = "kubernetes")]
mod running;
#[cfg(feature = "kubernetes")]
pub(super) use running::Sinks;

/// What all sinks share.
#[derive(Debug)]
#[cfg_attr(not(feature = "kubernetes"), allow(dead_code, reason = "no sink is built in"))]
pub(super) struct SinkDeps {
    pub(super) store: StoreReader,
    pub(super) status: Arc<Status>,
    #[cfg(feature = "kubernetes")]
    pub(super) metrics: crate::sink::kubernetes::metrics::SinksMetrics,
}

impl SinkDeps {
    /// Registers what is counted.
    pub(super) fn new(
        store: StoreReader,
        status: Arc<Status>,
        #[allow(unused_variables)] // in a build without sinks
        metrics: &mut prometheus_client::registry::Registry,
    ) -> Self {
        Self {
            store,
            status,
            #[cfg(feature = "kubernetes")]
            metrics: crate::sink::kubernetes::metrics::SinksMetrics::new(metrics),
        }
    }
}

/// No sink can be configured in this build.
#[cfg(not(feature = "kubernetes"))]
#[derive(Debug)]
pub(super) struct Sinks;

#[cfg(not(feature = "kubernetes"))]
impl Sinks {
    pub(super) fn new(_: SinkDeps) -> Self {
        Self
    }

    pub(super) async fn configure(&mut self, _: &Config) {}

    pub(super) async fn stop(self) {}
}

/// What a sink would do, or did.
#[cfg(feature = "kubernetes")]
pub use crate::sink::kubernetes::offline::{Action, OfflineError, Plan};

/// The sinks of `config`, or the one called `only`.
///
/// # Errors
/// There is none (of that name); says which there are.
pub fn sinks_of<'c>(config: &'c Config, only: Option<&str>) -> Result<Vec<&'c KubernetesSettings>, String> {
    let all = &config.kubernetes;
    let wanted: Vec<_> = all.iter().filter(|k| only.is_none_or(|only| k.name == only)).collect();
    if !wanted.is_empty() {
        return Ok(wanted);
    }
    let names: Vec<&str> = all.iter().map(|k| k.name.as_str()).collect();
    Err(match only {
        Some(only) if !names.is_empty() => {
            format!("there is no sink {only:?}: there is {}", names.join(", "))
        }
        _ => "the configuration has no sink: see `sinks` in config/reference.yaml".into(),
    })
}

/// What the sink would write and remove now, given what the registries hold. Writes nothing.
///
/// # Errors
/// The API server cannot be read.
#[cfg(feature = "kubernetes")]
pub async fn sink_plan(
    config: &Config,
    sink: &KubernetesSettings,
    snapshot: Arc<crate::resource::snapshot::Snapshot>,
) -> Result<Plan, String> {
    let takes = config.takes(&sink.name);
    crate::sink::kubernetes::offline::plan(sink, &takes, snapshot).await.map_err(|e| e.to_string())
}

/// Everything that the sink has written, by name.
///
/// # Errors
/// The API server cannot be read.
#[cfg(feature = "kubernetes")]
pub async fn sink_objects(sink: &KubernetesSettings) -> Result<Vec<String>, String> {
    crate::sink::kubernetes::offline::ours(sink).await.map_err(|e| e.to_string())
}

/// Removes everything that the sink has written; how many objects went.
///
/// # Errors
/// A chandler that runs would write it back, or not everything went.
#[cfg(feature = "kubernetes")]
pub async fn sink_prune(sink: &KubernetesSettings) -> Result<usize, OfflineError> {
    crate::sink::kubernetes::offline::prune(sink).await
}
