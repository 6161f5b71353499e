//! One task for each sink. One whose settings did not change is not touched; which registries it takes changes live.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Config, SinkDeps};
use crate::runtime::supervise::Owned;
use crate::sink::kubernetes::KubernetesSink;
use crate::sink::{KubernetesSettings, Takes};

/// The sinks that run.
#[derive(Debug)]
pub(crate) struct Sinks {
    deps: SinkDeps,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    settings: KubernetesSettings,
    takes: watch::Sender<Takes>,
    stop: CancellationToken,
    task: Owned,
}

impl Sinks {
    pub(crate) fn new(deps: SinkDeps) -> Self {
        Self { deps, running: Vec::new() }
    }

    /// Runs these and no others. What a sink that goes had written stays: `chandler sink prune` removes it.
    pub(crate) async fn configure(&mut self, config: &Config) {
        let (stay, go) = std::mem::take(&mut self.running)
            .into_iter()
            .partition::<Vec<_>, _>(|r| config.kubernetes.contains(&r.settings));
        self.running = stay;
        for running in go {
            let name = running.settings.name.clone();
            // Its Lease is given back before another takes it.
            running.end().await;
            if !config.kubernetes.iter().any(|k| k.name == name) {
                self.deps.status.forget_sink(&name);
            }
        }
        for settings in &config.kubernetes {
            let takes = config.takes(&settings.name);
            match self.running.iter().find(|r| r.settings == *settings) {
                Some(running) => {
                    running.takes.send_if_modified(|old| {
                        let news = *old != takes;
                        *old = takes;
                        news
                    });
                }
                None => self.start(settings.clone(), takes),
            }
        }
    }

    fn start(&mut self, settings: KubernetesSettings, takes: Takes) {
        let (takes, of_sink) = watch::channel(takes);
        let stop = CancellationToken::new();
        let sink = KubernetesSink {
            settings: settings.clone(),
            takes: of_sink,
            store: self.deps.store.clone(),
            status: Arc::clone(&self.deps.status),
            metrics: self.deps.metrics.clone(),
        };
        let task = Owned::spawn(sink.run(stop.clone()));
        self.running.push(Running { settings, takes, stop, task });
    }

    /// Ends all and waits until they have.
    pub(crate) async fn stop(self) {
        self.running.iter().for_each(|r| r.stop.cancel());
        for running in self.running {
            running.end().await;
        }
    }
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.ended().await;
    }
}
