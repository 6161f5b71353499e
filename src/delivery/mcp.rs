//! The legacy protocol where we are dialled: `ResourceSource`, which Pilot 1.1 to 1.8 asks. A whole collection is one
//! message; which form of it a client gets is the session's business.
//!
//! It never says `incremental` unless the request that is answered did, never sends an empty nonce, and ends no stream
//! because of a collection that it does not know: each of these would cost the mesh a Pilot.

use tonic::Status;

use crate::delivery::ads;
use crate::delivery::body::{Frames, Head, TooLarge};
use crate::delivery::oversize;
use crate::delivery::raw::Methods;
use crate::delivery::{Deps, HttpRequest, HttpResponse, Protocol, StreamSettings, open};
use crate::proto::mcp::RequestResources;
use crate::resource::legacy;
use crate::resource::wire::{Flavour, put_string};
use crate::session::message::{Mode, Node, Request, Response, Selection, Target};
use crate::session::{ProtocolError, Session};

/// The service's full name.
pub(super) const NAME: &str = "istio.mcp.v1alpha1.ResourceSource";
/// What a dialling source calls the message that makes the sink notice the stream.
pub(super) const TRIGGER: &str = "$triggerCollection";

/// The service.
pub(super) struct Source;

impl Methods for Source {
    const NAME: &'static str = NAME;

    fn answer(method: &str, deps: &Deps, request: HttpRequest) -> HttpResponse {
        match method {
            "EstablishResourceStream" => open::<Mcp>(deps, request),
            _ => Status::unimplemented("this service establishes resource streams").into_http(),
        }
    }
}

/// The wire `mcp`.
#[derive(Debug)]
pub(super) struct Mcp;

impl Protocol for Mcp {
    type In = RequestResources;
    const WIRE: &'static str = "mcp";
    const RECEIVES: usize = oversize::RECEIVED;

    fn session(settings: &StreamSettings) -> Session {
        Session::legacy(settings.limits.unknown_collections, settings.oldest_pilot)
    }

    fn decode(message: RequestResources) -> Result<Request, ProtocolError> {
        let target = target(&message.collection)?;
        Ok(Request {
            target,
            asked: message.collection.into(),
            mode: if message.incremental { Mode::Delta } else { Mode::Full },
            nonce: message.response_nonce,
            refusal: message.error_detail.map(ads::refusal),
            selection: Selection::Replace(Vec::new()), // there are no names to select by
            held: message.initial_resource_versions,
            node: message.sink_node.map(|node| Node { id: node.id, generator: String::new() }),
        })
    }

    fn encode(response: &Response) -> Result<Frames, TooLarge> {
        let mut head = Head::new();
        put_string(1, &response.version.to_string(), &mut head.0);
        put_string(2, &response.asked, &mut head.0);
        for name in &response.removed {
            put_string(4, name, &mut head.0);
        }
        put_string(5, &response.nonce.to_string(), &mut head.0);
        if response.mode == Mode::Delta {
            head.0.extend_from_slice(&[6 << 3, 1]); // a varint: true
        }
        ads::finish(head, &response.content, Flavour::Legacy)
    }
}

/// What a legacy name asks for.
fn target(name: &str) -> Result<Target, ProtocolError> {
    if name.is_empty() {
        return Err(ProtocolError::Malformed("a request without a collection: name one".into()));
    }
    Ok(match legacy::of_name(name) {
        Some(Some(collection)) => Target::Known(collection),
        Some(None) => Target::Empty,
        None if name == TRIGGER => Target::Silent,
        None => Target::Unknown,
    })
}
