//! One life: every scope is read completely, then watched.
//!
//! A scope that cannot be read is tried again here as long as another one can, so that a datacenter that is out of reach
//! costs the others nothing; a life ends when none can be read.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::pipeline::intake::Changes;
use crate::registry::consul::Shared;
use crate::registry::consul::scope::ScopeWatch;
use crate::registry::{BoxFuture, Registry, RegistryError};

/// The pause before a scope is tried again while others work.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One life.
#[derive(Debug)]
pub(super) struct ConsulRegistry {
    pub(super) shared: Arc<Shared>,
}

impl Registry for ConsulRegistry {
    fn run(
        self: Box<Self>,
        changes: Changes,
        stop: CancellationToken,
    ) -> BoxFuture<Result<(), RegistryError>> {
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = self.live(&changes) => ended.map(|never| match never {}),
            }
        })
    }
}

/// A scope, how its last attempt ended, and how long it waits before the next.
struct Attempt {
    watch: ScopeWatch,
    alive: Arc<AtomicBool>,
    pause: Duration,
}

impl Attempt {
    async fn run(mut self, after: Option<Duration>) -> (Self, RegistryError) {
        if let Some(after) = after {
            sleep(after).await;
        }
        let Err(why) = self.watch.run(&self.alive).await;
        let lived = self.alive.swap(false, Ordering::Relaxed);
        self.pause = if lived { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        (self, why)
    }
}

impl ConsulRegistry {
    async fn live(&self, changes: &Changes) -> Result<Infallible, RegistryError> {
        let mut alive = Vec::new();
        let attempts = FuturesUnordered::new();
        for at in 0..self.shared.places.len() {
            let Some(watch) = ScopeWatch::new(&self.shared, at, changes.clone()) else { continue };
            // A scope that has not been read yet may well be readable.
            let flag = Arc::new(AtomicBool::new(true));
            alive.push(Arc::clone(&flag));
            attempts.push(Attempt { watch, alive: flag, pause: FIRST_PAUSE / 2 }.run(None));
        }
        let mut attempts = attempts;
        loop {
            let Some((attempt, why)) = attempts.next().await else {
                return Err(RegistryError::Failed("there is nothing to read".into()));
            };
            let closed = matches!(why, RegistryError::Closed(_));
            if closed || !alive.iter().any(|a| a.load(Ordering::Relaxed)) {
                return Err(why);
            }
            attempt.watch.failed(&why);
            let pause = attempt.pause;
            attempts.push(attempt.run(Some(pause)));
        }
    }
}
