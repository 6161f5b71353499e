//! The legacy protocol where we dial: `ResourceSink`, which a control plane serves that cannot, or must not, dial us.
//!
//! The same conversation as where we are dialled: only who opened the connection is turned round. What we say goes out
//! as the body of our request, what the control plane asks comes back as the answer. The first message triggers: a server
//! of gRPC hears of a stream only once something is on it. It is answered with a refusal, whenever that comes, and the
//! session passes over it.
//!
//! A connection that ends is dialled anew, after a pause that grows with failures and is never the same on two replicas.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, ServiceExt};

use crate::delivery::body::{Frames, Head, PushBody, TooLarge};
use crate::delivery::line::Line;
use crate::delivery::mcp::{Mcp, TRIGGER};
use crate::delivery::oversize;
use crate::delivery::stream::{self, Stream};
use crate::delivery::{Deps, Protocol, StreamSettings};
use crate::proto::mcp::RequestResources;
use crate::resource::wire::put_string;
use crate::security::peer::Peer;
use crate::security::tls::client::{ClientFiles, ClientTls};
use crate::security::tls::words::innermost;
use crate::session::message::{Request, Response};
use crate::session::{ProtocolError, Session};

const PATH: &str = "/istio.mcp.v1alpha1.ResourceSink/EstablishResourceStream";
/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A control plane that comes back is found within half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one: the pauses start anew.
const GOOD_LIFE: Duration = Duration::from_secs(60);
/// For names, connections and handshakes, and for the head of an answer.
const CONNECT: Duration = Duration::from_secs(10);
/// As where we are dialled: a control plane that is gone is noticed while nothing happens.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A control plane that is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// `host:port`.
    pub address: String,
    /// Absent: plaintext.
    pub tls: Option<ClientFiles>,
}

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0:?} is no HOST:PORT")]
    Address(String),
    #[error("the name cannot be resolved: {0}")]
    Name(std::io::Error),
    #[error("{0}")]
    Tls(#[from] crate::security::tls::TlsError),
    #[error("no connection: {}", innermost(.0))]
    Connect(tonic::transport::Error),
    #[error("no answer within {CONNECT:?}")]
    Silence,
    #[error("it refuses the stream: {0}")]
    Refused(String),
    #[error("{0}")]
    Full(String),
}

/// Dials `sink` again and again until `stop`, or until this server stops; what it serves comes from `deps`.
pub async fn dial(sink: Sink, deps: Deps, stop: CancellationToken) {
    let mut pauses = pauses();
    loop {
        let born = Instant::now();
        let life = converse(&sink, &deps);
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = life => ended,
        };
        if deps.shutdown.is_draining() {
            return;
        }
        if born.elapsed() >= GOOD_LIFE {
            pauses = self::pauses();
        }
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        let why = ended.err().map_or_else(|| "the stream ended".to_owned(), |e| e.to_string());
        tracing::warn!(
            sink = sink.address,
            pause_ms = pause.as_millis(),
            "dialling again after a pause: {why}"
        );
        tokio::select! {
            () = stop.cancelled() => return,
            () = deps.shutdown.draining() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

/// One connection, from dialling to its end.
async fn converse(sink: &Sink, deps: &Deps) -> Result<(), DialError> {
    let opening = async {
        let connected = timeout(CONNECT, connect(sink)).await.map_err(|_| DialError::Silence)??;
        open(connected, deps).await
    };
    let (stream, seat, line) = tokio::select! {
        () = deps.shutdown.draining() => return Ok(()),
        opened = opening => opened?,
    };
    tokio::select! {
        () = stream.serve(seat, line.share()) => {}
        // Nothing but the end of the connection gets through to a control plane that does not read.
        () = line.severed() => {}
    }
    Ok(())
}

async fn connect(sink: &Sink) -> Result<(Channel, SocketAddr), DialError> {
    let wrong = || DialError::Address(sink.address.clone());
    let scheme = if sink.tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{}", sink.address))
        .map_err(|_| wrong())?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    let mut found = tokio::net::lookup_host(&sink.address).await.map_err(DialError::Name)?;
    let address = found.next().ok_or_else(wrong)?;
    let channel = match &sink.tls {
        None => endpoint.connect().await,
        Some(files) => {
            let files = files.clone();
            let loaded = tokio::task::spawn_blocking(move || ClientTls::load(&files)).await;
            let tls = loaded.map_err(|_| DialError::Silence)??;
            tls.channel(&endpoint).await
        }
    };
    Ok((channel.map_err(DialError::Connect)?, address))
}

type Opened = (Stream<Dialled>, crate::limit::Seat, Line);

/// Opens the stream, and with it everything that a stream has that was opened by the other side.
async fn open((mut channel, address): (Channel, SocketAddr), deps: &Deps) -> Result<Opened, DialError> {
    let peer = Peer::anonymous(address);
    let (in_force, seat, throttle) = deps.gate.admit_dialled(&peer).map_err(DialError::Full)?;
    let (outlet, push) = PushBody::channel();
    let request = request(push).ok_or(DialError::Silence)?;
    let sent = async { channel.ready().await?.call(request).await };
    let response =
        timeout(CONNECT, sent).await.map_err(|_| DialError::Silence)?.map_err(DialError::Connect)?;
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(DialError::Refused(format!("{:?}: {}", status.code(), status.message())));
    }
    if response.status() != http::StatusCode::OK {
        return Err(DialError::Refused(format!(
            "HTTP {}: is there gRPC at this address?",
            response.status()
        )));
    }
    let settings = &in_force.settings;
    let requests = stream::answers::<Dialled>(response, settings);
    deps.metrics.dialled();
    let stream = Stream::new(deps, settings, requests, outlet, peer, throttle);
    Ok((stream, seat, Line::default()))
}

fn request(push: PushBody) -> Option<http::Request<tonic::body::Body>> {
    let body = tonic::body::Body::new(DialBody { trigger: trigger(), push, done: false });
    let mut request = http::Request::post(PATH).body(body).ok()?;
    let headers = request.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    Some(request)
}

/// The message that makes the control plane notice us.
fn trigger() -> Option<Bytes> {
    let mut head = Head::new();
    put_string(2, TRIGGER, &mut head.0);
    let frames = head.followed_by(std::iter::empty()).ok()?;
    Some(frames.into_bytes())
}

/// The body of our request: the trigger, then what the stream says. No trailers: only an answer may have them.
struct DialBody {
    trigger: Option<Bytes>,
    push: PushBody,
    done: bool,
}

impl Body for DialBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(trigger) = self.trigger.take() {
            return Poll::Ready(Some(Ok(Frame::data(trigger))));
        }
        if self.done {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.push).poll_frame(cx));
        self.done = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        Poll::Ready(if self.done { None } else { frame })
    }
}

/// The wire `mcp` with us dialling.
#[derive(Debug)]
struct Dialled;

impl Protocol for Dialled {
    type In = RequestResources;
    const WIRE: &'static str = "mcp-dial";
    const RECEIVES: usize = oversize::RECEIVED;

    fn session(settings: &StreamSettings) -> Session {
        Mcp::session(settings)
    }

    fn decode(message: RequestResources) -> Result<Request, ProtocolError> {
        Mcp::decode(message)
    }

    fn encode(response: &Response) -> Result<Frames, TooLarge> {
        Mcp::encode(response)
    }
}
