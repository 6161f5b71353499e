//! The wires as a client sees them: a server in this process, real sockets, the generated client. The legacy wire is in
//! `legacy`; the rest is xDS.

// clippy.toml allows these in tests; it does not see that every function here serves one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dial;
mod legacy;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use chandler::delivery::{DeliveryMetrics, Deps, Listener, StreamSettings, serve};
use chandler::limit::Limits;
use chandler::model::labels::Labels;
use chandler::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use chandler::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use chandler::proto::{core, google, mcp};
use chandler::resource::collection::Collection;
use chandler::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
use chandler::resource::snapshot::{CollectionSnapshot, Snapshot};
use chandler::runtime::shutdown::Shutdown;
use chandler::runtime::status::Status;
use chandler::security::authorizer::Anyone;
use chandler::store::Store;
use prost::Message;
use prost_types::value::Kind;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

const SE: &str = "networking.istio.io/v1/ServiceEntry";
const OLD_SE: &str = "networking.istio.io/v1alpha3/ServiceEntry";
const OLD_VS: &str = "networking.istio.io/v1alpha3/VirtualService";
const SIDECAR: &str = "networking.istio.io/v1/Sidecar";
const MESH_CONFIG: &str = "core/v1alpha1/MeshConfig";
const ADS: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
const SOURCE: &str = "istio.mcp.v1alpha1.ResourceSource";
/// Longer than anything takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server and everything around it.
struct Rig {
    store: Store,
    status: Arc<Status>,
    metrics: prometheus_client::registry::Registry,
    shutdown: Shutdown,
    address: SocketAddr,
    tasks: JoinSet<()>,
    deps: Deps,
}

async fn rig_with(settings: StreamSettings, grace: Duration) -> Rig {
    let store = Store::default();
    let status = Arc::new(Status::default());
    let mut metrics = prometheus_client::registry::Registry::with_prefix("chandler");
    let counted = Arc::new(DeliveryMetrics::new(&mut metrics));
    let shutdown = Shutdown::new(grace);
    let deps = Deps::new(store.reader(), Arc::clone(&status), counted, shutdown.clone(), settings);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.address();
    let mut tasks = JoinSet::new();
    let served = deps.clone();
    tasks.spawn(async { serve(listener, Arc::new(Anyone), served).await.unwrap() });
    Rig { store, status, metrics, shutdown, address, tasks, deps }
}

fn settings(limits: Limits) -> StreamSettings {
    StreamSettings { limits, ..StreamSettings::default() }
}

async fn rig() -> Rig {
    rig_with(StreamSettings::default(), Duration::from_secs(1)).await
}

impl Rig {
    fn publish(&self, entries: &[(&str, usize)]) {
        self.store.publish(snapshot(entries));
    }

    async fn channel(&self) -> Channel {
        Endpoint::try_from(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        AggregatedDiscoveryServiceClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }

    async fn sotw(&self) -> Stream<DiscoveryRequest, DiscoveryResponse> {
        let (out, requests) = mpsc::channel(32);
        let mut client = self.client().await;
        let responses = client.stream_aggregated_resources(ReceiverStream::new(requests)).await;
        Stream { out, responses: responses.unwrap().into_inner() }
    }

    async fn delta(&self) -> Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
        let (out, requests) = mpsc::channel(32);
        let mut client = self.client().await;
        let responses = client.delta_aggregated_resources(ReceiverStream::new(requests)).await;
        Stream { out, responses: responses.unwrap().into_inner() }
    }

    /// The value of the metric that begins with `name`; 0 if nothing was counted yet.
    fn clients(&self) -> usize {
        self.status.clients().len()
    }

    fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        let line = text.lines().find(|l| l.starts_with(name));
        line.map_or(0, |l| l.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    /// Waits for something that the server does in its own time.
    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let wait = async {
            while !done(self) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

struct Stream<Q, R> {
    out: mpsc::Sender<Q>,
    responses: Streaming<R>,
}

impl<Q, R> Stream<Q, R> {
    async fn send(&self, request: Q) {
        assert!(self.out.send(request).await.is_ok(), "the stream has ended");
    }

    async fn message(&mut self) -> Result<Option<R>, tonic::Status> {
        tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("no response came")
    }

    async fn next(&mut self) -> R {
        self.message().await.unwrap().expect("the stream has ended")
    }

    /// What the stream ends with.
    async fn end(&mut self) -> tonic::Status {
        loop {
            match self.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return tonic::Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

fn resource(name: &str, bytes: usize) -> Arc<Encoded> {
    let id = ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new("ns", name) };
    let body = Bytes::from(vec![7; bytes]);
    Arc::new(Encoded::new(id, Labels::EMPTY, Labels::EMPTY, body, TopologyHash::default()))
}

fn collection(entries: &[(&str, usize)]) -> Arc<CollectionSnapshot> {
    let changes = entries.iter().map(|(n, b)| (ResourceName::new("ns", n), Some(resource(n, *b)))).collect();
    Arc::new(CollectionSnapshot::default().apply(&changes))
}

/// ServiceEntries of so many bytes each; everything else complete and empty.
fn snapshot(entries: &[(&str, usize)]) -> Arc<Snapshot> {
    let empty = Collection::all().fold(Snapshot::default(), |s, c| s.with(c, Arc::default()));
    Arc::new(empty.with(Collection::ServiceEntry, collection(entries)))
}

fn ask(type_url: &str) -> DiscoveryRequest {
    DiscoveryRequest { type_url: type_url.into(), ..Default::default() }
}

/// As an istiod asks: a clock for a nonce, and the node in the first request.
fn istiod(type_url: &str) -> DiscoveryRequest {
    let api = prost_types::Value { kind: Some(Kind::StringValue("api".into())) };
    let metadata = prost_types::Struct { fields: [("GENERATOR".to_owned(), api)].into() };
    let id = "sidecar~10.0.0.1~istiod-1.istio-system~istio-system.svc.cluster.local".to_owned();
    DiscoveryRequest {
        node: Some(core::Node { id, metadata: Some(metadata), ..Default::default() }),
        response_nonce: "2026-08-22 12:00:00.000000001 +0000 UTC m=+1.5".into(),
        ..ask(type_url)
    }
}

fn ack(r: &DiscoveryResponse) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: r.version_info.clone(),
        response_nonce: r.nonce.clone(),
        ..ask(&r.type_url)
    }
}

fn nack(r: &DiscoveryResponse) -> DiscoveryRequest {
    let detail = google::rpc::Status { code: 3, message: "cannot use it".into(), details: vec![] };
    DiscoveryRequest { error_detail: Some(detail), version_info: String::new(), ..ack(r) }
}

fn unwrapped(any: &chandler::proto::Any) -> mcp::Resource {
    assert_eq!(any.type_url, "type.googleapis.com/istio.mcp.v1alpha1.Resource");
    mcp::Resource::decode(any.value.clone()).unwrap()
}

/// Name to version of each resource.
fn contents(r: &DiscoveryResponse) -> BTreeMap<String, String> {
    let metadata = r.resources.iter().map(|any| unwrapped(any).metadata.unwrap());
    metadata.map(|m| (m.name, m.version)).collect()
}

fn expected(entries: &[(&str, usize)]) -> BTreeMap<String, String> {
    let all = collection(entries);
    all.iter().map(|r| (r.id.name.to_string(), r.version.to_string())).collect()
}

#[tokio::test]
async fn an_istiod_is_answered_for_everything_it_asks_but_mesh_config() {
    let rig = rig().await;
    rig.publish(&[("a", 10), ("b", 10)]);
    let mut stream = rig.sotw().await;
    stream.send(istiod(MESH_CONFIG)).await;
    let kinds = Collection::all().map(|c| c.type_url()).chain(["future.istio.io/v7/Thing".into()]);
    let kinds: Vec<String> = kinds.collect();
    for kind in &kinds {
        stream.send(DiscoveryRequest { node: None, ..istiod(kind) }).await;
    }
    let mut answers = BTreeMap::new();
    for _ in &kinds {
        let r = stream.next().await;
        assert!(!r.version_info.is_empty() && !r.nonce.is_empty());
        assert!(r.control_plane.as_ref().unwrap().identifier.starts_with("chandler/"));
        stream.send(ack(&r)).await;
        answers.insert(r.type_url.clone(), r);
    }
    assert!(kinds.iter().all(|k| answers.contains_key(k)), "{:?}", answers.keys());
    assert!(answers.iter().all(|(k, r)| r.resources.is_empty() != (k == SE)));
    assert_eq!(contents(&answers[SE]), expected(&[("a", 10), ("b", 10)]));
    let resource = unwrapped(&answers[SE].resources[0]);
    assert_eq!(resource.body.unwrap().type_url, "type.googleapis.com/istio.networking.v1alpha3.ServiceEntry");
    assert!(resource.metadata.unwrap().create_time.is_some());
}

#[tokio::test]
async fn the_requested_type_url_is_echoed() {
    let rig = rig().await;
    rig.publish(&[("a", 10)]);
    let mut stream = rig.sotw().await;
    for url in [SE, OLD_SE] {
        stream.send(ask(url)).await;
        assert_eq!(stream.next().await.type_url, url);
    }
}

#[tokio::test]
async fn silence_lasts_until_the_registries_are_read() {
    let rig = rig().await;
    let mut stream = rig.sotw().await;
    stream.send(ask(SE)).await;
    stream.send(ask("x/y/Unknown")).await;
    assert_eq!(stream.next().await.type_url, "x/y/Unknown");
    rig.publish(&[("a", 10)]);
    assert_eq!(contents(&stream.next().await), expected(&[("a", 10)]));
}

#[tokio::test]
async fn an_istiod_without_wasm_plugins_gets_no_versions() {
    let rig = rig().await;
    rig.publish(&[("a", 10)]);
    let mut stream = rig.sotw().await;
    for kind in [MESH_CONFIG, OLD_SE, OLD_VS] {
        stream.send(istiod(kind)).await;
    }
    let empty = stream.next().await;
    assert_eq!((&*empty.type_url, empty.resources.len()), (OLD_VS, 0));
    stream.send(ack(&empty)).await;
    assert_eq!(contents(&stream.next().await), [("ns/a".to_owned(), String::new())].into());
}

#[tokio::test]
async fn what_comes_while_a_response_is_unacknowledged_is_one_response_after_it() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    let mut stream = rig.sotw().await;
    stream.send(ask(SE)).await;
    let first = stream.next().await;
    for size in 2..9 {
        rig.publish(&[("a", size)]);
        // The loop has seen it once it answers something else.
        stream.send(ask(SIDECAR)).await;
        let other = stream.next().await;
        assert_eq!(other.type_url, SIDECAR);
        stream.send(ack(&other)).await;
    }
    stream.send(ack(&first)).await;
    assert_eq!(contents(&stream.next().await), expected(&[("a", 8)]));
}

#[tokio::test]
async fn a_nack_is_shown_and_not_answered_until_something_changes() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    let mut stream = rig.sotw().await;
    stream.send(ask(SE)).await;
    let first = stream.next().await;
    stream.send(nack(&first)).await;
    stream.send(DiscoveryRequest { response_nonce: "4711".into(), ..ask(SE) }).await;
    stream.send(ask(SIDECAR)).await;
    assert_eq!(stream.next().await.type_url, SIDECAR);
    let watch = rig.status.clients()[0].watches[SE].clone();
    assert_eq!(watch.nack.as_deref(), Some("cannot use it (code 3, InvalidArgument)"));
    assert_eq!(watch.sent.map(|v| v.to_string()), Some(first.version_info));
    assert_eq!(watch.acknowledged, None);
    assert_eq!(rig.metric("chandler_nacks_total{collection=\"serviceentries\"}"), 1);
    rig.publish(&[("a", 2)]);
    assert_eq!(contents(&stream.next().await), expected(&[("a", 2)]));
}

#[tokio::test]
async fn ten_thousand_subscriptions_end_the_stream_with_a_clear_status() {
    let rig = rig().await;
    let mut stream = rig.sotw().await;
    let out = stream.out.clone();
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        for n in 0..10_000 {
            if out.send(ask(&format!("x/v1/Kind{n}"))).await.is_err() {
                return;
            }
        }
    });
    let status = stream.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("unknown types"), "{status}");
    rig.until("the row goes", |rig| rig.status.clients().is_empty()).await;
    assert_eq!(rig.clients(), 0);
}

