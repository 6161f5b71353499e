//! The opening of a stream: who may have one, and how many.
//!
//! Asked in this order: is this server staying, does the peer come too often, may it come at all, is there a place. Who is
//! refused gets the head of an answer at once and the reason after about a second ([`HeldBody`]).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::Status;

use crate::delivery::body::PushBody;
use crate::delivery::ending;
use crate::delivery::grants;
use crate::delivery::held::{HeldBody, MOST_HELD};
use crate::delivery::line::Origin;
use crate::delivery::metrics::{Limit, Reason};
use crate::delivery::stream::{self, Stream};
use crate::delivery::{Deps, HttpRequest, HttpResponse, Protocol, StreamSettings};
use crate::limit::{Full, PeerKey, PerPeer, Seat, Seats, Seldom, Throttle};
use crate::security::authorizer::Denied;
use crate::security::peer::Peer;

/// One line a reason in a while, however many are refused.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What all streams share of limits.
#[derive(Debug)]
pub(super) struct Gate {
    /// For streams to come; open ones keep what they began with.
    in_force: RwLock<Arc<InForce>>,
    seats: Arc<Seats>,
    /// One permit for each refused stream that may be held.
    held: Arc<Semaphore>,
    lines: [(Reason, Seldom); Reason::ALL.len()],
}

/// What holds for new streams.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) settings: StreamSettings,
    opens: Option<Arc<PerPeer>>,
    requests: Option<Arc<PerPeer>>,
}

/// Why there is no stream.
#[derive(Debug)]
enum Refused {
    Draining,
    TooOften(u32),
    Denied(Denied),
    Full(Full),
}

/// What a stream that may open is given.
struct Admitted {
    in_force: Arc<InForce>,
    seat: Seat,
    throttle: Throttle,
}

impl InForce {
    /// Peers keep what they have used up unless their rate is another.
    fn new(settings: StreamSettings, before: Option<&Self>) -> Self {
        let keep = |rate, old: Option<&Arc<PerPeer>>| match (rate, old) {
            (Some(rate), Some(old)) if old.rate() == rate => Some(Arc::clone(old)),
            (rate, _) => rate.map(|rate| Arc::new(PerPeer::new(rate))),
        };
        let limits = settings.limits;
        Self {
            opens: keep(limits.stream_opens, before.and_then(|b| b.opens.as_ref())),
            requests: keep(limits.requests_per_peer, before.and_then(|b| b.requests.as_ref())),
            settings,
        }
    }
}

impl Gate {
    pub(super) fn new(settings: StreamSettings) -> Self {
        Self {
            in_force: RwLock::new(Arc::new(InForce::new(settings, None))),
            seats: Arc::default(),
            held: Arc::new(Semaphore::new(MOST_HELD)),
            lines: Reason::ALL.map(|reason| (reason, Seldom::new(LINE_EVERY))),
        }
    }

    pub(super) fn configure(&self, next: StreamSettings) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        *in_force = Arc::new(InForce::new(next, Some(&**in_force)));
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets peers of whom nothing is worth remembering.
    pub(super) fn sweep(&self) {
        let in_force = self.in_force();
        in_force.opens.iter().chain(&in_force.requests).for_each(|peers| peers.sweep());
    }

    /// How much is kept: open streams, identities that have any, refused streams that are held, peers remembered.
    pub(super) fn census(&self) -> [usize; 4] {
        let in_force = self.in_force();
        let peers = in_force.opens.iter().chain(&in_force.requests).map(|peers| peers.len()).sum();
        let held = MOST_HELD - self.held.available_permits().min(MOST_HELD);
        [self.seats.taken(), self.seats.identities(), held, peers]
    }

    fn admit(&self, deps: &Deps, peer: &Peer) -> Result<Admitted, Refused> {
        if deps.shutdown.is_draining() {
            return Err(Refused::Draining);
        }
        let (in_force, key) = (self.in_force(), PeerKey::of(peer));
        if let Some(opens) = &in_force.opens {
            opens.take(&key).map_err(|_| Refused::TooOften(opens.rate().per_second()))?;
        }
        deps.access.admit(peer).map_err(Refused::Denied)?;
        let limits = &in_force.settings.limits;
        let seat = self.seats.take(limits, peer).map_err(Refused::Full)?;
        let throttle = Throttle::new(limits.requests, in_force.requests.clone(), key);
        Ok(Admitted { in_force, seat, throttle })
    }

