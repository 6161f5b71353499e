//! The composition root: every socket is opened first ([`App::bind`]), then everything runs, supervised, until the end is
//! asked for or something ends that must not ([`App::run`]).

mod dial;
mod doors;
mod once;
mod open_files;
mod outward;
mod registries;
mod reload;
mod run;
mod settings;
mod sinks;
mod state;
mod systemd;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;

use crate::admin::Readiness;
use crate::app::doors::Doors;
use crate::app::registries::Registries;
use crate::app::sinks::{SinkDeps, Sinks};
use crate::app::state::State;
use crate::config::{Access, Config};
use crate::delivery::{DeliveryMetrics, Listener};
use crate::pipeline::metrics::PipelineMetrics;
use crate::pipeline::report::Questions;
use crate::pipeline::{Handle, Pipeline};
use crate::runtime::shutdown::Shutdown;
use crate::runtime::status::Status;
use crate::security::tls;
use crate::store::StoreReader;
use crate::store::disk::clock::Now;
use crate::store::disk::metrics::DiskMetrics;
use crate::telemetry::Metrics;

pub use doors::entrances_of;
pub use once::{ReadOnce, read_once};
pub use sinks::sinks_of;
#[cfg(feature = "kubernetes")]
pub use sinks::{Action, OfflineError, Plan, sink_objects, sink_plan, sink_prune};

/// How long clients are given to leave: they go one by one within it, and reach another replica one by one.
/// The chart and the unit allow for more before they kill.
const GRACE: Duration = Duration::from_secs(10);

/// Where the configuration came from, and so whether it can change.
#[derive(Debug, Clone)]
pub enum ConfigSource {
    /// The quickstart that is compiled in.
    Embedded,
    /// A file, watched.
    File(PathBuf),
}

impl ConfigSource {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Embedded => None,
            Self::File(path) => Some(path),
        }
    }
}

/// Why the program cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket cannot be had: the configuration is wrong for this machine.
    #[error("{what}: {why}")]
    Bind {
        /// The key in the configuration.
        what: &'static str,
        /// What the system said, and what to do about it.
        why: String,
    },
    /// Certificates, keys or authorities are missing or wrong.
    #[error("{faults}")]
    Tls {
        /// Each with its listener and what to do about it; a line each.
        faults: String,
    },
    /// The system did not give what every process gets.
    #[error("cannot set up the process: {0}")]
    System(#[from] io::Error),
    /// Something ended that must not.
    #[error("{name} ended: {why}")]
    Critical {
        /// Which task.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// A registry could not be read in time.
    #[error("not everything could be read within {within:?}:\n{unread}")]
    Unread {
        /// How long was waited.
        within: Duration,
        /// Who is missing, and why; a line each.
        unread: String,
    },
}

impl Error {
    /// Whether the configuration is to blame.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Bind { .. } | Self::Tls { .. })
    }
}

/// Where everything listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// gRPC, in the order of the configuration.
    pub grpc: Vec<Place>,
    /// Health and metrics.
    pub telemetry: SocketAddr,
    /// The API.
    pub admin: Place,
}

/// A listener, as people are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub address: SocketAddr,
    /// `None`: plaintext.
    pub tls: Option<tls::server::Summary>,
    /// Who may come.
    pub access: Access,
}

/// The program with every socket open and nothing running.
pub struct App {
    config: Config,
    source: ConfigSource,
    sockets: Sockets,
    started: Started,
    parts: Parts,
    pipeline: Pipeline,
    /// Absent: nothing is saved.
    state: Option<State>,
    delivery: Arc<DeliveryMetrics>,
    sinks: Sinks,
    metrics: Arc<Metrics>,
    reload_failed: Gauge,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("started", &self.started).finish_non_exhaustive()
    }
}

struct Sockets {
    grpc: Vec<Listener>,
    telemetry: TcpListener,
    admin: TcpListener,
    doors: Doors,
}

/// What everything else hangs on.
struct Parts {
    handle: Handle,
    reader: StoreReader,
    status: Arc<Status>,
    registries: Registries,
    shutdown: Shutdown,
    ready: Readiness,
}

impl App {
    /// Opens every socket.
    ///
    /// # Errors
    /// One of them cannot be had, or what TLS needs is missing or wrong; nothing is left half-started.
    pub async fn bind(config: Config, source: ConfigSource) -> Result<Self, Error> {
        tls::install_provider();
        let mut metrics = Metrics::new();
        let (sockets, started) = open(&config, Doors::new(&config, &mut metrics)?).await?;
        let delivery = DeliveryMetrics::new(metrics.ours()).with_galley_names(metrics.foreign());
        let delivery = Arc::new(delivery);
        let (parts, mut pipeline) = parts(&config, PipelineMetrics::new(metrics.ours()));
        let state = match config.state.kept() {
            Some(kept) => {
                let metrics = DiskMetrics::new(metrics.ours());
                Some(State::open(kept, metrics, Now::read, &mut pipeline)?)
            }
            None => None,
        };
        let sinks = SinkDeps::new(parts.reader.clone(), Arc::clone(&parts.status), metrics.ours());
        let sinks = Sinks::new(sinks);
        let reload_failed = Gauge::default();
        let help = "1 while the configuration on disk is not the one in force because it is wrong";
        metrics.ours().register("config_reload_failed", help, reload_failed.clone());
        let metrics = Arc::new(metrics);
        Ok(Self {
            config,
            source,
            sockets,
            started,
            parts,
            pipeline,
            state,
            delivery,
            sinks,
            metrics,
            reload_failed,
        })
    }

    /// Where everything listens.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// What is served, once something is.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        self.parts.reader.clone()
    }

    /// Asks the pipeline, once it runs.
    #[must_use]
    pub fn questions(&self) -> Questions {
        self.parts.handle.questions.clone()
    }
}

/// Everything but the sockets, connected and not running.
fn parts(config: &Config, metrics: PipelineMetrics) -> (Parts, Pipeline) {
    let status = Arc::new(Status::default());
    let mut registries = Registries::new(Arc::clone(&status));
    let settings = settings::of(config, registries.prepare(&config.registries));
    let (pipeline, handle, reader) = Pipeline::new(settings, Arc::new(metrics));
    let (shutdown, ready) = (Shutdown::new(GRACE), Readiness::default());
    (Parts { handle, reader, status, registries, shutdown, ready }, pipeline)
}

/// Opens the sockets of all listeners, each behind its door.
async fn open(config: &Config, doors: Doors) -> Result<(Sockets, Started), Error> {
    let mut grpc = Vec::new();
    for (listener, door) in config.server.listeners.iter().zip(&doors.grpc) {
        let bound = Listener::bind(listener.address).await;
        let bound = bound.map_err(|e| Error::Bind { what: "server.listeners", why: e.to_string() })?;
        grpc.push(bound.behind(Arc::clone(door)));
    }
    let telemetry = bind("telemetry.listen", config.telemetry.listen).await?;
    let admin = bind("admin.listen", config.admin.listen).await?;
    let addresses = grpc.iter().map(Listener::address).chain([admin.local_addr()?]);
    let mut places = doors.places(config, addresses);
    let of_admin = places.pop().ok_or_else(|| io::Error::other("the admin listener has no door"))?;
    let started = Started { grpc: places, telemetry: telemetry.local_addr()?, admin: of_admin };
    Ok((Sockets { grpc, telemetry, admin, doors }, started))
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let refused = |why: String| Error::Bind { what, why };
    let bound = Listener::bind(address).await.map_err(|e| refused(e.to_string()))?;
    Ok(bound.into_socket())
}