#[tokio::test]
async fn a_request_without_a_type_url_is_refused() {
    let rig = rig().await;
    let mut stream = rig.sotw().await;
    stream.send(ask("")).await;
    assert_eq!(stream.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_half_closed_stream_gets_what_it_asked_for_and_ends_well() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    let mut stream = rig.sotw().await;
    stream.send(ask(SE)).await;
    stream.send(ask(SIDECAR)).await;
    let Stream { out, responses } = stream;
    drop(out);
    stream = Stream { out: mpsc::channel(1).0, responses };
    assert_eq!(contents(&stream.next().await), expected(&[("a", 1)]));
    assert_eq!(stream.next().await.type_url, SIDECAR);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn garbage_is_refused_and_hurts_nobody_else() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    for (message, code) in [
        (Bytes::from_static(b"\xff\xff\xff\xff\xff"), Code::InvalidArgument),
        (Bytes::from(vec![0; 17 << 20]), Code::OutOfRange),
    ] {
        for method in ["StreamAggregatedResources", "DeltaAggregatedResources"] {
            let status = raw(&rig, ADS, method, message.clone()).await;
            assert_eq!(status.code(), code, "{status}");
        }
        let status = raw(&rig, SOURCE, "EstablishResourceStream", message).await;
        assert_eq!(status.code(), code, "{status}");
    }
    for service in [ADS, SOURCE] {
        assert_eq!(raw(&rig, service, "NoSuchMethod", Bytes::new()).await.code(), Code::Unimplemented);
    }
    // Below gRPC.
    let mut socket = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"GET / HTTP/1.1\r\n\r\nPRI * \0\0\xff").await.unwrap();
    let mut sink = tokio::io::sink();
    let _ = tokio::time::timeout(PATIENCE, tokio::io::copy(&mut socket, &mut sink)).await.expect("left open");
    let mut stream = rig.sotw().await;
    stream.send(ask(SE)).await;
    assert_eq!(contents(&stream.next().await), expected(&[("a", 1)]));
}

