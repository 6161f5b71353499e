//! Snapshots from one writer to many readers. A slow reader skips what was replaced in the meantime; nobody queues.
//! [`disk`] keeps what they follow from.

pub mod disk;

pub mod view;

use std::sync::Arc;

use tokio::sync::watch;

use crate::resource::snapshot::Snapshot;

/// The writing end; there is one.
#[derive(Debug)]
pub struct Store {
    current: watch::Sender<Arc<Snapshot>>,
}

/// A reading end.
#[derive(Debug, Clone)]
pub struct StoreReader {
    current: watch::Receiver<Arc<Snapshot>>,
}

impl Default for Store {
    /// Starts with nothing complete: every reader meets silence.
    fn default() -> Self {
        Self { current: watch::Sender::new(Arc::default()) }
    }
}

impl Store {
    /// Replaces what is served.
    pub fn publish(&self, next: Arc<Snapshot>) {
        self.current.send_replace(next);
    }

    /// A reader that has seen nothing yet.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        let mut current = self.current.subscribe();
        current.mark_changed();
        StoreReader { current }
    }
}

impl StoreReader {
    /// What is served now.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits for a snapshot that this reader has not seen and returns the newest; `None` once the writer is gone.
    pub async fn next(&mut self) -> Option<Arc<Snapshot>> {
        self.current.changed().await.ok()?;
        Some(Arc::clone(&self.current.borrow_and_update()))
    }
}
