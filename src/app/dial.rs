//! The control planes that are dialled, as the configuration in force names them.

use tokio_util::sync::CancellationToken;

use crate::delivery::{self, Deps, Sink};
use crate::runtime::supervise::Owned;

/// One task for each.
#[derive(Debug)]
pub(super) struct Dials {
    deps: Deps,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    sink: Sink,
    stop: CancellationToken,
    task: Owned,
}

impl Dials {
    pub(super) fn new(deps: Deps) -> Self {
        Self { deps, running: Vec::new() }
    }

    /// Dials these and no others. Whoever stays as it was is not touched.
    pub(super) fn configure(&mut self, sinks: &[Sink]) {
        // An aborted task closes its connection.
        self.running.retain(|r| sinks.contains(&r.sink));
        for sink in sinks {
            if !self.running.iter().any(|r| r.sink == *sink) {
                let stop = CancellationToken::new();
                let (to, deps, until) = (sink.clone(), self.deps.clone(), stop.clone());
                let task = Owned::lasting("a dialled control plane", stop.clone(), move || {
                    delivery::dial(to.clone(), deps.clone(), until.clone())
                });
                self.running.push(Running { sink: sink.clone(), stop, task });
            }
        }
    }

    /// Ends all and waits until they have.
    pub(super) async fn stop(self) {
        self.running.iter().for_each(|r| r.stop.cancel());
        for running in self.running {
            running.task.ended().await;
        }
    }
}
