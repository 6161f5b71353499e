//! The other end of our own wires: dials a server as a control plane does and keeps what it is told.
//!
//! All wires come out as the same thing, a list of [`Change`]s. Every answer is acknowledged once it is taken over;
//! what cannot be read ends the feed with words, since a control plane would silently lose it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::admin::rows::rfc3339;
use crate::cli::dial::{Bearer, Dial};
use crate::cli::get::pilot;
use crate::cli::item::Item;
use crate::cli::output::Failure;
use crate::proto::core::Node;
use crate::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use crate::resource::collection::Collection;
use crate::resource::encoded::ResourceName;
use crate::resource::legacy::Pilot;
use crate::security::tls::words::innermost;

/// How to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Wire {
    /// Every answer is everything, as istiod wants it
    #[default]
    Xds,
    /// Every answer is what changed
    Delta,
    /// Every answer is everything, as a Pilot of 1.1 to 1.8 wants it: --pilot says which
    Mcp,
}

/// How to speak, and as whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asks {
    Xds,
    Delta,
    /// As this release.
    Mcp(Pilot),
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Added,
    Modified,
    Deleted,
}

impl Event {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One resource that came, changed or went (as it was last).
pub(crate) type Change = (Event, Item);

/// As large as gRPC lets a message be: istiod takes that much too.
pub(crate) const MESSAGE_BYTES: usize = i32::MAX as usize;
/// As istiod: a server that is gone is noticed while nothing happens.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(10);

type Client = AggregatedDiscoveryServiceClient<InterceptedService<Channel, Bearer>>;

/// An open conversation about one collection.
#[derive(Debug)]
pub(crate) struct Feed {
    collection: Collection,
    server: String,
    held: BTreeMap<ResourceName, Item>,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Xds(mpsc::Sender<DiscoveryRequest>, Streaming<DiscoveryResponse>),
    Delta(mpsc::Sender<DeltaDiscoveryRequest>, Streaming<DeltaDiscoveryResponse>),
    Mcp(pilot::Stream),
}

impl Feed {
    /// Dials `server` and asks for all of `collection`. Returns before the answer.
    pub(crate) async fn open(
        server: &str,
        dial: &Dial,
        asks: Asks,
        collection: Collection,
    ) -> Result<Self, Failure> {
        let legacy = match asks {
            Asks::Mcp(pilot) => Some((pilot, pilot::name(pilot, collection)?)),
            Asks::Xds | Asks::Delta => None,
        };
        let channel = dial.channel(server, (KEEPALIVE, KEEPALIVE_PATIENCE)).await?;
        let channel = channel.map_err(|e| Failure::Found(unreachable(server, &e, dial)))?;
        let channel = InterceptedService::new(channel, dial.bearer().clone());
        let client = |channel| Client::new(channel).max_decoding_message_size(MESSAGE_BYTES);
        let opened = match (legacy, asks) {
            (Some((pilot, name)), _) => pilot::open(channel, pilot, name).await.map(Stream::Mcp),
            (None, Asks::Delta) => delta(&mut client(channel), collection).await,
            (None, Asks::Xds | Asks::Mcp(_)) => xds(&mut client(channel), collection).await,
        };
        let stream = opened.map_err(|status| Failure::Found(refused(server, &status, dial.advice())))?;
        Ok(Self { collection, server: server.into(), held: BTreeMap::new(), stream })
    }

    /// Everything that the server has told, by name.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.held.values()
    }

    /// Waits for an answer, takes it over, acknowledges it, and returns what it changed.
    pub(crate) async fn next(&mut self) -> Result<Vec<Change>, Failure> {
        match &mut self.stream {
            Stream::Xds(out, answers) => {
                let answer = received(&self.server, answers.message().await)?;
                let changes = whole(self.collection, &mut self.held, &answer)?;
                let ack = DiscoveryRequest {
                    node: Some(node()),
                    type_url: answer.type_url,
                    version_info: answer.version_info,
                    response_nonce: answer.nonce,
                    ..DiscoveryRequest::default()
                };
                // If nobody listens any more, the next answer says why.
                let _gone = out.send(ack).await;
                Ok(changes)
            }
            Stream::Delta(out, answers) => {
                let answer = received(&self.server, answers.message().await)?;
                let changes = partial(self.collection, &mut self.held, &answer)?;
                let ack = DeltaDiscoveryRequest {
                    type_url: answer.type_url,
                    response_nonce: answer.nonce,
                    ..DeltaDiscoveryRequest::default()
                };
                let _gone = out.send(ack).await;
                Ok(changes)
            }
            Stream::Mcp(stream) => stream.next(&self.server, self.collection, &mut self.held).await,
        }
    }
}

async fn xds(client: &mut Client, collection: Collection) -> Result<Stream, Status> {
    let (out, requests) = mpsc::channel(2);
    let first = DiscoveryRequest {
        node: Some(node()),
        type_url: collection.type_url(),
        // As istiod does: not empty, and without a meaning.
        response_nonce: rfc3339(SystemTime::now()),
        ..DiscoveryRequest::default()
    };
    // The receiver is in our hands: this cannot fail.
    let _sent = out.send(first).await;
    let answers = client.stream_aggregated_resources(ReceiverStream::new(requests)).await?;
    Ok(Stream::Xds(out, answers.into_inner()))
}

