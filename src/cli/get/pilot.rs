//! The part of a Pilot of 1.1 to 1.8: asks for everything that such a release asks for, since that is how a server tells
//! which one it is, and keeps what it is told of one collection.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::cli::dial::Bearer;
use crate::cli::get::feed::{Change, MESSAGE_BYTES, received, replace};
use crate::cli::item::Item;
use crate::cli::output::Failure;
use crate::proto::mcp::resource_source_client::ResourceSourceClient;
use crate::proto::mcp::{RequestResources, Resources, SinkNode};
use crate::resource::collection::Collection;
use crate::resource::encoded::ResourceName;
use crate::resource::legacy::{self, Pilot};

/// A connection that shows whatever it takes to be let in.
type Carried = InterceptedService<Channel, Bearer>;

/// An open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    out: mpsc::Sender<RequestResources>,
    answers: Streaming<Resources>,
    name: &'static str,
}

/// The name under which `pilot` asks for `collection`.
pub(crate) fn name(pilot: Pilot, collection: Collection) -> Result<&'static str, Failure> {
    let name = legacy::name_of(collection).filter(|name| pilot.collections().any(|c| c == *name));
    name.ok_or_else(|| {
        let newer = Pilot::ALL
            .into_iter()
            .find(|p| legacy::name_of(collection).is_some_and(|n| p.collections().any(|c| c == n)));
        let words = match newer {
            Some(first) => {
                format!("Pilot {pilot} does not ask for {collection}: the first that does is --pilot {first}")
            }
            None => format!("no Pilot asks for {collection} over the legacy protocol: try --wire xds"),
        };
        Failure::Wrong(words)
    })
}

/// Asks for all that `pilot` asks for; `name` is what is kept.
pub(crate) async fn open(channel: Carried, pilot: Pilot, name: &'static str) -> Result<Stream, Status> {
    let all: Vec<_> = pilot.collections().collect();
    let (out, requests) = mpsc::channel(2 * all.len());
    for collection in all {
        // The receiver is in our hands, and there is room: this cannot fail.
        let _sent = out.send(request(collection, "")).await;
    }
    let mut client = ResourceSourceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let answers = client.establish_resource_stream(ReceiverStream::new(requests)).await?;
    Ok(Stream { out, answers: answers.into_inner(), name })
}

fn request(collection: &str, nonce: &str) -> RequestResources {
    RequestResources {
        sink_node: Some(SinkNode { id: "chandler-get".into(), ..SinkNode::default() }),
        collection: collection.into(),
        response_nonce: nonce.into(),
        ..RequestResources::default()
    }
}

impl Stream {
    /// Waits for the next answer about the collection, takes it over, and acknowledges it and all others.
    pub(crate) async fn next(
        &mut self,
        server: &str,
        collection: Collection,
        held: &mut BTreeMap<ResourceName, Item>,
    ) -> Result<Vec<Change>, Failure> {
        loop {
            let answer = received(server, self.answers.message().await)?;
            let ack = request(&answer.collection, &answer.nonce);
            let mine = answer.collection == self.name;
            let changes = if mine { whole(collection, held, answer)? } else { Vec::new() };
            // If nobody listens any more, the next answer says why.
            let _gone = self.out.send(ack).await;
            if mine {
                return Ok(changes);
            }
        }
    }
}

fn whole(
    collection: Collection,
    held: &mut BTreeMap<ResourceName, Item>,
    answer: Resources,
) -> Result<Vec<Change>, Failure> {
    if answer.incremental {
        return Err(Failure::Found(format!(
            "{collection} as changes, which nobody asked for: a Pilot would lose the rest"
        )));
    }
    let items =
        answer.resources.into_iter().map(|r| Item::from_envelope(collection, r).map_err(Failure::Found));
    Ok(replace(held, items.collect::<Result<_, _>>()?))
}
