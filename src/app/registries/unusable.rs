//! A registry whose settings turn out not to be usable: it says why, and is never read.

use tokio_util::sync::CancellationToken;

use crate::model::service::Scope;
use crate::pipeline::intake::Changes;
use crate::registry::{BoxFuture, Factory, Registry, RegistryError};
use crate::resource::collection::Collection;

/// The reason.
#[derive(Debug, Clone)]
pub(super) struct Unusable(String);

impl Unusable {
    pub(super) fn new(why: String) -> Self {
        Self(why)
    }
}

impl Factory for Unusable {
    /// One that is never read: nothing of a registry that cannot be asked may be taken for empty.
    fn scopes(&self) -> Vec<Scope> {
        vec![Scope::new("unusable")]
    }

    fn feeds(&self) -> &'static [Collection] {
        &[Collection::ServiceEntry]
    }

    fn registry(&self) -> Box<dyn Registry> {
        Box::new(self.clone())
    }
}

impl Registry for Unusable {
    fn run(self: Box<Self>, _: Changes, _: CancellationToken) -> BoxFuture<Result<(), RegistryError>> {
        Box::pin(async move { Err(RegistryError::Failed(self.0)) })
    }
}
