//! What the claims are about: a server of ours, and the bare sockets that it is held against. Both are this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chandler::delivery::{DeliveryMetrics, Deps, Listener, StreamSettings, serve};
use chandler::resource::collection::Collection;
use chandler::resource::encoded::Encoded;
use chandler::resource::snapshot::{Changes, CollectionSnapshot, Snapshot};
use chandler::resource::wire::Flavour;
use chandler::runtime::shutdown::Shutdown;
use chandler::runtime::status::{Status, WatchStatus};
use chandler::security::Keeper;
use chandler::security::authorizer::Anyone;
use chandler::security::door::{Door, DoorMetrics, Speaks};
use chandler::security::tls::server::{ClientCertificates, Demand, ServerFiles, ServerTls};
use chandler::security::tls::speaks;
use chandler::store::Store;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::client::{Clients, Role, Target};
use crate::meter::{Cost, Meter, Process};
use crate::wire::Wire;
use crate::{STALLED, STREAMS, measured};

/// Publications of something else, after which clients that have it all are looked at.
const PUBLICATIONS: u32 = 200;

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

/// Sockets, as plainly as possible; over TLS if there is a folder of certificates.
pub(crate) struct Bare {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    target: Target,
}

impl Bare {
    pub(crate) async fn open(certificates: Option<&Path>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target { address: socket.local_addr().unwrap(), tls: certificates.map(PathBuf::from) };
        let tls = certificates.map(|folder| TlsAcceptor::from(Arc::new(crate::tls::plain_config(folder))));
        Self { socket, tls, target }
    }

    /// The same bytes to each of `STREAMS`.
    pub(crate) async fn round(&self, message: &Bytes) -> (Cost, usize) {
        let (cost, clients) = self.serve(Role::Bare(message.len()), STREAMS, message).await;
        (cost, clients.leave().await.bytes)
    }

    /// So many handshakes.
    pub(crate) async fn shakes(&self, count: usize) -> Cost {
        let (cost, clients) = self.serve(Role::Shake, count, &Bytes::from_static(b"!")).await;
        clients.leave().await;
        cost
    }

    async fn serve(&self, role: Role, count: usize, message: &Bytes) -> (Cost, Clients) {
        let mut clients = Clients::start(role, &self.target, count);
        let meter = Meter::start(&Process::myself());
        clients.go().await;
        // Each stays open until all clients have what they read.
        let mut open = JoinSet::new();
        for _ in 0..count {
            let (io, _) = self.socket.accept().await.unwrap();
            io.set_nodelay(true).unwrap();
            open.spawn(send(io, self.tls.clone(), message.clone()));
        }
        clients.done().await;
        (meter.stop(), clients)
    }
}

async fn send(mut io: TcpStream, tls: Option<TlsAcceptor>, message: Bytes) -> Box<dyn Send> {
    async fn all(io: &mut (impl AsyncWrite + Unpin), message: &[u8]) {
        io.write_all(message).await.unwrap();
        io.flush().await.unwrap();
    }
    if let Some(tls) = tls {
        let mut io = tls.accept(io).await.unwrap();
        all(&mut io, &message).await;
        return Box::new(io);
    }
    all(&mut io, &message).await;
    Box::new(io)
}

/// A server of ours.
pub(crate) struct Rig {
    store: Store,
    status: Arc<Status>,
    pub(crate) target: Target,
    _tasks: JoinSet<()>,
}

impl Rig {
    /// Over mutual TLS if there is a folder of certificates.
    pub(crate) async fn start(certificates: Option<&Path>) -> Self {
        let store = Store::default();
        let status = Arc::new(Status::default());
        let metrics = Arc::new(DeliveryMetrics::new(&mut prometheus_client::registry::Registry::default()));
        let shutdown = Shutdown::new(Duration::ZERO);
        let deps =
            Deps::new(store.reader(), Arc::clone(&status), metrics, shutdown, StreamSettings::default());
        let door = Door::open(Speaks::Grpc, DoorMetrics::default());
        if let Some(folder) = certificates {
            door.set(Some(tls(folder)), Arc::new(Anyone));
        }
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap().behind(Arc::new(door));
        let target = Target { address: listener.address(), tls: certificates.map(PathBuf::from) };
        let mut tasks = JoinSet::new();
        tasks.spawn(async { serve(listener, Arc::new(Anyone), deps).await.unwrap() });
        Self { store, status, target, _tasks: tasks }
    }

