//! Stopping in order: first no new streams, then clients leave spread over a grace period, then everything ends.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The two steps of stopping, handed to every part. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    drain: CancellationToken,
    stop: CancellationToken,
    grace: Duration,
}

impl Shutdown {
    /// Nothing is stopping yet; clients will be given `grace` to leave.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { drain: CancellationToken::new(), stop: CancellationToken::new(), grace }
    }

    /// How long clients are given to leave.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Begins: readiness goes, new streams are refused, open ones end at a moment of their own within the grace.
    pub fn begin_drain(&self) {
        self.drain.cancel();
    }

    /// Whether draining has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Returns when draining begins.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Everything ends now.
    pub fn stop(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    /// The token that is cancelled when everything ends.
    #[must_use]
    pub fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
}
