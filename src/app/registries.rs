//! The running registries: which adapters there are, and what a new configuration changes about them.

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
            let stays = configs.contains(&running.config);
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
                let next = move || factory.registry().run(changes.clone(), life_stop.clone());
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
        RegistrySettings {
            name: config.name.clone(),
            generation: running.generation,
            mapping: Arc::new(config.map.clone()),
            scopes: running.factory.scopes(),
            feeds: running.factory.feeds().to_vec(),
        }
    }
}

/// The only place that names concrete registries.
#[cfg(feature = "files")]
fn factory(config: &RegistryConfig, status: &Arc<Status>) -> Arc<dyn Factory> {
    use crate::config::{RegistryKind, Source};
    match &config.kind {
        RegistryKind::Files(files) => {
            use crate::registry::files::{DEFAULT_NAMESPACE, FilesFactory, FilesSource};
            let source = match &files.source {
                Source::Path(path) => FilesSource::Path(path.clone()),
                Source::Embedded(files) => FilesSource::Embedded(files),
            };
            Arc::new(FilesFactory::new(source, config.name.clone(), DEFAULT_NAMESPACE, Arc::clone(status)))
        }
    }
}

/// A build without any registry refuses every configuration; it compiles, to show that nothing else needs one.
#[cfg(not(feature = "files"))]
fn factory(_: &RegistryConfig, _: &Arc<Status>) -> Arc<dyn Factory> {
    use crate::registry::{BoxFuture, Registry, RegistryError};
    use crate::{model::service::Scope, pipeline::intake::Changes, resource::collection::Collection};

    #[derive(Debug)]
    struct LeftOut;

    impl Factory for LeftOut {
        fn scopes(&self) -> Vec<Scope> {
            Vec::new()
        }
        fn feeds(&self) -> &'static [Collection] {
            &[]
        }
        fn registry(&self) -> Box<dyn Registry> {
            Box::new(Self)
        }
    }

    impl Registry for LeftOut {
        fn run(self: Box<Self>, _: Changes, _: CancellationToken) -> BoxFuture<Result<(), RegistryError>> {
            Box::pin(async { Err(RegistryError::Failed("left out of this build".into())) })
        }
    }

    Arc::new(LeftOut)
}