async fn delta(client: &mut Client, collection: Collection) -> Result<Stream, Status> {
    let (out, requests) = mpsc::channel(2);
    let first = DeltaDiscoveryRequest {
        node: Some(node()),
        type_url: collection.type_url(),
        ..DeltaDiscoveryRequest::default()
    };
    let _sent = out.send(first).await;
    let answers = client.delta_aggregated_resources(ReceiverStream::new(requests)).await?;
    Ok(Stream::Delta(out, answers.into_inner()))
}

/// What istiod says of itself to a configuration source.
fn node() -> Node {
    let text = |s: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(s.into())) };
    let fields = [("GENERATOR", "api"), ("ISTIO_VERSION", "65536.65536.65536")];
    Node {
        id: "sidecar~127.0.0.1~chandler-get.default~default.svc.cluster.local".into(),
        metadata: Some(prost_types::Struct {
            fields: fields.into_iter().map(|(k, v)| (k.into(), text(v))).collect(),
        }),
        user_agent_name: "chandler-get".into(),
        ..Node::default()
    }
}

pub(crate) fn received<T>(server: &str, message: Result<Option<T>, Status>) -> Result<T, Failure> {
    match message {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Failure::Found(format!("{server} has ended the stream"))),
        Err(status) => Err(Failure::Found(refused(server, &status, ""))),
    }
}

/// A state-of-the-world answer: what is not in it is gone.
fn whole(
    collection: Collection,
    held: &mut BTreeMap<ResourceName, Item>,
    answer: &DiscoveryResponse,
) -> Result<Vec<Change>, Failure> {
    let items = answer.resources.iter().map(|any| Item::from_wire(collection, any).map_err(Failure::Found));
    Ok(replace(held, items.collect::<Result<_, _>>()?))
}

/// What changed now that `items` are all there is.
pub(crate) fn replace(held: &mut BTreeMap<ResourceName, Item>, items: Vec<Item>) -> Vec<Change> {
    let next: BTreeMap<_, _> = items.into_iter().map(|item| (item.id.name.clone(), item)).collect();
    let gone: Vec<Item> = held.extract_if(.., |name, _| !next.contains_key(name)).map(|(_, i)| i).collect();
    let mut changes: Vec<Change> = next.into_values().filter_map(|item| take_over(held, item)).collect();
    changes.extend(gone.into_iter().map(|item| (Event::Deleted, item)));
    changes
}

/// A delta answer: what came, changed or went.
fn partial(
    collection: Collection,
    held: &mut BTreeMap<ResourceName, Item>,
    answer: &DeltaDiscoveryResponse,
) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    for resource in &answer.resources {
        let any = resource.resource.clone().unwrap_or_default();
        let mut item = Item::from_wire(collection, &any).map_err(Failure::Found)?;
        // The outer version is the wire's own, and the envelope's may be left out.
        item.version.clone_from(&resource.version);
        changes.extend(take_over(held, item));
    }
    let gone = answer.removed_resources.iter().filter_map(|name| held.remove(name.as_str()));
    changes.extend(gone.map(|item| (Event::Deleted, item)));
    Ok(changes)
}

fn take_over(held: &mut BTreeMap<ResourceName, Item>, item: Item) -> Option<Change> {
    let event = match held.get(&item.id.name) {
        Some(old) if *old == item => return None,
        Some(_) => Event::Modified,
        None => Event::Added,
    };
    held.insert(item.id.name.clone(), item.clone());
    Some((event, item))
}

/// Why there is no connection, and what to do.
fn unreachable(server: &str, error: &tonic::transport::Error, dial: &Dial) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return format!(
                "nothing listens at {server} (connection refused). Start a server with `chandler serve`, or name \
                 another with --server HOST:PORT"
            );
        }
        cause = error.source();
    }
    let (reason, advice) = (innermost(error), dial.advice());
    format!("cannot reach {server}: {reason}. Name the server's gRPC address with --server HOST:PORT{advice}")
}

/// Why there is no stream, or not any more; `advice` for a connection that broke.
fn refused(server: &str, status: &Status, advice: &str) -> String {
    let words = status.message();
    // What a server says in a status comes from nowhere; what breaks comes from below.
    if let Some(cause) = status.source() {
        return format!("the connection to {server} broke: {}{advice}", innermost(cause));
    }
    match status.code() {
        Code::Unimplemented => format!("{server} speaks gRPC, but does not serve this wire ({words})"),
        Code::PermissionDenied | Code::Unauthenticated | Code::ResourceExhausted => {
            format!("{server} refuses: {words}")
        }
        Code::Unavailable => format!("{server} has ended the stream: {words}"),
        code => format!("{server} answers {code:?}: {words}. Is it the gRPC address of a chandler?"),
    }
}
