//! A server in this process, a client of it, and who may read what.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chandler::delivery::{Census, DeliveryMetrics, Deps, Listener, StreamSettings, serve};
use chandler::limit::Limits;
use chandler::model::labels::Labels;
use chandler::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use chandler::proto::discovery::{DiscoveryRequest, DiscoveryResponse};
use chandler::resource::collection::Collection;
use chandler::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
use chandler::resource::snapshot::{CollectionSnapshot, Snapshot};
use chandler::runtime::shutdown::Shutdown;
use chandler::runtime::status::Status;
use chandler::security::authorizer::{Anyone, Authorizer, Denied};
use chandler::security::peer::Peer;
use chandler::store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

pub const SE: &str = "networking.istio.io/v1/ServiceEntry";
pub const SIDECAR: &str = "networking.istio.io/v1/Sidecar";
/// Longer than anything takes; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Larger than all windows and socket buffers between the two ends.
pub const HUGE: usize = 20 << 20;

pub const NOTHING: Census = Census { streams: 0, identities: 0, held: 0, peers: 0, tasks: 0 };

/// A running server and everything around it.
pub struct Rig {
    pub store: Store,
    pub status: Arc<Status>,
    pub metrics: prometheus_client::registry::Registry,
    pub address: SocketAddr,
    pub deps: Deps,
    _tasks: JoinSet<()>,
}

pub async fn rig(limits: Limits) -> Rig {
    guarded(limits, Arc::new(Anyone)).await
}

pub async fn guarded(limits: Limits, access: Arc<dyn Authorizer>) -> Rig {
    let store = Store::default();
    let status = Arc::new(Status::default());
    let mut metrics = prometheus_client::registry::Registry::default();
    let counted = Arc::new(DeliveryMetrics::new(&mut metrics));
    let settings =
        StreamSettings { limits, full_state_interval: Duration::ZERO, ..StreamSettings::default() };
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let deps = Deps::new(store.reader(), Arc::clone(&status), counted, shutdown, settings);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.address();
    let (mut tasks, served) = (JoinSet::new(), deps.clone());
    tasks.spawn(async { serve(listener, access, served).await.unwrap() });
    Rig { store, status, metrics, address, deps, _tasks: tasks }
}

impl Rig {
    pub async fn connection(&self) -> Client {
        let channel =
            Endpoint::try_from(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX)
    }

    pub async fn stream(&self) -> Stream {
        open(&mut self.connection().await).await
    }

    /// How often the limit of this name was reached.
    pub fn reached(&self, limit: &str) -> u64 {
        self.metric(&format!("limits_reached_total{{limit=\"{limit}\"}}"))
    }

    pub fn metric(&self, name: &str) -> u64 {
        let line = self.metrics_text().lines().find(|l| l.starts_with(name)).map(str::to_owned);
        line.map_or(0, |l| l.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        text
    }

    /// Limits that were reached at all.
    pub fn all_reached(&self) -> Vec<String> {
        let text = self.metrics_text();
        let rows = text.lines().filter(|l| l.starts_with("limits_reached_total{"));
        rows.filter(|l| !l.ends_with(" 0")).map(str::to_owned).collect()
    }

    /// Waits for something that the server does in its own time.
    pub async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let wait = async {
            while !done(self) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}: {:?}", self.deps.census()));
    }
}

pub type Client = AggregatedDiscoveryServiceClient<Channel>;

pub struct Stream {
    pub out: mpsc::Sender<DiscoveryRequest>,
    pub responses: Streaming<DiscoveryResponse>,
}

pub async fn open(client: &mut Client) -> Stream {
    let (out, requests) = mpsc::channel(32);
    let responses = client.stream_aggregated_resources(ReceiverStream::new(requests)).await;
    Stream { out, responses: responses.unwrap().into_inner() }
}

impl Stream {
    pub async fn send(&self, request: DiscoveryRequest) {
        assert!(self.out.send(request).await.is_ok(), "the stream has ended");
    }

    pub async fn ask(&self, type_url: &str) {
        self.send(ask(type_url)).await;
    }

    pub async fn message(&mut self) -> Result<Option<DiscoveryResponse>, tonic::Status> {
        tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("no response came")
    }

    pub async fn next(&mut self) -> DiscoveryResponse {
        self.message().await.unwrap().expect("the stream has ended")
    }

    /// What the stream ends with, whatever comes before.
    pub async fn end(&mut self) -> tonic::Status {
        loop {
            match self.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return tonic::Status::ok(""),
                Err(status) => return status,
            }
        }
    }

    /// The client says that this was all.
    pub fn half_close(self) -> Self {
        Self { out: mpsc::channel(1).0, responses: self.responses }
    }
}

pub fn ask(type_url: &str) -> DiscoveryRequest {
    DiscoveryRequest { type_url: type_url.into(), ..Default::default() }
}

pub fn ack(r: &DiscoveryResponse) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: r.version_info.clone(),
        response_nonce: r.nonce.clone(),
        ..ask(&r.type_url)
    }
}

/// A ServiceEntry of so many bytes.
pub fn entry(bytes: usize) -> Arc<CollectionSnapshot> {
    let name = ResourceName::new("ns", "a");
    let id = ResourceId { collection: Collection::ServiceEntry, name: name.clone() };
    let body = Bytes::from(vec![7; bytes]);
    let one = Encoded::new(id, Labels::EMPTY, Labels::EMPTY, body, TopologyHash::default());
    Arc::new(CollectionSnapshot::default().apply(&[(name, Some(Arc::new(one)))].into_iter().collect()))
}

/// Everything complete and empty.
pub fn empty() -> Snapshot {
    Collection::all().fold(Snapshot::default(), |s, c| s.with(c, Arc::default()))
}

/// The same with a ServiceEntry of so many bytes.
pub fn snapshot(bytes: usize) -> Arc<Snapshot> {
    Arc::new(empty().with(Collection::ServiceEntry, entry(bytes)))
}

/// Refuses what it is told to.
#[derive(Debug, Default)]
pub struct Rules {
    pub nobody: AtomicBool,
    forbidden: Mutex<BTreeSet<Collection>>,
}

impl Rules {
    pub fn forbidding(collections: &[Collection]) -> Arc<Self> {
        let rules = Arc::new(Self::default());
        rules.forbid(collections);
        rules
    }

    pub fn forbid(&self, collections: &[Collection]) {
        *self.forbidden.lock().unwrap() = collections.iter().copied().collect();
    }
}

impl Authorizer for Rules {
    fn admit(&self, peer: &Peer) -> Result<(), Denied> {
        let token = peer.token.as_ref().map(|t| t.secret().to_owned());
        if self.nobody.load(Ordering::Relaxed) || token.as_deref() == Some("bad") {
            return Err(Denied::Unauthenticated("who are you?".into()));
        }
        Ok(())
    }

    fn authorize(&self, _: &Peer, collection: Collection) -> Result<(), Denied> {
        if self.forbidden.lock().unwrap().contains(&collection) {
            return Err(Denied::Forbidden("not for you".into()));
        }
        Ok(())
    }
}
