//! Wires over which a control plane pulls what we serve.
//!
//! All of them are one stream loop (`serve_stream`) over one conversation ([`Session`]); a wire is what differs, and
//! that is a `Protocol`: names and shapes. The loop decides nothing about content. It reads requests all the time,
//! also while a response waits for the client (a client that is not read from stops writing, and its acknowledgements
//! are what lets us go on), and it makes a response only once the one before it has been handed to the connection: a
//! client that never reads costs one message, and that is shared.
//!
//! What enters here later, without another shape: an authorizer, asked in `open` and before a first request reaches
//! the session; a rate limit in front of the session; further protocols.

mod accept;
mod ads;
mod ads_delta;
mod ads_sotw;
mod body;
mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod metrics;
mod pace;
mod server;

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

pub use self::accept::{BindError, Listener};
pub use self::body::{Frames, TooLarge};
pub use self::metrics::DeliveryMetrics;
pub use self::server::{ServeError, serve};

use self::body::{Outlet, PushBody};
use self::client::Client;
use self::pace::Pace;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::status;
use crate::security::peer::Peer;
use crate::session::message::{Request, Response};
use crate::session::{ProtocolError, Session};
use crate::store::StoreReader;

/// A wire: how its messages translate. Without state, because what a stream knows is in its [`Session`].
trait Protocol: Send + 'static {
    /// What the client sends.
    type In: prost::Message + Default + 'static;
    /// What people call it: in metrics, in the log, in the API.
    const WIRE: &'static str;

    /// A request in the conversation's words.
    fn decode(message: Self::In) -> Result<Request, ProtocolError>;

    /// A response as this wire has it; what is shared stays shared.
    fn encode(response: &Response) -> Result<Frames, TooLarge>;
}

/// How streams are treated; the same for all listeners.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// The pause on each stream between responses over 1 MiB.
    pub full_state_interval: Duration,
    /// The largest request that is read, in bytes. A delta client that comes back names all it holds: about 10 MB for
    /// 100,000 resources.
    pub message_size: usize,
    /// Streams that may be open, over all listeners.
    pub streams: usize,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self { full_state_interval: Duration::from_millis(500), message_size: 16 << 20, streams: 10_000 }
    }
}

/// What all listeners and streams share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deps {
    store: StoreReader,
    status: Arc<status::Status>,
    metrics: Arc<DeliveryMetrics>,
    shutdown: Shutdown,
    /// For streams to come; open ones keep what they began with.
    settings: Arc<RwLock<StreamSettings>>,
    /// One permit for each stream that may still be opened.
    room: Arc<Semaphore>,
    /// Owns the streams' tasks.
    tasks: TaskTracker,
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
        let room = Arc::new(Semaphore::new(settings.streams.min(Semaphore::MAX_PERMITS)));
        let settings = Arc::new(RwLock::new(settings));
        Self { store, status, metrics, shutdown, settings, room, tasks: TaskTracker::new() }
    }

    /// Other pauses and sizes for streams to come; how many there may be stays as it was.
    pub fn configure(&self, next: StreamSettings) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        *settings = StreamSettings { streams: settings.streams, ..next };
    }

    fn settings(&self) -> StreamSettings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type HttpRequest = http::Request<tonic::body::Body>;
type HttpResponse = http::Response<tonic::body::Body>;

/// Opens a stream of `P`, or answers at once why not.
fn open<P: Protocol>(deps: &Deps, request: HttpRequest) -> HttpResponse {
    if deps.shutdown.is_draining() {
        return leaving().into_http();
    }
    let settings = deps.settings();
    let Ok(room) = Arc::clone(&deps.room).try_acquire_owned() else {
        let limit = settings.streams;
        tracing::warn!(limit, "a stream was refused: as many as one server takes are open; add a replica");
        return Status::resource_exhausted(format!("{limit} streams are open: try another replica"))
            .into_http();
    };
    let peer = request.extensions().get::<Peer>().map(|p| p.address);
    let client = Client::new(Arc::clone(&deps.status), Arc::clone(&deps.metrics), peer, P::WIRE);
    let limit = Some(settings.message_size);
    let requests =
        Streaming::new_request(body::RequestDecoder::<P::In>::default(), request.into_body(), None, limit);
    let (outlet, push) = PushBody::channel();
    let pace = Pace::new(settings.full_state_interval);
    let stream = Stream { requests, outlet, client, pace, deps: deps.clone(), _room: room };
    deps.tasks.spawn(serve_stream::<P>(stream));
    let mut response = http::Response::new(tonic::body::Body::new(push));
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}