    /// Counts a stream that is refused, and says so seldom.
    pub(super) fn note(&self, deps: &Deps, reason: Reason, peer: &Peer, wire: &str, why: &str) {
        deps.metrics.refused_stream(reason);
        let line = self.lines.iter().find(|(of, _)| *of == reason && reason != Reason::Draining);
        if let Some(left_out) = line.and_then(|(_, line)| line.turn()) {
            let identity = peer.identities.first().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(peer = %peer.address, identity, wire, left_out, "a stream was refused: {why}");
        }
    }

    /// What a stream is given that we have dialled ourselves: it takes a place like any other, or says why there is none.
    pub(super) fn admit_dialled(&self, peer: &Peer) -> Result<(Arc<InForce>, Seat, Throttle), String> {
        let in_force = self.in_force();
        let limits = &in_force.settings.limits;
        let seat = self.seats.take(limits, peer);
        let seat = seat.map_err(|full| Refused::Full(full).status().message().to_owned())?;
        let throttle = Throttle::new(limits.requests, None, PeerKey::of(peer));
        Ok((in_force, seat, throttle))
    }

    /// The answer to a stream that is refused.
    fn turn_away(&self, deps: &Deps, refused: &Refused, peer: &Peer, wire: &str) -> HttpResponse {
        let status = refused.status();
        if let Some(limit) = refused.limit() {
            deps.metrics.reached(limit);
        }
        self.note(deps, refused.reason(), peer, wire, status.message());
        match Arc::clone(&self.held).try_acquire_owned() {
            Ok(place) => grpc(tonic::body::Body::new(HeldBody::new(status, place))),
            Err(_) => status.into_http(),
        }
    }
}

impl Refused {
    fn reason(&self) -> Reason {
        match self {
            Self::Draining => Reason::Draining,
            Self::TooOften(_) => Reason::TooOften,
            Self::Denied(Denied::Unauthenticated(_)) => Reason::Unauthenticated,
            Self::Denied(Denied::Forbidden(_)) => Reason::Forbidden,
            Self::Full(Full::All(_)) => Reason::Streams,
            Self::Full(Full::Identity(_)) => Reason::StreamsPerIdentity,
        }
    }

    fn limit(&self) -> Option<Limit> {
        match self {
            Self::Draining | Self::Denied(_) => None,
            Self::TooOften(_) => Some(Limit::StreamOpensPerSecond),
            Self::Full(Full::All(_)) => Some(Limit::Streams),
            Self::Full(Full::Identity(_)) => Some(Limit::StreamsPerIdentity),
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Draining => ending::leaving(),
            Self::TooOften(rate) => Status::resource_exhausted(format!(
                "more than {rate} new streams a second from one peer: wait before you connect again"
            )),
            Self::Denied(denied) => grants::refusal(denied, "no stream"),
            Self::Full(Full::All(most)) => Status::resource_exhausted(format!(
                "{most} streams are open, as many as one server takes: try another replica"
            )),
            Self::Full(Full::Identity(most)) => Status::resource_exhausted(format!(
                "{most} streams of this identity are open, as many as it may have: end one of them"
            )),
        }
    }
}

/// Opens a stream of `P`, or answers why not.
pub(super) fn open<P: Protocol>(deps: &Deps, request: HttpRequest) -> HttpResponse {
    let Some(Origin { facts, line }) = request.extensions().get::<Origin<Peer>>().cloned() else {
        return Status::internal("a stream without a connection; please report it").into_http();
    };
    line.used();
    let peer = facts.with_headers(request.headers());
    match deps.gate.admit(deps, &peer) {
        Ok(Admitted { in_force, seat, throttle }) => {
            let settings = &in_force.settings;
            let requests = stream::requests::<P>(request.into_body(), settings);
            let (outlet, push) = PushBody::channel();
            let stream = Stream::<P>::new(deps, settings, requests, outlet, peer, throttle);
            deps.tasks.spawn(stream.serve(seat, line.share()));
            grpc(tonic::body::Body::new(push))
        }
        Err(refused) => deps.gate.turn_away(deps, &refused, &peer, P::WIRE),
    }
}

