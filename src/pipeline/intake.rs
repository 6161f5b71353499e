//! How a registry's changes reach the pipeline: a bounded channel, the only back-pressure in the program.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::model::change::Batch;
use crate::model::service::RegistryName;

/// Batches that may wait for the pipeline, over all registries. A registry that is faster than that waits itself.
pub const CAPACITY: usize = 64;

/// One life of one registry, as the pipeline tells lives apart: what an older life still says is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Generation(pub u64);

/// A batch on its way.
#[derive(Debug)]
pub struct Delivery {
    /// Whose.
    pub registry: RegistryName,
    /// Of which configuration of it.
    pub generation: Generation,
    /// What it says.
    pub batch: Batch,
}

/// The registries of which something is held, and how often each should be read until that is decided.
pub type ReadAgain = BTreeMap<RegistryName, Duration>;

/// A registry's way to speak. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes {
    registry: RegistryName,
    generation: Generation,
    out: mpsc::Sender<Delivery>,
    read_again: Option<watch::Receiver<ReadAgain>>,
}

/// The pipeline has ended: nobody listens any more.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the pipeline has ended")]
pub struct Closed;

impl Changes {
    /// The voice of one registry.
    #[must_use]
    pub fn new(registry: RegistryName, generation: Generation, out: mpsc::Sender<Delivery>) -> Self {
        Self { registry, generation, out, read_again: None }
    }

    /// The same voice, which hears when its registry should be read again.
    #[must_use]
    pub fn heeding(self, read_again: watch::Receiver<ReadAgain>) -> Self {
        Self { read_again: Some(read_again), ..self }
    }

    /// How often the registry should be read completely now, because something of it is held; `None`: it need not be.
    #[must_use]
    pub fn read_again(&self) -> Option<Duration> {
        self.read_again.as_ref()?.borrow().get(&self.registry).copied()
    }

    /// Returns when [`Changes::read_again`] may say something else; never if nobody decides that.
    pub async fn read_again_changed(&mut self) {
        let changed = match &mut self.read_again {
            Some(again) => again.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending::<()>().await;
        }
    }

    /// The registry that speaks.
    #[must_use]
    pub fn registry(&self) -> &RegistryName {
        &self.registry
    }

    /// Hands `batch` over; waits while the pipeline is busy.
    ///
    /// # Errors
    /// The pipeline has ended.
    pub async fn send(&self, batch: Batch) -> Result<(), Closed> {
        let delivery = Delivery { registry: self.registry.clone(), generation: self.generation, batch };
        self.out.send(delivery).await.map_err(|_| Closed)
    }
}
