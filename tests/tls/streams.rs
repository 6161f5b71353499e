//! A gRPC server behind a door: rules of access, and clients that hold nobody up.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chandler::delivery::{DeliveryMetrics, Deps, Listener, StreamSettings, serve};
use chandler::proto::discovery::DiscoveryRequest;
use chandler::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use chandler::resource::collection::Collection;
use chandler::resource::snapshot::Snapshot;
use chandler::runtime::shutdown::Shutdown;
use chandler::runtime::status::Status;
use chandler::security::Keeper;
use chandler::security::access::{Collections, Condition, Rule, Rules, SpiffePattern};
use chandler::security::door::{Door, DoorMetrics, Speaks};
use chandler::security::tls::client::ClientTls;
use chandler::security::tls::server::{ClientCertificates, Demand, ServerFiles, ServerTls};
use chandler::security::tls::speaks;
use chandler::store::Store;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use crate::authority::{Authority, GOOD, client, write};
use crate::support::PATIENCE;

const SECRET: &str = "0123456789abcdef";

/// A server on loopback that asks for certificates, and lets come whom `rules` let.
struct Server {
    dir: TempDir,
    authority: Authority,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(rules: impl FnOnce(&Path) -> Vec<Rule>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        let ca = write(dir.path(), "ca.crt", &authority.pem);
        let own = authority.issue(&["localhost"], GOOD).write(dir.path(), "server");
        let clients = Some(ClientCertificates { ca, demand: Demand::Optional });
        let files = ServerFiles { certificate: own.certificate, key: own.key, clients };
        let keeper = Keeper::default();
        let tls = ServerTls::load(&files, speaks::H2, &keeper).unwrap();
        let door = Door::open(Speaks::Grpc, DoorMetrics::default()).with_patience(60 * PATIENCE);
        let door = Arc::new(door);
        door.set(Some(tls), Rules::load(&rules(dir.path()), &keeper));
        let listener =
            Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap().behind(Arc::clone(&door));
        let address = listener.address();
        let store = Store::default();
        store.publish(Arc::new(
            Collection::all()
                .fold(Snapshot::default(), |all, collection| all.with(collection, Arc::default())),
        ));
        let metrics = Arc::new(DeliveryMetrics::new(&mut Registry::default()));
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let deps = Deps::new(
            store.reader(),
            Arc::new(Status::default()),
            metrics,
            shutdown,
            StreamSettings::default(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            serve(listener, door, deps).await.unwrap();
            drop(store);
        });
        Self { dir, authority, address, _tasks: tasks }
    }

    fn somebody(&self, name: Option<&str>) -> ClientTls {
        let own = name.map(|name| self.authority.issue(&[name], GOOD).write(self.dir.path(), "client"));
        client(&self.dir.path().join("ca.crt"), own)
    }

    /// Asks for everything of `collection`; how it ended.
    async fn ask(
        &self,
        tls: &ClientTls,
        token: Option<&str>,
        collection: Collection,
    ) -> Result<(), (Code, String)> {
        let endpoint = Endpoint::from_shared(format!("https://localhost:{}", self.address.port())).unwrap();
        let channel = tls.channel(&endpoint).await.unwrap();
        let first = DiscoveryRequest { type_url: collection.type_url(), ..DiscoveryRequest::default() };
        let mut request =
            Request::new(tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending()));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let refused = |status: tonic::Status| (status.code(), status.message().to_owned());
        let answers =
            AggregatedDiscoveryServiceClient::new(channel).stream_aggregated_resources(request).await;
        let answer = answers.map_err(refused)?.into_inner().message().await.map_err(refused)?;
        assert_eq!(answer.expect("an answer").type_url, collection.type_url());
        Ok(())
    }
}

fn everything(condition: Condition) -> Rule {
    Rule::Grant { from: vec![condition], collections: Collections::All }
}

fn istiods() -> Rule {
    everything(Condition::Spiffe(SpiffePattern::parse("spiffe://*/ns/istio-system/sa/*").unwrap()))
}

#[tokio::test]
async fn a_spiffe_id_lets_in_and_another_does_not() {
    let server = Server::start(|_| vec![istiods()]).await;
    let istiod = server.somebody(Some("spiffe://cluster.local/ns/istio-system/sa/istiod"));
    assert_eq!(server.ask(&istiod, None, Collection::ServiceEntry).await, Ok(()));
    let other = server.somebody(Some("spiffe://cluster.local/ns/default/sa/istiod"));
    let (code, words) = server.ask(&other, None, Collection::ServiceEntry).await.unwrap_err();
    assert_eq!(code, Code::PermissionDenied, "{words}");
    let (code, words) = server.ask(&server.somebody(None), None, Collection::ServiceEntry).await.unwrap_err();
    assert_eq!(code, Code::Unauthenticated);
    assert!(words.contains("show a client certificate"), "{words}");
}

#[tokio::test]
async fn a_token_lets_in_to_its_collections() {
    let server = Server::start(|dir| {
        let file = write(dir, "readers", &format!("# readers\n{SECRET}\n"));
        let collections = Collections::These([Collection::ServiceEntry].into());
        vec![istiods(), Rule::Grant { from: vec![Condition::TokenFile(file)], collections }]
    })
    .await;
    let nobody = server.somebody(None);
    assert_eq!(server.ask(&nobody, Some(SECRET), Collection::ServiceEntry).await, Ok(()));
    // Nothing is there to be kept from anybody: rule 10 of the design.
    assert_eq!(server.ask(&nobody, Some(SECRET), Collection::WorkloadEntry).await, Ok(()));
    for token in [None, Some("0123456789abcdeX")] {
        let (code, words) = server.ask(&nobody, token, Collection::ServiceEntry).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated, "{words}");
        assert!(!words.contains("0123456789"), "{words}");
    }
}

#[tokio::test]
async fn galleys_list_lets_in_whom_it_names() {
    const PILOT: &str = "spiffe://cluster.local/ns/istio-system/sa/istio-pilot-service-account";
    let server = Server::start(|dir| {
        vec![Rule::AccessList(write(dir, "accesslist.yaml", &format!("allowed:\n- {PILOT}\n")))]
    })
    .await;
    assert_eq!(server.ask(&server.somebody(Some(PILOT)), None, Collection::ServiceEntry).await, Ok(()));
    for other in [Some("spiffe://cluster.local/ns/istio-system/sa/default"), None] {
        assert!(
            server.ask(&server.somebody(other), None, Collection::ServiceEntry).await.is_err(),
            "{other:?}"
        );
    }
}

#[tokio::test]
async fn clients_that_hang_in_their_handshake_hold_up_nobody() {
    let server = Server::start(|_| vec![everything(Condition::AnyPeer)]).await;
    let mut hanging = Vec::new();
    for i in 0..200 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        if i % 2 == 0 {
            socket.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        }
        hanging.push(socket);
    }
    let nobody = server.somebody(None);
    let asked = server.ask(&nobody, None, Collection::ServiceEntry);
    // Far less than what those who hang are given.
    assert_eq!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(())));
    drop(hanging);
}