fn grpc(body: tonic::body::Body) -> HttpResponse {
    let mut response = http::Response::new(body);
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use prometheus_client::registry::Registry;
    use tokio::time::Instant;
    use tonic::Code;

    use super::*;
    use crate::delivery::ads_sotw::AdsSotw;
    use crate::delivery::held::HOLD;
    use crate::delivery::line::Line;
    use crate::delivery::metrics::DeliveryMetrics;
    use crate::limit::{Limits, Rate};
    use crate::resource::collection::Collection;
    use crate::runtime::shutdown::Shutdown;
    use crate::runtime::status;
    use crate::security::authorizer::Authorizer;
    use crate::security::peer::Identity;
    use crate::store::Store;

    struct Rig {
        deps: Deps,
        registry: Registry,
        _store: Store,
    }

    fn rig(limits: Limits) -> Rig {
        let (store, mut registry) = (Store::default(), Registry::default());
        let metrics = Arc::new(DeliveryMetrics::new(&mut registry));
        let settings = StreamSettings { limits, ..StreamSettings::default() };
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let status = Arc::new(status::Status::default());
        let deps = Deps::new(store.reader(), status, metrics, shutdown, settings);
        Rig { deps, registry, _store: store }
    }

    impl Rig {
        fn open(&self, peer: &Peer) -> HttpResponse {
            self.open_with(peer, None)
        }

        fn open_with(&self, peer: &Peer, token: Option<&str>) -> HttpResponse {
            let mut request = http::Request::new(tonic::body::Body::empty());
            if let Some(token) = token {
                let value = format!("Bearer {token}").parse().unwrap();
                request.headers_mut().insert(http::header::AUTHORIZATION, value);
            }
            request.extensions_mut().insert(Origin { facts: peer.clone(), line: Line::default() });
            open::<AdsSotw>(&self.deps, request)
        }

        fn counted(&self, line: &str) -> u64 {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            let line = text.lines().find_map(|l| l.strip_prefix(line));
            line.unwrap_or_else(|| panic!("{text}")).trim().parse().unwrap()
        }

        fn refused(&self, reason: &str) -> u64 {
            self.counted(&format!("streams_refused_total{{reason=\"{reason}\"}}"))
        }

        fn reached(&self, limit: &str) -> u64 {
            self.counted(&format!("limits_reached_total{{limit=\"{limit}\"}}"))
        }
    }

    fn from(address: &str, name: Option<&str>) -> Peer {
        let identities = name.map(|n| Identity::Uri(n.into())).into_iter().collect();
        Peer { identities, ..Peer::anonymous(format!("{address}:4711").parse().unwrap()) }
    }

    /// What a refused stream is told; the head must say nothing yet.
    async fn told(mut response: HttpResponse) -> Status {
        assert!(Status::from_header_map(response.headers()).is_none(), "told at once");
        let start = Instant::now();
        let trailers = response.body_mut().frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(start.elapsed().as_millis() / 10, HOLD.as_millis() / 10, "held");
        Status::from_header_map(&trailers).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_control_planes_behind_one_address_are_let_in_at_once() {
        let rig = rig(Limits::default());
        let open: Vec<_> = (0..4000).map(|_| rig.open(&from("10.0.0.1", None))).collect();
        assert_eq!((rig.deps.census().streams, rig.refused("too_often")), (4000, 0));
        drop(open);
    }

    #[tokio::test(start_paused = true)]
    async fn who_opens_streams_too_often_is_refused_and_others_are_not() {
        let rig = rig(Limits { stream_opens: Rate::new(1, 2), ..Limits::default() });
        let (often, other) = (from("10.0.0.1", None), from("10.0.0.2", None));
        let _open = [rig.open(&often), rig.open(&often), rig.open(&other)];
        let status = told(rig.open(&often)).await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("more than 1 new streams a second"), "{status}");
        assert_eq!((rig.refused("too_often"), rig.reached("streamOpensPerSecond")), (1, 1));
        assert_eq!(rig.deps.census().streams, 3);
        // A second has passed.
        let _next = rig.open(&often);
        assert_eq!(rig.deps.census().streams, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_counts_wherever_it_dials_from() {
        let rig = rig(Limits { streams_per_identity: Some(2), ..Limits::default() });
        let _open = ["10.0.0.1", "10.0.0.2"].map(|at| rig.open(&from(at, Some("spiffe://a"))));
        let _other = rig.open(&from("10.0.0.1", Some("spiffe://b")));
        let status = told(rig.open(&from("10.0.0.3", Some("spiffe://a")))).await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("2 streams of this identity"), "{status}");
        assert_eq!((rig.refused("streams_per_identity"), rig.reached("streamsPerIdentity")), (1, 1));
    }

    /// A wire with a bug.
    struct Broken;

    impl Protocol for Broken {
        type In = crate::proto::discovery::DiscoveryRequest;
        const WIRE: &'static str = "broken";

        fn decode(_: Self::In) -> Result<crate::session::message::Request, crate::delivery::ProtocolError> {
            panic!("a bug")
        }

        fn encode(
            _: &crate::session::message::Response,
        ) -> Result<crate::delivery::Frames, crate::delivery::TooLarge> {
            panic!("a bug")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_stream_ends_that_stream_with_words_and_no_other() {
        let rig = rig(Limits::default());
        let peer = from("10.0.0.1", None);
        let _healthy = rig.open(&peer);
        // One empty message.
        let body = http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5]));
        let mut request = http::Request::new(tonic::body::Body::new(body));
        request.extensions_mut().insert(Origin { facts: peer.clone(), line: Line::default() });
        let mut broken = open::<Broken>(&rig.deps, request);
        let trailers = broken.body_mut().frame().await.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert_eq!(rig.deps.census().streams, 1, "its seat is free again");
        assert!(rig.deps.status.clients().iter().all(|c| c.wire != "broken"));
        let _next = rig.open(&peer);
        assert_eq!(rig.deps.census().streams, 2);
    }

    /// Knows one token.
    #[derive(Debug)]
    struct Token;

    impl Authorizer for Token {
        fn admit(&self, peer: &Peer) -> Result<(), Denied> {
            match peer.token.as_ref().map(|t| t.secret()) {
                Some("good") => Ok(()),
                Some(_) => Err(Denied::Forbidden("that token may not".into())),
                None => Err(Denied::Unauthenticated("show a token".into())),
            }
        }

        fn authorize(&self, _: &Peer, _: Collection) -> Result<(), Denied> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_admitted_is_told_why_and_has_no_stream() {
        let mut rig = rig(Limits::default());
        rig.deps = rig.deps.guarded_by(Arc::new(Token));
        let peer = from("10.0.0.1", None);
        let status = told(rig.open(&peer)).await;
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "no stream: show a token"));
        let status = told(rig.open_with(&peer, Some("bad"))).await;
        assert_eq!(
            (status.code(), status.message()),
            (Code::PermissionDenied, "no stream: that token may not")
        );
        assert_eq!((rig.refused("unauthenticated"), rig.refused("forbidden")), (1, 1));
        assert_eq!(rig.deps.census().streams, 0);
        let _open = rig.open_with(&peer, Some("good"));
        assert_eq!(rig.deps.census().streams, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_refused_streams_are_held_and_the_others_end_at_once() {
        let rig = rig(Limits::default());
        rig.deps.shutdown.begin_drain();
        let peer = from("10.0.0.1", None);
        let held: Vec<_> = (0..MOST_HELD).map(|_| rig.open(&peer)).collect();
        assert_eq!(rig.deps.census().held, MOST_HELD);
        let status = Status::from_header_map(rig.open(&peer).headers()).unwrap();
        assert_eq!(status.code(), Code::Unavailable);
        drop(held);
        assert_eq!(rig.deps.census().held, 0);
        assert_eq!(told(rig.open(&peer)).await.code(), Code::Unavailable);
        assert_eq!(rig.refused("draining"), MOST_HELD as u64 + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn new_limits_hold_at_once_and_what_was_used_up_stays_used_up() {
        let rig = rig(Limits { stream_opens: Rate::new(1, 1), ..Limits::default() });
        let peer = from("10.0.0.1", None);
        let _open = rig.open(&peer);
        let configure = |limits| rig.deps.configure(StreamSettings { limits, ..StreamSettings::default() });
        configure(Limits { stream_opens: Rate::new(1, 1), unknown_collections: 1, ..Limits::default() });
        assert_eq!(told(rig.open(&peer)).await.code(), Code::ResourceExhausted);
        configure(Limits { stream_opens: None, streams: 2, ..Limits::default() });
        let _second = rig.open(&peer);
        assert_eq!(told(rig.open(&peer)).await.code(), Code::ResourceExhausted);
        assert_eq!(rig.reached("streams"), 1);
    }
}
