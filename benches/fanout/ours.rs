//! What the claim is about: a server of ours, and the bare sockets that it is held against. Both are this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chandler::delivery::{DeliveryMetrics, Deps, Listener, StreamSettings, serve};
use chandler::resource::collection::Collection;
use chandler::resource::encoded::Encoded;
use chandler::resource::snapshot::{Changes, CollectionSnapshot, Snapshot};
use chandler::resource::wire::Flavour;
use chandler::runtime::shutdown::Shutdown;
use chandler::runtime::status::{ClientStatus, Status};
use chandler::security::authorizer::Anyone;
use chandler::store::Store;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::client::{Clients, Role};
use crate::meter::{Cost, Meter, Process};
use crate::{STALLED, STREAMS, measured};

/// A collection that nothing was rendered of yet.
fn collection(services: &[Encoded]) -> Arc<CollectionSnapshot> {
    let changes: Changes = services.iter().map(|s| (s.id.name.clone(), Some(Arc::new(s.clone())))).collect();
    Arc::new(CollectionSnapshot::default().apply(&changes))
}

/// The answer without what is a stream's own: version, type and nonce.
pub(crate) fn whole(services: &[Encoded]) -> Bytes {
    let rendered = collection(services).blocks().iter().map(|b| b.rendered(Flavour::Xds)).collect::<Vec<_>>();
    rendered.concat().into()
}

/// The same bytes to as many sockets, as plainly as possible.
pub(crate) async fn bare_round(message: &Bytes) -> (Cost, usize) {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut clients = Clients::start(Role::Bare(message.len()), socket.local_addr().unwrap());
    let meter = Meter::start(&Process::myself());
    clients.go().await;
    let mut tasks = JoinSet::new();
    for _ in 0..STREAMS {
        let (mut io, _) = socket.accept().await.unwrap();
        io.set_nodelay(true).unwrap();
        let message = message.clone();
        tasks.spawn(async move {
            io.write_all(&message).await.unwrap();
            io // open until the client is done
        });
    }
    clients.done().await;
    let cost = meter.stop();
    tasks.join_all().await;
    (cost, clients.leave().await.0)
}

/// A server of ours.
pub(crate) struct Rig {
    store: Store,
    status: Arc<Status>,
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let store = Store::default();
        let status = Arc::new(Status::default());
        let metrics = Arc::new(DeliveryMetrics::new(&mut prometheus_client::registry::Registry::default()));
        let shutdown = Shutdown::new(Duration::ZERO);
        let deps =
            Deps::new(store.reader(), Arc::clone(&status), metrics, shutdown, StreamSettings::default());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { serve(listener, Arc::new(Anyone), deps).await.unwrap() });
        Self { store, status, address, _tasks: tasks }
    }

    /// Publishes a collection of which nothing is rendered; all others are complete and empty.
    pub(crate) fn publish(&self, services: &[Encoded]) {
        let empty = |snapshot: Snapshot, c| snapshot.with(c, Arc::default());
        let empty = Collection::all().fold(Snapshot::default(), empty);
        self.store.publish(Arc::new(empty.with(Collection::ServiceEntry, collection(services))));
    }

    pub(crate) async fn round(&self, services: &[Encoded]) -> (Cost, usize) {
        self.publish(services);
        let measured = measured(self.address, || Meter::start(&Process::myself())).await;
        self.streams(0).await;
        measured
    }

    /// Resident bytes for each stream whose client has asked and does not read.
    pub(crate) async fn stalled(&self, services: &[Encoded]) -> f64 {
        // Somebody has read it all before, so that what is shared is there.
        self.round(services).await;
        let before = Process::myself().resident();
        let mut clients = Clients::start(Role::Stalled, self.address);
        clients.go().await;
        clients.done().await;
        self.streams(STALLED).await;
        // Quiet: whatever fits into the sockets has been written.
        Process::myself().settle().await;
        let after = Process::myself().resident();
        clients.leave().await;
        after.saturating_sub(before) as f64 / STALLED as f64
    }

    /// Waits until so many streams are open and have been sent something.
    async fn streams(&self, count: usize) {
        let sent = |c: &ClientStatus| c.watches.values().any(|w| w.sent.is_some());
        while self.status.clients().iter().filter(|c| sent(c)).count() != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