    /// Publishes a collection of which nothing is rendered; all others are complete and empty.
    pub(crate) fn publish(&self, services: &[Encoded]) {
        let empty = |snapshot: Snapshot, c| snapshot.with(c, Arc::default());
        let empty = Collection::all().fold(Snapshot::default(), empty);
        self.store.publish(Arc::new(empty.with(Collection::ServiceEntry, collection(services))));
    }

    /// They acknowledge: who leaves without is taken for a Pilot that cannot receive so much, and waits the next time.
    pub(crate) async fn round(&self, wire: Wire, services: &[Encoded]) -> (Cost, usize) {
        self.publish(services);
        let measured =
            measured(&self.target, Role::Acknowledge(wire), || Meter::start(&Process::myself())).await;
        self.until(0, |_| true).await;
        measured
    }

    pub(crate) async fn shakes(&self, count: usize) -> Cost {
        let mut clients = Clients::start(Role::Shake, &self.target, count);
        let meter = Meter::start(&Process::myself());
        clients.go().await;
        clients.done().await;
        let cost = meter.stop();
        clients.leave().await;
        cost
    }

    /// Resident bytes for each stream whose client has asked and does not read.
    pub(crate) async fn stalled(&self, wire: Wire, services: &[Encoded]) -> f64 {
        // Somebody has read it all before, so that what is shared is there.
        self.round(wire, services).await;
        let before = Process::myself().resident();
        let mut clients = Clients::start(Role::Stall(wire), &self.target, STALLED);
        clients.go().await;
        clients.done().await;
        self.until(STALLED, |w| w.sent.is_some()).await;
        // Quiet: whatever fits into the sockets has been written.
        Process::myself().settle().await;
        let after = Process::myself().resident();
        clients.leave().await;
        after.saturating_sub(before) as f64 / STALLED as f64
    }

    /// `count` clients at once, until every one has acknowledged. Also resident bytes for each once all is quiet, and how
    /// many connections were tried again.
    pub(crate) async fn crowd(&self, wire: Wire, count: usize, services: &[Encoded]) -> (Cost, f64, usize) {
        self.publish(services);
        Process::myself().settle().await;
        let before = Process::myself().resident();
        let mut clients = Clients::start(Role::Acknowledge(wire), &self.target, count);
        let meter = Meter::start(&Process::myself());
        clients.go().await;
        self.until(count, |w| w.acknowledged.is_some()).await;
        let cost = meter.stop();
        clients.done().await;
        Process::myself().settle().await;
        let after = Process::myself().resident();
        let again = clients.leave().await.again;
        self.until(0, |_| true).await;
        (cost, after.saturating_sub(before) as f64 / count as f64, again)
    }

    /// CPU for each of `STREAMS` clients that have it all, for each time that something else is published.
    pub(crate) async fn unchanged(&self, wire: Wire, services: &[Encoded]) -> Duration {
        self.publish(services);
        let mut clients = Clients::start(Role::Acknowledge(wire), &self.target, STREAMS);
        clients.go().await;
        clients.done().await;
        self.until(STREAMS, |w| w.acknowledged.is_some()).await;
        Process::myself().settle().await;
        let had = self.store.reader().current();
        let empty = collection(&[]);
        let meter = Meter::start(&Process::myself());
        for turn in 0..PUBLICATIONS {
            let other = if turn % 2 == 0 { collection(&services[..1]) } else { Arc::clone(&empty) };
            self.store.publish(Arc::new(had.as_ref().clone().with(Collection::VirtualService, other)));
            // One by one: publications that come together are one to a stream.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cost = meter.stop();
        assert_eq!(self.streams(|w| w.sent.is_some() && w.sent == w.acknowledged), STREAMS, "sent again");
        clients.leave().await;
        self.until(0, |_| true).await;
        cost.cpu / PUBLICATIONS / u32::try_from(STREAMS).unwrap()
    }

    fn streams(&self, so: impl Fn(&WatchStatus) -> bool) -> usize {
        self.status.clients().iter().filter(|c| c.watches.values().any(&so)).count()
    }

    /// Waits until so many streams are open of which this holds.
    async fn until(&self, count: usize, so: impl Fn(&WatchStatus) -> bool) {
        while self.streams(&so) != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn tls(folder: &Path) -> Arc<ServerTls> {
    let clients = Some(ClientCertificates { ca: folder.join("ca.crt"), demand: Demand::Required });
    let files =
        ServerFiles { certificate: folder.join("server.crt"), key: folder.join("server.key"), clients };
    ServerTls::load(&files, speaks::H2, &Keeper::default()).unwrap()
}
