//! The legacy wire where we dial: a control plane that serves `ResourceSink` in this process.

use std::pin::Pin;

use chandler::delivery::{Sink, dial};
use chandler::proto::mcp::resource_sink_server::{ResourceSink, ResourceSinkServer};
use chandler::proto::mcp::{RequestResources, Resources};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use super::legacy::{ENTRIES, SERVICES, acks, asks, nacks, told};
use super::*;

/// One stream that we have opened, as the control plane holds it.
type Opened = (Streaming<Resources>, mpsc::UnboundedSender<Result<RequestResources, tonic::Status>>);

/// Hands every stream to the test.
struct ControlPlane {
    streams: mpsc::UnboundedSender<Opened>,
}

#[tonic::async_trait]
impl ResourceSink for ControlPlane {
    type EstablishResourceStreamStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<RequestResources, tonic::Status>> + Send>>;

    async fn establish_resource_stream(
        &self,
        request: tonic::Request<Streaming<Resources>>,
    ) -> Result<tonic::Response<Self::EstablishResourceStreamStream>, tonic::Status> {
        let (out, requests) = mpsc::unbounded_channel();
        self.streams.send((request.into_inner(), out)).unwrap();
        let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
        Ok(tonic::Response::new(Box::pin(requests)))
    }
}

/// A server that is dialled, and what dials it.
struct Dialling {
    rig: Rig,
    streams: mpsc::UnboundedReceiver<Opened>,
    stop: CancellationToken,
    dialler: JoinSet<()>,
    _control_plane: JoinSet<()>,
}

async fn dialling() -> Dialling {
    let rig = rig().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink = Sink { address: listener.local_addr().unwrap().to_string(), tls: None };
    let (streams, opened) = mpsc::unbounded_channel();
    let mut control_plane = JoinSet::new();
    let service = ResourceSinkServer::new(ControlPlane { streams });
    control_plane.spawn(async move {
        let incoming = TcpListenerStream::new(listener);
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    let (stop, mut dialler) = (CancellationToken::new(), JoinSet::new());
    dialler.spawn(dial(sink, rig.deps.clone(), stop.clone()));
    Dialling { rig, streams: opened, stop, dialler, _control_plane: control_plane }
}

impl Dialling {
    async fn stream(&mut self) -> Opened {
        tokio::time::timeout(PATIENCE, self.streams.recv()).await.expect("nobody dials").unwrap()
    }
}

async fn next(from: &mut Streaming<Resources>) -> Resources {
    tokio::time::timeout(PATIENCE, from.message()).await.expect("nothing came").unwrap().unwrap()
}

#[tokio::test]
async fn a_control_plane_that_is_dialled_is_triggered_and_then_told_what_it_asks_for() {
    let mut d = dialling().await;
    d.rig.publish(&[("a", 10)]);
    let (mut from, to) = d.stream().await;
    let trigger = next(&mut from).await;
    assert_eq!((&*trigger.collection, trigger.resources.len()), ("$triggerCollection", 0));
    // Real requests may come before the refusal of the trigger does.
    to.send(Ok(asks(ENTRIES))).unwrap();
    let unsupported =
        google::rpc::Status { code: 12, message: "unsupported collection".into(), details: vec![] };
    to.send(Ok(RequestResources { error_detail: Some(unsupported), ..asks("$triggerCollection") })).unwrap();
    let first = next(&mut from).await;
    assert_eq!((told(&first), &*first.nonce), (expected(&[("a", 10)]), "1"));
    to.send(Ok(acks(&first))).unwrap();
    let row = d.rig.status.clients()[0].clone();
    assert_eq!((row.wire, row.peer.is_some(), row.watches.len()), ("mcp-dial", true, 1));

    d.rig.publish(&[("a", 11)]);
    let second = next(&mut from).await;
    assert_eq!(told(&second), expected(&[("a", 11)]));
    to.send(Ok(nacks(&second))).unwrap();
    to.send(Ok(asks(SERVICES))).unwrap();
    assert_eq!(next(&mut from).await.collection, SERVICES);
    assert_eq!(
        d.rig.status.clients()[0].watches[ENTRIES].nack.as_deref(),
        Some("message is nil (code 2, Unknown)")
    );

    d.stop.cancel();
    d.dialler.join_next().await.unwrap().unwrap();
    assert!(from.message().await.map_or(true, |m| m.is_none()), "the connection is gone");
    d.rig.until("its row is gone", |r| r.clients() == 0).await;
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_anew_and_begins_anew() {
    let mut d = dialling().await;
    d.rig.publish(&[("a", 10)]);
    let (mut from, to) = d.stream().await;
    next(&mut from).await;
    to.send(Err(tonic::Status::unavailable("moving"))).unwrap();
    drop((from, to));
    let (mut from, to) = d.stream().await;
    assert_eq!(next(&mut from).await.collection, "$triggerCollection");
    to.send(Ok(asks(ENTRIES))).unwrap();
    let first = next(&mut from).await;
    assert_eq!((told(&first), &*first.nonce), (expected(&[("a", 10)]), "1"));
}

#[tokio::test]
async fn a_server_that_stops_leaves_those_it_dialled() {
    let mut d = dialling().await;
    d.rig.publish(&[("a", 10)]);
    let (mut from, to) = d.stream().await;
    next(&mut from).await;
    to.send(Ok(asks(ENTRIES))).unwrap();
    next(&mut from).await;
    d.rig.shutdown.begin_drain();
    let left = tokio::time::timeout(PATIENCE, from.message()).await.expect("within the grace");
    assert!(left.is_ok_and(|m| m.is_none()), "without trailers, which no server expects");
    // The answer to what we asked is the control plane's to end.
    drop(to);
    tokio::time::timeout(PATIENCE, d.dialler.join_next()).await.unwrap().unwrap().unwrap();
}
