//! Against a small server that speaks all wires.

use std::pin::Pin;
use std::sync::Mutex;

use bytes::Bytes;
use clap::Parser;
use futures_util::StreamExt;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::cli::dial::{Dial, DialArgs};
use crate::cli::item::tests::entry;
use crate::proto::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use crate::proto::mcp::resource_source_server::{ResourceSource, ResourceSourceServer};
use crate::proto::mcp::{RequestResources, Resources};
use crate::resource::encoded::Encoded;
use crate::resource::wire::{Flavour, render};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Out<T> = mpsc::UnboundedReceiver<Result<T, Status>>;

/// Says what the test has put into its channels; whatever is asked goes into `asked`.
struct Script {
    xds: Mutex<Option<Out<DiscoveryResponse>>>,
    delta: Mutex<Option<Out<DeltaDiscoveryResponse>>>,
    mcp: Mutex<Option<Out<Resources>>>,
    asked: mpsc::UnboundedSender<Asked>,
}

#[derive(Debug)]
enum Asked {
    Xds(DiscoveryRequest),
    Delta(DeltaDiscoveryRequest),
    Mcp(RequestResources),
}

impl Script {
    fn answers<In: Send + 'static, T: Send + 'static>(
        &self,
        requests: Streaming<In>,
        out: Option<Out<T>>,
        wrap: fn(In) -> Asked,
    ) -> Answers<T> {
        let asked = self.asked.clone();
        let heard = requests.filter_map(move |request| {
            if let Ok(request) = request {
                asked.send(wrap(request)).unwrap();
            }
            std::future::ready(None)
        });
        let answers = UnboundedReceiverStream::new(out.expect("one stream a test"));
        Box::pin(futures_util::stream::select(heard, answers))
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Script {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let out = self.xds.lock().unwrap().take();
        Ok(Response::new(self.answers(request.into_inner(), out, Asked::Xds)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let out = self.delta.lock().unwrap().take();
        Ok(Response::new(self.answers(request.into_inner(), out, Asked::Delta)))
    }
}

#[derive(Clone)]
struct Legacy(std::sync::Arc<Script>);

#[tonic::async_trait]
impl ResourceSource for Legacy {
    type EstablishResourceStreamStream = Answers<Resources>;

    async fn establish_resource_stream(
        &self,
        request: Request<Streaming<RequestResources>>,
    ) -> Result<Response<Self::EstablishResourceStreamStream>, Status> {
        let out = self.0.mcp.lock().unwrap().take();
        Ok(Response::new(self.0.answers(request.into_inner(), out, Asked::Mcp)))
    }
}

struct Server {
    address: String,
    xds: mpsc::UnboundedSender<Result<DiscoveryResponse, Status>>,
    delta: mpsc::UnboundedSender<Result<DeltaDiscoveryResponse, Status>>,
    mcp: mpsc::UnboundedSender<Result<Resources, Status>>,
    asked: mpsc::UnboundedReceiver<Asked>,
    _task: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (xds, xds_out) = mpsc::unbounded_channel();
        let (delta, delta_out) = mpsc::unbounded_channel();
        let (asks, asked) = mpsc::unbounded_channel();
        let (mcp, mcp_out) = mpsc::unbounded_channel();
        let script = std::sync::Arc::new(Script {
            xds: Mutex::new(Some(xds_out)),
            delta: Mutex::new(Some(delta_out)),
            mcp: Mutex::new(Some(mcp_out)),
            asked: asks,
        });
        let mut task = JoinSet::new();
        let service = AggregatedDiscoveryServiceServer::from_arc(std::sync::Arc::clone(&script));
        let legacy = ResourceSourceServer::new(Legacy(script));
        task.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            tonic::transport::Server::builder()
                .add_service(service)
                .add_service(legacy)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { address, xds, delta, mcp, asked, _task: task }
    }

    /// Puts an answer of `entries` in the way of the next stream.
    fn say(&self, nonce: &str, entries: &[Encoded]) {
        let mut bytes = Vec::new();
        entries.iter().for_each(|e| render(e, Flavour::Xds, &mut bytes));
        let mut answer = DiscoveryResponse::decode(&bytes[..]).unwrap();
        answer.type_url = Collection::ServiceEntry.type_url();
        (answer.nonce, answer.version_info) = (nonce.into(), format!("v-{nonce}"));
        self.xds.send(Ok(answer)).unwrap();
    }

    fn say_delta(&self, nonce: &str, entries: &[Encoded], removed: &[&str]) {
        let mut bytes = Vec::new();
        entries.iter().for_each(|e| render(e, Flavour::Delta, &mut bytes));
        let mut answer = DeltaDiscoveryResponse::decode(&bytes[..]).unwrap();
        answer.type_url = Collection::ServiceEntry.type_url();
        answer.nonce = nonce.into();
        answer.removed_resources = removed.iter().map(ToString::to_string).collect();
        self.delta.send(Ok(answer)).unwrap();
    }

    fn say_mcp(&self, collection: &str, nonce: &str, entries: &[Encoded]) {
        let mut bytes = Vec::new();
        entries.iter().for_each(|e| render(e, Flavour::Legacy, &mut bytes));
        let mut answer = Resources::decode(&bytes[..]).unwrap();
        (answer.collection, answer.nonce) = (collection.into(), nonce.into());
        self.mcp.send(Ok(answer)).unwrap();
    }

    async fn get(&self, args: &str) -> Result<String, Failure> {
        let mut out = String::new();
        let mut print = |text: &str| {
            out.push_str(text);
            Ok(())
        };
        run(&parse(&self.address, args), std::future::pending(), &mut print).await?;
        Ok(out)
    }
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    get: Get,
}

fn parse(server: &str, args: &str) -> Get {
    let args = ["get", "--server", server].into_iter().chain(args.split_whitespace());
    Line::try_parse_from(args).unwrap().get
}

fn plain() -> Dial {
    DialArgs::default().read().unwrap()
}

#[tokio::test]
async fn it_asks_as_istiod_does_and_acknowledges_what_it_took() {
    let mut server = Server::start().await;
    server.say("n1", &[entry("web", 2)]);
    let text = server.get("").await.unwrap();
    assert!(text.contains("chandler    web    web.example"), "{text}");

    let Some(Asked::Xds(first)) = server.asked.recv().await else { panic!("an xDS request") };
    assert_eq!(first.type_url, "networking.istio.io/v1/ServiceEntry");
    assert!(first.resource_names.is_empty() && first.version_info.is_empty());
    assert!(!first.response_nonce.is_empty(), "istiod's is a clock");
    let metadata = first.node.unwrap().metadata.unwrap();
    let api = prost_types::value::Kind::StringValue("api".into());
    assert_eq!(metadata.fields["GENERATOR"].kind, Some(api));
}

#[tokio::test]
async fn what_it_took_over_is_acknowledged_with_nonce_and_version() {
    let mut server = Server::start().await;
    server.say("n1", &[entry("web", 2)]);
    let mut feed = Feed::open(&server.address, &plain(), Asks::Xds, Collection::ServiceEntry).await.unwrap();
    assert_eq!(feed.next().await.unwrap().len(), 1);
    let _first = server.asked.recv().await;
    let Some(Asked::Xds(ack)) = server.asked.recv().await else { panic!("an acknowledgement") };
    assert_eq!((ack.response_nonce.as_str(), ack.version_info.as_str()), ("n1", "v-n1"));
    assert!(ack.error_detail.is_none());
}

#[tokio::test]
async fn delta_asks_for_everything_once_and_acknowledges_by_nonce() {
    let mut server = Server::start().await;
    server.say_delta("d1", &[entry("a", 1), entry("b", 1)], &[]);
    server.say_delta("d2", &[entry("b", 2)], &["chandler/a", "chandler/unknown"]);
    let mut feed =
        Feed::open(&server.address, &plain(), Asks::Delta, Collection::ServiceEntry).await.unwrap();
    let events = |changes: Vec<Change>| -> Vec<String> {
        changes.iter().map(|(e, i)| format!("{} {}", e.as_str(), i.id.name)).collect()
    };
    assert_eq!(events(feed.next().await.unwrap()), ["ADDED chandler/a", "ADDED chandler/b"]);
    assert_eq!(events(feed.next().await.unwrap()), ["MODIFIED chandler/b", "DELETED chandler/a"]);
    assert_eq!(feed.items().count(), 1);
    let Some(Asked::Delta(first)) = server.asked.recv().await else { panic!("a delta request") };
    assert!(first.resource_names_subscribe.is_empty() && first.response_nonce.is_empty());
    for nonce in ["d1", "d2"] {
        let Some(Asked::Delta(ack)) = server.asked.recv().await else { panic!("an acknowledgement") };
        assert_eq!(ack.response_nonce, nonce);
    }
}

#[tokio::test]
async fn every_form_prints_what_was_received() {
    for (form, expected) in [
        ("table", "NAMESPACE   NAME"),
        ("wide", "VERSION"),
        ("yaml", "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n"),
        ("json", "\"kind\": \"List\""),
        ("name", "serviceentry.networking.istio.io/a\nserviceentry.networking.istio.io/b\n"),
    ] {
        let server = Server::start().await;
        server.say("1", &[entry("a", 1), entry("b", 1)]);
        let text = server.get(&format!("se -o {form}")).await.unwrap();
        assert!(text.contains(expected), "{form}: {text}");
    }
}

#[tokio::test]
async fn one_by_name_is_printed_alone() {
    let server = Server::start().await;
    server.say("1", &[entry("a", 1), entry("b", 1)]);
    let text = server.get("se chandler/b -o json").await.unwrap();
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["metadata"]["name"], "b");
}

#[tokio::test]
async fn what_is_not_there_is_an_error_in_kubectls_words() {
    let server = Server::start().await;
    server.say("1", &[entry("a", 1)]);
    let failure = server.get("se x").await.unwrap_err();
    assert_eq!(failure, Failure::Found("serviceentries \"x\" not found".into()));

    let server = Server::start().await;
    server.say("1", &[]);
    assert_eq!(server.get("se").await, Ok(String::new()));
}

#[tokio::test]
async fn silence_ends_with_words_about_registries() {
    let server = Server::start().await;
    let failure = server.get("--timeout 50ms").await.unwrap_err().to_string();
    assert!(failure.contains("not read yet") && failure.contains("chandler status"), "{failure}");
}

#[tokio::test]
async fn a_refused_port_says_what_to_do() {
    // Held, and it does not listen: nobody else can be given the port.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap().to_string();
    let failure = run(&parse(&address, ""), std::future::pending(), &mut |_| Ok(())).await.unwrap_err();
    let Failure::Found(words) = failure else { panic!("{failure:?}") };
    assert!(words.contains("nothing listens") && words.contains("chandler serve"), "{words}");
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_is_named() {
    let server = Server::start().await;
    // As a server that is no chandler would answer.
    let any = crate::proto::Any { type_url: "envoy".into(), value: Bytes::new() };
    let answer = DiscoveryResponse { resources: vec![any], ..DiscoveryResponse::default() };
    server.xds.send(Ok(answer)).unwrap();
    assert!(server.get("").await.unwrap_err().to_string().contains("envoy"));
}

#[tokio::test]
async fn watching_prints_a_row_per_change_until_stopped() {
    let server = Server::start().await;
    server.say("1", &[entry("a", 1), entry("b", 1)]);
    server.say("2", &[entry("a", 1), entry("c", 1)]);
    server.say("3", &[entry("a", 3), entry("c", 1)]);
    let (mut out, stop) = (String::new(), tokio_util::sync::CancellationToken::new());
    let mut print = |text: &str| {
        out.push_str(text);
        if text.contains("MODIFIED") {
            stop.cancel();
        }
        Ok(())
    };
    run(&parse(&server.address, "--watch"), stop.cancelled(), &mut print).await.unwrap();
    let events: Vec<_> =
        out.lines().map(|l| l.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        events,
        [
            "EVENT NAMESPACE NAME",
            "ADDED chandler a",
            "ADDED chandler b",
            "ADDED chandler c",
            "DELETED chandler b",
            "MODIFIED chandler a",
        ]
    );
}

#[tokio::test]
async fn a_watch_ends_when_the_server_does() {
    let server = Server::start().await;
    server.say("1", &[entry("a", 1)]);
    server.xds.send(Err(Status::unavailable("draining"))).unwrap();
    let failure = server.get("--watch -o name").await.unwrap_err().to_string();
    assert!(failure.contains("draining"), "{failure}");
}

#[test]
fn durations_have_units() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
    assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
    assert!(duration("x").is_err() && duration("5h").is_err() && duration("").is_err());
    assert!(duration("99999999999999999999s").is_err());
}

const LEGACY: &str = "istio/networking/v1alpha3/serviceentries";

#[tokio::test]
async fn as_a_pilot_it_asks_for_all_that_the_release_asks_for_and_acknowledges_all() {
    let mut server = Server::start().await;
    server.say_mcp("istio/config/v1alpha2/httpapispecs", "1", &[]);
    server.say_mcp(LEGACY, "2", &[entry("web", 2)]);
    let entries = Collection::ServiceEntry;
    let asks = Asks::Mcp(Pilot::V1_4);
    let mut feed = Feed::open(&server.address, &plain(), asks, entries).await.unwrap();
    assert_eq!(feed.next().await.unwrap().len(), 1);
    let mut asked = Vec::new();
    for _ in 0..Pilot::V1_4.collections().count() {
        let Some(Asked::Mcp(request)) = server.asked.recv().await else { panic!("a legacy request") };
        assert!(request.response_nonce.is_empty() && !request.incremental && request.sink_node.is_some());
        asked.push(request.collection);
    }
    assert!(asked.iter().eq(Pilot::V1_4.collections().collect::<Vec<_>>()));
    for nonce in ["1", "2"] {
        let Some(Asked::Mcp(ack)) = server.asked.recv().await else { panic!("an acknowledgement") };
        assert_eq!(ack.response_nonce, nonce);
    }
}

#[tokio::test]
async fn changes_that_nobody_asked_for_are_no_answer() {
    let server = Server::start().await;
    let answer = Resources { collection: LEGACY.into(), incremental: true, ..Resources::default() };
    server.mcp.send(Ok(answer)).unwrap();
    let failure = server.get("--wire mcp").await.unwrap_err().to_string();
    assert!(failure.contains("nobody asked for"), "{failure}");
}

#[tokio::test]
async fn what_a_release_does_not_ask_for_it_is_not_asked_to_get() {
    let server = Server::start().await;
    let older = server.get("we --wire mcp --pilot 1.4").await.unwrap_err();
    assert!(matches!(&older, Failure::Wrong(words) if words.contains("--pilot 1.6")), "{older}");
    let never = server.get("telemetries --wire mcp").await.unwrap_err();
    assert!(matches!(&never, Failure::Wrong(words) if words.contains("--wire xds")), "{never}");
}
