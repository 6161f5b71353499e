//! Wires over which a control plane pulls what we serve.
//!
//! All of them open through one gate (`gate`: who may come, and how often) and are one stream loop (`stream`) over one
//! conversation ([`Session`](crate::session::Session)); a wire is what differs, and that is a `Protocol`: names and shapes.
//! What a stream's peer may read is in `grants`, how fast it is read from in [`Throttle`](crate::limit::Throttle), how long
//! it may keep us waiting in `patience` and `body`.

mod accept;
mod ads;
mod ads_delta;
mod ads_sotw;
mod body;
mod client;
mod connections;
mod ending;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod galley;
mod gate;
mod grants;
mod held;
mod line;
mod mcp;
mod mcp_dial;
mod metrics;
mod oversize;
mod pace;
mod patience;
mod raw;
mod server;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use self::accept::{BindError, Listener};
pub use self::body::{Frames, TooLarge};
pub use self::mcp_dial::{Sink, dial};
pub use self::metrics::DeliveryMetrics;
pub use self::server::{ServeError, serve};

use self::gate::{Gate, open};
use self::oversize::Oversize;
use crate::limit::Limits;
use crate::resource::legacy::Pilot;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::status;
use crate::security::authorizer::{Anyone, Authorizer};
use crate::session::message::{Request, Response};
use crate::session::{ProtocolError, Session};
use crate::store::StoreReader;

/// A wire: how its messages translate. Without state, because what a stream knows is in its [`Session`].
trait Protocol: Send + 'static {
    /// What the client sends.
    type In: prost::Message + Default + 'static;
    /// What people call it: in metrics, in the log, in the API.
    const WIRE: &'static str;
    /// The largest message that its clients receive as they come, in bytes.
    const RECEIVES: usize = usize::MAX;

    /// A conversation that has not begun.
    fn session(settings: &StreamSettings) -> Session {
        Session::bounded(settings.limits.unknown_collections)
    }

    /// A request in the conversation's words.
    fn decode(message: Self::In) -> Result<Request, ProtocolError>;

    /// A response as this wire has it; what is shared stays shared.
    fn encode(response: &Response) -> Result<Frames, TooLarge>;
}

/// How streams are treated; the same for all listeners.
#[derive(Debug, Clone, Copy)]
pub struct StreamSettings {
    /// The pause on each stream between responses over 1 MiB.
    pub full_state_interval: Duration,
    /// How much one peer may take.
    pub limits: Limits,
    /// The oldest release that is served over the legacy protocol.
    pub oldest_pilot: Pilot,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            full_state_interval: Duration::from_millis(500),
            limits: Limits::default(),
            oldest_pilot: Pilot::default(),
        }
    }
}

/// What all listeners and streams share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deps {
    store: StoreReader,
    status: Arc<status::Status>,
    metrics: Arc<DeliveryMetrics>,
    shutdown: Shutdown,
    gate: Arc<Gate>,
    oversize: Arc<Oversize>,
    /// Owns the streams' tasks.
    tasks: TaskTracker,
    /// Who may read what, on the listener that these belong to.
    access: Arc<dyn Authorizer>,
}

/// How much is kept for streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Streams that are open, or whose client has not read their end yet.
    pub streams: usize,
    /// Identities that have any.
    pub identities: usize,
    /// Streams that were refused and not told so yet.
    pub held: usize,
    /// Peers whose rates are remembered.
    pub peers: usize,
    /// Tasks of streams.
    pub tasks: usize,
}

impl Deps {
    /// What is served, who is told, and how streams are treated.
    #[must_use]
    pub fn new(
        store: StoreReader,
        status: Arc<status::Status>,
        metrics: Arc<DeliveryMetrics>,
        shutdown: Shutdown,
        settings: StreamSettings,
    ) -> Self {
        let (gate, oversize) = (Arc::new(Gate::new(settings)), Arc::default());
        Self {
            store,
            status,
            metrics,
            shutdown,
            gate,
            oversize,
            tasks: TaskTracker::new(),
            access: Arc::new(Anyone),
        }
    }

    /// The same for a listener where `access` decides.
    fn guarded_by(self, access: Arc<dyn Authorizer>) -> Self {
        Self { access, ..self }
    }

    /// Other pauses and limits for streams to come; open ones keep what they began with.
    pub fn configure(&self, next: StreamSettings) {
        self.gate.configure(next);
    }

    /// How much is kept, once what need not be kept is forgotten.
    #[must_use]
    pub fn census(&self) -> Census {
        self.gate.sweep();
        let [streams, identities, held, peers] = self.gate.census();
        Census { streams, identities, held, peers, tasks: self.tasks.len() }
    }
}

type HttpRequest = http::Request<tonic::body::Body>;
type HttpResponse = http::Response<tonic::body::Body>;