/// One open stream.
struct Stream<P: Protocol> {
    requests: Streaming<P::In>,
    outlet: Outlet,
    client: Client,
    pace: Pace,
    deps: Deps,
    _room: OwnedSemaphorePermit,
}

/// How a stream ends.
enum End {
    /// With a status for the client.
    Status(Status),
    /// There is no client any more.
    Gone,
}

/// Serves a stream from its first request to its end.
async fn serve_stream<P: Protocol>(mut stream: Stream<P>) {
    let end = converse(&mut stream).await;
    match end {
        End::Gone => stream.client.closed("the client went"),
        End::Status(status) => {
            stream.client.closed(if status.message().is_empty() { "done" } else { status.message() });
            stream.outlet.end(status);
        }
    }
}

/// The only stream loop.
async fn converse<P: Protocol>(stream: &mut Stream<P>) -> End {
    let Stream { requests, outlet, client, pace, deps, .. } = stream;
    let mut session = Session::default();
    let mut reader = deps.store.clone();
    session.on_snapshot(reader.current());
    let mut leave = std::pin::pin!(time_to_leave(&deps.shutdown));
    // Whether a response may be due, and whether the client has said all it will ever say.
    let (mut due, mut half_closed) = (true, false);
    loop {
        tokio::select! {
            () = outlet.closed() => return End::Gone,
            () = &mut leave => return End::Status(leaving()),
            request = requests.message(), if !half_closed => {
                match request {
                    Ok(Some(message)) => match take_in::<P>(message, &mut session, client) {
                        Ok(()) => {}
                        Err(error) => return End::Status(refusal(&error)),
                    },
                    Ok(None) => half_closed = true,
                    Err(status) if is_broken(&status) => return End::Gone,
                    Err(status) => return End::Status(status),
                }
                due = true;
            }
            snapshot = reader.next() => match snapshot {
                Some(snapshot) => {
                    session.on_snapshot(snapshot);
                    due = true;
                }
                None => return End::Status(leaving()),
            },
            () = pace.over() => due = true,
            room = outlet.room(), if due => match session.next_response(pace.largest()) {
                Some(response) => match P::encode(&response) {
                    Ok(frames) => {
                        pace.sent(frames.bytes());
                        client.sent(&response, frames.bytes());
                        outlet.send(frames, room);
                    }
                    Err(error) => return End::Status(Status::out_of_range(error.to_string())),
                },
                // What was asked before the client closed its half is still answered.
                None if half_closed && !pace.is_waiting() => return End::Status(Status::ok("")),
                None => due = false,
            },
        }
    }
}

/// Whether the connection broke, as opposed to a message that makes no sense: only what comes from below has a source.
fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn take_in<P: Protocol>(
    message: P::In,
    session: &mut Session,
    client: &mut Client,
) -> Result<(), ProtocolError> {
    let request = P::decode(message)?;
    client.requested(request.node.as_ref());
    let (asked, target) = (Arc::clone(&request.asked), request.target);
    let event = session.on_request(request)?;
    client.happened(&asked, target, event);
    Ok(())
}

/// Returns when this stream is to end: at a moment of its own within the grace, so that clients do not all arrive at
/// another replica at once.
async fn time_to_leave(shutdown: &Shutdown) {
    shutdown.draining().await;
    // The keys of a hasher are std's one source of randomness; this needs no better one.
    let random = std::hash::RandomState::new().hash_one(());
    #[allow(clippy::cast_precision_loss)] // a share of a pause
    let share = random as f64 / u64::MAX as f64;
    tokio::select! {
        () = tokio::time::sleep(shutdown.grace().mul_f64(share)) => {}
        () = shutdown.stopped().cancelled_owned() => {}
    }
}

fn leaving() -> Status {
    Status::unavailable("this server is stopping: connect again")
}

fn refusal(error: &ProtocolError) -> Status {
    match error {
        ProtocolError::Malformed(what) => Status::invalid_argument(what),
        ProtocolError::TooMuch(what) => Status::resource_exhausted(what),
    }
}
