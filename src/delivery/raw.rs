//! A gRPC service whose methods are streams of ours: raw, because their responses are shared buffers and not messages.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::task::{Context, Poll};

use tonic::server::NamedService;

use crate::delivery::{Deps, HttpRequest, HttpResponse};

/// What one service is called and answers.
pub(super) trait Methods: Send + Sync + 'static {
    /// The service's full name.
    const NAME: &'static str;

    /// The answer to `method`, which may be none of the service's.
    fn answer(method: &str, deps: &Deps, request: HttpRequest) -> HttpResponse;
}

/// The service of these methods.
pub(super) struct Raw<M> {
    deps: Deps,
    methods: PhantomData<fn() -> M>,
}

impl<M> Raw<M> {
    pub(super) fn new(deps: Deps) -> Self {
        Self { deps, methods: PhantomData }
    }
}

impl<M> Clone for Raw<M> {
    fn clone(&self) -> Self {
        Self::new(self.deps.clone())
    }
}

impl<M: Methods> NamedService for Raw<M> {
    const NAME: &'static str = M::NAME;
}

impl<M: Methods> tower::Service<HttpRequest> for Raw<M> {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = Ready<Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let path = request.uri().path().to_owned();
        let method = path.rsplit('/').next().unwrap_or_default();
        ready(Ok(M::answer(method, &self.deps, request)))
    }
}
