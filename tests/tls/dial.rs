//! The program dials a control plane over TLS: a `ResourceSink` in this process, behind a door that asks for certificates.

use std::pin::Pin;
use std::sync::Arc;

use chandler::proto::mcp::resource_sink_server::{ResourceSink, ResourceSinkServer};
use chandler::proto::mcp::{RequestResources, Resources, SinkNode};
use chandler::security::Keeper;
use chandler::security::authorizer::Anyone;
use chandler::security::door::{Door, DoorMetrics, Speaks};
use chandler::security::peer::Peer;
use chandler::security::tls::client::OwnFiles;
use chandler::security::tls::server::{ClientCertificates, Demand, ServerFiles, ServerTls};
use chandler::security::tls::speaks;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status, Streaming};

use crate::authority::{Authority, GOOD, write};
use crate::support::{Chandler, ChandlerBuilder, PATIENCE};

const NAME: &str = "pilot.example";
const US: &str = "spiffe://cluster.local/ns/chandler/sa/chandler";
const ENTRIES: &str = "istio/networking/v1alpha3/serviceentries";

/// A stream that we have opened: who we are to the control plane, what we say, and its own words.
type Opened = (Vec<String>, Streaming<Resources>, mpsc::UnboundedSender<Result<RequestResources, Status>>);

/// Asks everybody who dials for the ServiceEntries, and hands the stream to the test.
struct ControlPlane {
    streams: mpsc::UnboundedSender<Opened>,
}

#[tonic::async_trait]
impl ResourceSink for ControlPlane {
    type EstablishResourceStreamStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<RequestResources, Status>> + Send>>;

    async fn establish_resource_stream(
        &self,
        request: Request<Streaming<Resources>>,
    ) -> Result<Response<Self::EstablishResourceStreamStream>, Status> {
        let peer = request.extensions().get::<Peer>().unwrap();
        let names = peer.identities.iter().map(ToString::to_string).collect();
        let (out, requests) = mpsc::unbounded_channel();
        let sink_node = Some(SinkNode::default());
        out.send(Ok(RequestResources { sink_node, collection: ENTRIES.into(), ..Default::default() }))
            .unwrap();
        self.streams.send((names, request.into_inner(), out)).unwrap();
        let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
        Ok(Response::new(Box::pin(requests)))
    }
}

/// A control plane with a certificate for [`NAME`], and files for who dials it.
struct Bench {
    dir: TempDir,
    authority: Authority,
    address: String,
    keeper: Keeper,
    streams: mpsc::UnboundedReceiver<Opened>,
    _tasks: JoinSet<()>,
}

impl Bench {
    async fn start() -> Self {
        let (dir, authority, keeper) =
            (tempfile::tempdir().unwrap(), Authority::new("ours"), Keeper::default());
        let ca = write(dir.path(), "ca.crt", &authority.pem);
        authority.issue(&[US], GOOD).write(dir.path(), "us");
        let OwnFiles { certificate, key } = authority.issue(&[NAME], GOOD).write(dir.path(), "pilot");
        let clients = Some(ClientCertificates { ca, demand: Demand::Required });
        let tls = ServerTls::load(&ServerFiles { certificate, key, clients }, speaks::H2, &keeper).unwrap();
        let door = Arc::new(Door::open(Speaks::Grpc, DoorMetrics::default()));
        door.set(Some(tls), Arc::new(Anyone));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (through, incoming) = mpsc::unbounded_channel();
        let (streams, opened) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (socket, address) = listener.accept().await.unwrap();
                if let Some(connection) = door.enter(socket, address).await {
                    through.send(Ok::<_, std::io::Error>(connection)).unwrap();
                }
            }
        });
        tasks.spawn(async move {
            let service = ResourceSinkServer::new(ControlPlane { streams });
            let incoming = tokio_stream::wrappers::UnboundedReceiverStream::new(incoming);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { dir, authority, address, keeper, streams: opened, _tasks: tasks }
    }

    /// The program, which dials with these keys of `tls`; `DIR` stands for the folder of the files.
    fn chandler(&self, tls: &str) -> ChandlerBuilder {
        let tls = tls.replace("DIR", &self.dir.path().display().to_string());
        Chandler::build()
            .server(&format!("mcp: {{dial: [{{address: '{}', tls: {{{tls}}}}}]}}", self.address))
            .service_file(
                "web.yaml",
                "services: [{name: web, hosts: [web.example], endpoints: [{address: 10.0.0.1}], ports: [{number: 80}]}]",
            )
    }

    /// Who dials, and what it says first of the ServiceEntries. While the stream is held it is open.
    async fn told(&mut self) -> (Opened, Resources) {
        let first = async {
            let mut opened = self.streams.recv().await.unwrap();
            loop {
                let message = opened.1.message().await.unwrap().unwrap();
                if message.collection == ENTRIES {
                    return (opened, message);
                }
            }
        };
        tokio::time::timeout(PATIENCE, first).await.expect("nobody dials")
    }
}

const MUTUAL: &str =
    "caFile: DIR/ca.crt, certFile: DIR/us.crt, keyFile: DIR/us.key, serverName: pilot.example";

#[tokio::test]
async fn a_control_plane_is_dialled_over_mutual_tls_and_told_what_is_served() {
    let mut bench = Bench::start().await;
    let chandler = bench.chandler(MUTUAL).start().await;
    let (opened, told) = bench.told().await;
    assert_eq!(opened.0, [US]);
    assert_eq!(told.resources.len(), 1);
    let (code, out, _) =
        Chandler::command(&["status", "--admin", &chandler.admin.to_string()], bench.dir.path()).await;
    assert!(code.success() && out.contains("mcp-dial"), "{out}");
}

/// Each fault is said in words on our side, and what is mended on disk is used by the next attempt.
#[tokio::test]
async fn what_keeps_a_control_plane_from_being_dialled_is_said_and_can_be_mended() {
    let mut bench = Bench::start().await;
    let stranger = Authority::new("other");
    for (tls, words) in [
        ("caFile: DIR/ca.crt, certFile: DIR/us.crt, keyFile: DIR/us.key", "not valid for name \"127.0.0.1\""),
        ("caFile: DIR/ca.crt, serverName: pilot.example", "it wants a client certificate, and none is shown"),
    ] {
        let mut chandler = bench.chandler(tls).start().await;
        chandler.process().wait_for_log(words).await;
    }
    write(bench.dir.path(), "ca.crt", &stranger.pem);
    let mut chandler = bench.chandler(MUTUAL).start().await;
    chandler
        .process()
        .wait_for_log("its certificate comes from an authority that is not believed here")
        .await;
    write(bench.dir.path(), "ca.crt", &bench.authority.pem);
    bench.keeper.look();
    assert_eq!(bench.told().await.0.0, [US]);
}
