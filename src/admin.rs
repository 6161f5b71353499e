//! How the process is, over HTTP: one router that kubelet and Prometheus may reach, one with everything else.
//!
//! All but two routes read: a person may let go what the guard holds, and freeze what is served, by the same rules of
//! access and only by JSON that no web page sent (`http::doing`). Nothing secret is on the telemetry router; the admin router shows
//! what registries know and who is connected, so off loopback it needs rules of access, which `app` sees to.
//! Every answer is bounded in time (`http::guarded`) and every connection in number and age ([`serve`]): whoever
//! dawdles here costs nobody else anything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use serde_json::Value;

use crate::pipeline::report::Questions;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::status::Status;
use crate::store::StoreReader;
use crate::telemetry::Metrics;

pub mod api;
pub mod health;
mod http;
pub mod metrics;
pub mod rows;
mod server;

pub use health::Readiness;
pub use server::serve;

/// Longer than a pipeline is ever busy with one slice of work; shorter than a kubelet's patience is worth.
const PIPELINE_PATIENCE: Duration = Duration::from_secs(2);

/// The configuration in force, secrets removed.
pub type EffectiveConfig = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the answers are made of. Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    /// To the pipeline.
    pub questions: Questions,
    /// What is served.
    pub store: StoreReader,
    /// How registries and clients are.
    pub status: Arc<Status>,
    /// The configuration in force, secrets removed.
    pub config: EffectiveConfig,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Whether every socket is open.
    pub ready: Readiness,
    /// Whether the end has begun.
    pub shutdown: Shutdown,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("ready", &self.ready).finish_non_exhaustive()
    }
}

const TELEMETRY_INDEX: &str = "\
chandler: telemetry

/healthz   200 while the pipeline answers
/readyz    200 while every socket is open and no drain has begun
/syncz     200 once every registry is read, restored or given up on; a line for each
/metrics   OpenMetrics
";

const ADMIN_INDEX: &str = "\
chandler: admin API (JSON)

/api/v1/registries                          what each registry holds and how its adapter is
/api/v1/services?registry=NAME              every item read and what became of it
/api/v1/services?name=NAME                  one of them, with every instance
/api/v1/hosts                               hosts that several claim, how they share them, what each contributes
/api/v1/hosts?host=HOST                     all of that for one host, with every endpoint
/api/v1/resources?collection=se             names and versions of what is served
/api/v1/resources?collection=se&name=NS/N   one resource, whole
/api/v1/clients                             who is connected and how far each has got
/api/v1/sinks                               what is pushed to, and how far it is as wanted
/api/v1/held                                what is kept although its registry does not show it any more
/api/v1/freeze                              what is frozen by hand
/api/v1/config                              the configuration in force, secrets removed

POST /api/v1/held/release  {\"registry\": NAME, \"service\": NAME}                  let go what is held: of a service, of a
                                                                                 registry, of all ({})
POST /api/v1/freeze        {\"registry\": NAME, \"service\": NAME, \"frozen\": BOOL}  take nothing away, whatever registries say
";

/// What kubelet and Prometheus ask for.
pub fn telemetry_router(state: AdminState) -> Router {
    let router = Router::new()
        .route("/", get(TELEMETRY_INDEX))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/syncz", get(health::syncz))
        .route("/metrics", get(metrics::metrics));
    http::guarded(router).with_state(state)
}

/// What people and `chandler status` ask for.
pub fn admin_router(state: AdminState) -> Router {
    let large = Router::new()
        .route("/api/v1/services", get(api::services))
        .route("/api/v1/hosts", get(api::hosts))
        .route("/api/v1/resources", get(api::resources));
    let router = Router::new()
        .route("/", get(ADMIN_INDEX))
        .route("/api/v1/registries", get(api::registries))
        .route("/api/v1/clients", get(api::clients))
        .route("/api/v1/sinks", get(api::sinks))
        .route("/api/v1/held", get(api::held))
        .route("/api/v1/config", get(api::config))
        .merge(http::large(large));
    // Beside the others: those take no body.
    let doing = Router::new()
        .route("/api/v1/held/release", post(api::release))
        .route("/api/v1/freeze", get(api::frozen).post(api::freeze));
    http::guarded(router).merge(http::doing(doing)).with_state(state)
}

/// Waits for the pipeline as long as is sensible; `None`: it has ended, or is stuck.
async fn asked<T>(answer: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(PIPELINE_PATIENCE, answer).await.ok().flatten()
}

#[cfg(test)]
mod tests;
