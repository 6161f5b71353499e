//! The running registries: which adapters there are, and what a new configuration changes about them.

#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "eureka")]
mod eureka;
#[cfg(any(feature = "consul", feature = "eureka"))]
mod http;
#[cfg(any(feature = "consul", feature = "eureka"))]
mod unusable;
#[cfg(feature = "zookeeper")]
mod zookeeper;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::RegistryConfig;
use crate::model::service::RegistryName;
use crate::pipeline::Handle;
use crate::pipeline::intake::Generation;
use crate::pipeline::reading::RegistrySettings;
use crate::registry::Factory;
use crate::runtime::status::Status;
use crate::runtime::supervise::{Owned, keep_alive};

/// One configured registry and the task that keeps it alive.
struct Running {
    config: RegistryConfig,
    generation: Generation,
    factory: Arc<dyn Factory>,
    stop: CancellationToken,
    /// Absent until the pipeline knows of it.
    task: Option<Owned>,
}

/// All of them.
pub(super) struct Registries {
    running: BTreeMap<RegistryName, Running>,
    status: Arc<Status>,
    /// Counts configurations, so that the pipeline can tell what belongs to which. Never leaves the process.
    generations: u64,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.running.keys()).finish()
    }
}

impl Registries {
    /// None are running.
    #[must_use]
    pub(super) fn new(status: Arc<Status>) -> Self {
        Self { running: BTreeMap::new(), status, generations: 0 }
    }

    /// Brings what runs in line with `configs`: ends what was removed or changed, prepares what is new. Returns what the
    /// pipeline has to know before [`Registries::start`].
    pub(super) fn prepare(&mut self, configs: &[RegistryConfig]) -> Vec<RegistrySettings> {
        let status = &self.status;
        self.running.retain(|name, running| {
            // What is taken and how it appears is the pipeline's; the adapter reads on.
            let stays = configs.iter().any(|c| c.name == *name && c.kind == running.config.kind);
            if !stays {
                running.stop.cancel();
                let configured = configs.iter().any(|c| c.name == *name);
                if !configured {
                    status.forget_registry(name);
                }
            }
            stays
        });
        configs.iter().map(|config| self.prepare_one(config)).collect()
    }

    /// Starts what was prepared; the pipeline has its settings by now.
    pub(super) fn start(&mut self, pipeline: &Handle) {
        for (name, running) in self.running.iter_mut().filter(|(_, r)| r.task.is_none()) {
            let changes = pipeline.changes(name.clone(), running.generation);
            let (factory, status) = (Arc::clone(&running.factory), Arc::clone(&self.status));
            let (name, stop) = (name.clone(), running.stop.clone());
            running.task = Some(Owned::spawn(async move {
                let life_stop = stop.clone();
                let next = move || {
                    let (factory, changes, stop) = (Arc::clone(&factory), changes.clone(), life_stop.clone());
                    // A factory that panics is a failed life too.
                    async move { factory.registry().run(changes, stop).await }
                };
                keep_alive(name, &status, stop, next).await;
            }));
        }
    }

    /// Ends all and waits until they have.
    pub(super) async fn stop(&mut self) {
        self.running.values().for_each(|r| r.stop.cancel());
        for task in std::mem::take(&mut self.running).into_values().filter_map(|r| r.task) {
            task.ended().await;
        }
    }

    fn prepare_one(&mut self, config: &RegistryConfig) -> RegistrySettings {
        let running = self.running.entry(config.name.clone()).or_insert_with(|| {
            self.generations += 1;
            Running {
                config: config.clone(),
                generation: Generation(self.generations),
                factory: factory(config, &self.status),
                stop: CancellationToken::new(),
                task: None,
            }
        });
        let scopes = running.factory.scopes();
        RegistrySettings {
            identity: config.identity(&scopes),
            name: config.name.clone(),
            generation: running.generation,
            policy: Arc::new(config.policy.clone()),
            startup: config.startup,
            scopes,
            feeds: running.factory.feeds().to_vec(),
        }
    }
}

/// The only place that names concrete registries.
#[allow(unused_variables)] // in a build without registries
fn factory(config: &RegistryConfig, status: &Arc<Status>) -> Arc<dyn Factory> {
    // Not by reference: a build without registries has nothing to match.
    match config.kind {
        #[cfg(feature = "files")]
        crate::config::RegistryKind::Files(ref files) => self::files(config, files, status),
        #[cfg(feature = "consul")]
        crate::config::RegistryKind::Consul(ref consul) => self::consul::factory(config, consul, status),
        #[cfg(feature = "eureka")]
        crate::config::RegistryKind::Eureka(ref eureka) => self::eureka::factory(config, eureka, status),
        #[cfg(feature = "zookeeper")]
        crate::config::RegistryKind::ZooKeeper(ref c) => self::zookeeper::factory(config, c, status),
    }
}

#[cfg(feature = "files")]
fn files(
    config: &RegistryConfig,
    files: &crate::config::FilesConfig,
    status: &Arc<Status>,
) -> Arc<dyn Factory> {
    use crate::config::Source;
    use crate::registry::files::{DEFAULT_NAMESPACE, FilesFactory, FilesSource};
    let source = match &files.source {
        Source::Path(path) => FilesSource::Path(path.clone()),
        Source::Embedded(files) => FilesSource::Embedded(files),
    };
    Arc::new(FilesFactory::new(source, config.name.clone(), DEFAULT_NAMESPACE, Arc::clone(status)))
}

#[cfg(test)]
#[cfg(feature = "files")] // the configuration of the tests names it
mod tests;