/// Sends `message` as it is and returns what the stream ends with.
async fn raw(rig: &Rig, service: &str, method: &str, message: Bytes) -> tonic::Status {
    let mut grpc = tonic::client::Grpc::new(rig.channel().await);
    grpc.ready().await.unwrap();
    let path = format!("/{service}/{method}");
    let request = tonic::Request::new(tokio_stream::once(message));
    let response = match grpc.streaming(request, path.parse().unwrap(), RawCodec).await {
        Ok(response) => response,
        Err(status) => return status,
    };
    let mut responses = response.into_inner();
    loop {
        match tokio::time::timeout(PATIENCE, responses.message()).await.expect("never ended") {
            Ok(Some(_)) => {}
            Ok(None) => return tonic::Status::ok(""),
            Err(status) => return status,
        }
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Larger than all windows and socket buffers between the two ends.
const HUGE: usize = 20 << 20;

#[tokio::test]
async fn a_client_that_never_reads_costs_one_message_even_if_it_acknowledges() {
    let settings = StreamSettings { full_state_interval: Duration::ZERO, ..StreamSettings::default() };
    let rig = rig_with(settings, Duration::from_secs(1)).await;
    let names: Vec<String> = (0..20).map(|n| format!("s{n:02}")).collect();
    let of = |bytes: usize| names.iter().map(|n| (&**n, bytes)).collect::<Vec<_>>();
    rig.publish(&of(HUGE / 20));
    let mut stream = rig.sotw().await;
    stream.send(ask(SE)).await;
    rig.until("one response", |rig| rig.metric("chandler_pushes_total") == 1).await;
    for n in 1..8_usize {
        rig.publish(&of(HUGE / 20 + n));
        let blind = DiscoveryRequest { response_nonce: n.to_string(), ..ask(SE) };
        stream.send(blind).await;
        let seen = 1 + n as u64;
        rig.until("it is read", |rig| rig.metric("chandler_requests_total") == seen).await;
        assert_eq!(rig.metric("chandler_pushes_total"), 1);
    }
    assert!(rig.metric("chandler_push_bytes_total") < (HUGE + (HUGE >> 4)) as u64);
    // Once it reads, it gets what it was sent and then the newest.
    assert_eq!(contents(&stream.next().await), expected(&of(HUGE / 20)));
    assert_eq!(contents(&stream.next().await), expected(&of(HUGE / 20 + 7)));
}

#[tokio::test]
async fn large_responses_keep_their_distance_and_small_ones_pass() {
    let settings =
        StreamSettings { full_state_interval: Duration::from_secs(3600), ..StreamSettings::default() };
    let rig = rig_with(settings, Duration::from_secs(1)).await;
    rig.publish(&[("a", 2 << 20)]);
    let mut stream = rig.sotw().await;
    stream.send(ask(SE)).await;
    let first = stream.next().await;
    rig.publish(&[("a", 3 << 20)]);
    stream.send(ack(&first)).await;
    stream.send(ask(SIDECAR)).await;
    assert_eq!(stream.next().await.type_url, SIDECAR);
    assert_eq!(rig.metric("chandler_pushes_total{wire=\"xds\",collection=\"serviceentries\"}"), 1);
    rig.publish(&[("a", 10)]);
    assert_eq!(contents(&stream.next().await), expected(&[("a", 10)]));
}

fn ten_thousand() -> Vec<String> {
    (0..10_000).map(|n| format!("service-{n:05}")).collect()
}

#[tokio::test]
async fn the_generated_client_decodes_ten_thousand_resources_on_both_wires() {
    let rig = rig().await;
    let names = ten_thousand();
    let entries: Vec<_> = names.iter().enumerate().map(|(i, n)| (&**n, 100 + i % 700)).collect();
    rig.publish(&entries);
    assert!(collection(&entries).blocks().len() > 10);
    let mut sotw = rig.sotw().await;
    sotw.send(ask(SE)).await;
    let r = sotw.next().await;
    assert_eq!(contents(&r), expected(&entries));
    assert_eq!(r.version_info, collection(&entries).version().to_string());
    let mut delta = rig.delta().await;
    delta.send(DeltaDiscoveryRequest { type_url: SE.into(), ..Default::default() }).await;
    let r = delta.next().await;
    assert_eq!(delta_contents(&r), expected(&entries));
    assert_eq!((&*r.type_url, r.control_plane.is_some()), (SE, true));
}

/// Name to version, which the resource and its envelope agree about.
fn delta_contents(r: &DeltaDiscoveryResponse) -> BTreeMap<String, String> {
    let pair = |r: &chandler::proto::discovery::Resource| {
        let metadata = unwrapped(r.resource.as_ref().unwrap()).metadata.unwrap();
        assert_eq!((&metadata.name, &metadata.version), (&r.name, &r.version));
        (r.name.clone(), r.version.clone())
    };
    r.resources.iter().map(pair).collect()
}

#[tokio::test]
async fn delta_sends_what_a_client_lacks_and_names_what_went() {
    let rig = rig().await;
    rig.publish(&[("a", 1), ("b", 1)]);
    let mut stream = rig.delta().await;
    let mut held = expected(&[("a", 1), ("b", 9)]);
    held.insert("ns/gone".into(), "1".into());
    let first =
        DeltaDiscoveryRequest { type_url: SE.into(), initial_resource_versions: held, ..Default::default() };
    stream.send(first).await;
    let r = stream.next().await;
    assert_eq!(delta_contents(&r), expected(&[("b", 1)]));
    assert_eq!(r.removed_resources, ["ns/gone"]);
    let applied =
        DeltaDiscoveryRequest { type_url: SE.into(), response_nonce: r.nonce, ..Default::default() };
    stream.send(applied).await;
    rig.publish(&[("a", 1), ("c", 1)]);
    let r = stream.next().await;
    assert_eq!(delta_contents(&r), expected(&[("c", 1)]));
    assert_eq!(r.removed_resources, ["ns/b"]);
}

#[tokio::test]
async fn a_stream_has_a_row_and_metrics_until_it_ends() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    let mut stream = rig.sotw().await;
    stream.send(istiod(SE)).await;
    let first = stream.next().await;
    stream.send(ack(&first)).await;
    rig.until("acknowledged", |rig| {
        rig.status.clients().iter().any(|c| c.watches.values().any(|w| w.acknowledged.is_some()))
    })
    .await;
    let row = rig.status.clients().remove(0);
    assert_eq!((row.wire, row.peer.is_some()), ("xds", true));
    assert!(row.node.starts_with("sidecar~10.0.0.1~istiod-1"));
    assert_eq!(row.watches[SE].collection.as_deref(), Some("serviceentries"));
    assert_eq!(row.watches[SE].acknowledged, row.watches[SE].sent);
    assert_eq!(rig.clients(), 1);
    assert_eq!(rig.metric("chandler_push_ack_seconds_count{collection=\"serviceentries\"}"), 1);
    drop(stream);
    rig.until("the row goes", |rig| rig.status.clients().is_empty()).await;
    assert_eq!(rig.clients(), 0);
}

#[tokio::test]
async fn draining_ends_every_stream_within_the_grace_and_then_the_server() {
    let mut rig = rig_with(StreamSettings::default(), Duration::from_millis(400)).await;
    rig.publish(&[("a", 1)]);
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = rig.sotw().await;
        stream.send(ask(SE)).await;
        stream.next().await;
        streams.push(stream);
    }
    rig.shutdown.begin_drain();
    for stream in &mut streams {
        let status = stream.end().await;
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.message().contains("stopping"), "{status}");
    }
    tokio::time::timeout(PATIENCE, rig.tasks.join_next()).await.expect("still serving").unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(rig.address).await.is_err(), "still listening");
}

