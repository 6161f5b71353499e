//! When a watching registry is to be read once more, because something of it is held until further reads agree.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::pipeline::intake::Changes;

/// Waits for the next complete read that the guard asks for. Safe to drop and to wait on again: what is due stays due.
#[derive(Debug)]
pub(crate) struct Again {
    changes: Changes,
    last: Instant,
}

impl Again {
    /// The registry has just been read.
    pub(crate) fn new(changes: Changes) -> Self {
        Self { changes, last: Instant::now() }
    }

    /// It has just been read again. (Consul begins anew with each complete read.)
    #[cfg(any(feature = "eureka", feature = "files", feature = "zookeeper"))]
    pub(crate) fn was_read(&mut self) {
        self.last = Instant::now();
    }

    /// Returns when a read is due.
    pub(crate) async fn wait(&mut self) {
        loop {
            match self.due() {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => return,
                    () = self.changes.read_again_changed() => {}
                },
                None => self.changes.read_again_changed().await,
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let every: Duration = self.changes.read_again()?;
        Some(self.last + every)
    }
}
