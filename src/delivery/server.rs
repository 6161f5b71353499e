//! One listener's gRPC server: every wire, health and reflection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::delivery::Deps;
use crate::delivery::accept::Listener;
use crate::delivery::ads::{self, Ads};
use crate::delivery::line::Severable;
use crate::delivery::mcp;
use crate::delivery::raw::Raw;
use crate::proto::DESCRIPTORS;
use crate::security::authorizer::Authorizer;

/// What health knows of, beside the server as a whole.
const SERVICES: [&str; 2] = [ads::NAME, mcp::NAME];
/// The service that answers what health knows.
const HEALTH: &str = "grpc.health.v1.Health";
/// istiod up to 1.16 sends no pings, so half-open connections are ours to find; later ones ping every 30 s themselves.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A peer that is silent for so long after a ping is gone.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A control plane needs one stream for each wire, and health and reflection beside; unlimited is tonic's default.
const STREAMS_PER_CONNECTION: u32 = 16;
/// What a client may send before we have read it, per stream: requests are small, but for a delta client that comes
/// back, and that one has to wait for us a few times.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Headers of a gRPC request take a few hundred bytes; a token may come with them.
const HEADERS: u32 = 16 << 10;
/// The largest frame that is received: HTTP/2's least, enough for all requests but one.
const FRAME: u32 = 16 << 10;
/// After the grace, streams that have ended still have to tell their clients so.
const LINGER: Duration = Duration::from_secs(1);

/// How often what is remembered of peers is looked through.
const SWEEP: Duration = Duration::from_secs(60);

/// Why a server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The connection layer gave up.
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Our own descriptors, which the tests read: not for a user to mend.
    #[error("gRPC reflection cannot read its descriptors: {0}; please report it")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves `listener` to whom `access` lets in, until the shutdown: once draining begins, new streams are refused and
/// open ones end within the grace; then, or when everything stops, this returns.
///
/// Connections are still accepted while clients leave: an istiod that is refused a connection exits, one that is
/// refused a stream comes again.
///
/// # Errors
/// The server cannot go on.
pub async fn serve(listener: Listener, access: Arc<dyn Authorizer>, deps: Deps) -> Result<(), ServeError> {
    let deps = deps.guarded_by(access);
    let (reporter, health) = health_reporter();
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The sink is described as well, and we dial it: it is not served.
            .with_service_name(ads::NAME)
            .with_service_name(mcp::NAME)
            .with_service_name(HEALTH)
    };
    let connections = deps.metrics.connections().clone();
    let incoming = listener.incoming().map(|io| io.map(|io| Severable::new(io, &connections)));
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEADERS)
        .max_frame_size(FRAME)
        .add_service(Raw::<Ads>::new(deps.clone()))
        .add_service(Raw::<mcp::Source>::new(deps.clone()))
        .add_service(health)
        .add_service(descriptors().build_v1()?)
        .add_service(descriptors().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, all_left(&deps, reporter));
    tokio::select! {
        ended = server => Ok(ended?),
        () = overdue(&deps) => Ok(()),
        () = sweep(&deps) => Ok(()),
    }
}

/// Returns when draining has begun and no stream is open any more, or everything stops.
async fn all_left(deps: &Deps, health: HealthReporter) {
    deps.shutdown.draining().await;
    for service in std::iter::once("").chain(SERVICES) {
        health.set_service_status(service, ServingStatus::NotServing).await;
    }
    deps.tasks.close();
    tokio::select! {
        () = deps.tasks.wait() => {}
        () = tokio::time::sleep(deps.shutdown.grace()) => {}
        () = deps.shutdown.stopped().cancelled_owned() => {}
    }
}

/// Returns when connections that are still open then are not waited for.
async fn overdue(deps: &Deps) {
    deps.shutdown.draining().await;
    tokio::select! {
        () = tokio::time::sleep(deps.shutdown.grace() + LINGER) => {}
        () = deps.shutdown.stopped().cancelled_owned() => {}
    }
}

/// Forgets peers that are gone, now and then. Never returns.
async fn sweep(deps: &Deps) {
    loop {
        tokio::time::sleep(SWEEP).await;
        deps.gate.sweep();
    }
}