#[tokio::test]
async fn new_streams_are_refused_while_old_ones_leave() {
    let rig = rig_with(StreamSettings::default(), Duration::from_secs(100_000)).await;
    rig.publish(&[("a", 1)]);
    let mut old = rig.sotw().await;
    old.send(ask(SE)).await;
    let first = old.next().await;
    let health = tonic_health::pb::health_client::HealthClient::new(rig.channel().await);
    assert_eq!(ask_health(health.clone()).await, 1);
    rig.shutdown.begin_drain();
    assert_eq!(rig.sotw().await.end().await.code(), Code::Unavailable);
    // Served until it is its turn.
    rig.publish(&[("a", 2)]);
    old.send(ack(&first)).await;
    assert_eq!(contents(&old.next().await), expected(&[("a", 2)]));
    assert_eq!(ask_health(health).await, 2);
    rig.shutdown.stop();
    assert_eq!(old.end().await.code(), Code::Unavailable);
}

/// 1: serving, 2: not.
async fn ask_health(mut client: tonic_health::pb::health_client::HealthClient<Channel>) -> i32 {
    let service = "envoy.service.discovery.v3.AggregatedDiscoveryService".to_owned();
    let request = tonic_health::pb::HealthCheckRequest { service };
    client.check(request).await.unwrap().into_inner().status
}

