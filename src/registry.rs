//! External catalogues that we read. One adapter each, behind its feature; inside each: client | decode (pure) | watch.

use std::pin::Pin;

use tokio_util::sync::CancellationToken;

use crate::model::service::Scope;
use crate::pipeline::intake::Changes;
use crate::resource::collection::Collection;

#[cfg(any(feature = "consul", feature = "eureka", feature = "files", feature = "zookeeper"))]
pub(crate) mod again;
#[cfg(feature = "consul")]
pub mod consul;
#[cfg(feature = "eureka")]
pub mod eureka;
#[cfg(feature = "files")]
pub mod files;
#[cfg(feature = "http-registries")]
pub mod http;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;

/// A future that owns all that it needs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Why a registry's life ended before it was told to. The supervisor starts the next one after a pause.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// What was asked for could not be had; the text says what to do about it.
    #[error("{0}")]
    Failed(String),
    /// The pipeline has ended, so there is nobody to speak to.
    #[error(transparent)]
    Closed(#[from] crate::pipeline::intake::Closed),
}

/// Builds the lives of one registry and owns what outlives them: credentials, caches.
pub trait Factory: Send + Sync {
    /// The parts that are read completely or not at all. The registry is read once each has been `Reset`.
    fn scopes(&self) -> Vec<Scope>;

    /// The collections to which this registry contributes; none of them is answered before it is read.
    fn feeds(&self) -> &'static [Collection];

    /// The next life.
    fn registry(&self) -> Box<dyn Registry>;
}

/// One connected life of an adapter: reads everything, then watches. Never retries itself.
pub trait Registry: Send {
    /// Runs until `stop` (then `Ok`) or until it fails.
    fn run(
        self: Box<Self>,
        changes: Changes,
        stop: CancellationToken,
    ) -> BoxFuture<Result<(), RegistryError>>;
}