#[tokio::test]
async fn more_streams_than_the_limit_are_refused_until_one_ends() {
    let settings = settings(Limits { streams: 1, ..Limits::default() });
    let rig = rig_with(settings, Duration::from_secs(1)).await;
    rig.publish(&[("a", 1)]);
    let first = rig.sotw().await;
    assert_eq!(rig.sotw().await.end().await.code(), Code::ResourceExhausted);
    drop(first);
    rig.until("the first ends", |rig| rig.deps.census().streams == 0).await;
    let mut next = rig.sotw().await;
    next.send(ask(SE)).await;
    assert_eq!(contents(&next.next().await), expected(&[("a", 1)]));
}

#[tokio::test]
async fn other_settings_hold_for_the_streams_that_come_next() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    let (mut before, long) = (rig.sotw().await, "x".repeat(4096));
    rig.deps.configure(settings(Limits { message_size: 1024, ..Limits::default() }));
    let request = || DiscoveryRequest {
        type_url: SE.into(),
        version_info: long.clone(),
        ..DiscoveryRequest::default()
    };
    before.out.send(request()).await.unwrap();
    assert_eq!(before.responses.message().await.unwrap().unwrap().resources.len(), 1);
    let mut after = rig.sotw().await;
    after.out.send(request()).await.unwrap();
    assert_eq!(after.responses.message().await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn reflection_knows_the_service() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let rig = rig().await;
    let mut client = ServerReflectionClient::new(rig.channel().await);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let response = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = response.into_inner().message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|s| &*s.name).collect();
    for served in [ADS, SOURCE, "grpc.health.v1.Health"] {
        assert!(names.contains(&served), "{names:?}");
    }
    assert!(!names.iter().any(|n| n.ends_with("ResourceSink")), "we dial that one: {names:?}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_says_what_to_do() {
    let rig = rig().await;
    let error = Listener::bind(rig.address).await.unwrap_err().to_string();
    assert!(error.contains(&rig.address.to_string()) && error.contains("stop what listens there"), "{error}");
}
