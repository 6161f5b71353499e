//! `DeltaAggregatedResources`: a response says what changed. No stock istiod uses it; other clients do.

use crate::delivery::Protocol;
use crate::delivery::ads;
use crate::delivery::body::{Frames, Head, TooLarge};
use crate::proto::discovery::DeltaDiscoveryRequest;
use crate::resource::wire::{Flavour, put_string};
use crate::session::ProtocolError;
use crate::session::message::{Mode, Request, Response, Selection};

/// The wire `delta`.
#[derive(Debug)]
pub(super) struct AdsDelta;

impl Protocol for AdsDelta {
    type In = DeltaDiscoveryRequest;
    const WIRE: &'static str = "delta";

    fn decode(message: DeltaDiscoveryRequest) -> Result<Request, ProtocolError> {
        Ok(Request {
            target: ads::target(&message.type_url)?,
            asked: message.type_url.into(),
            mode: Mode::Delta,
            nonce: message.response_nonce,
            refusal: message.error_detail.map(ads::refusal),
            selection: Selection::Change {
                subscribe: message.resource_names_subscribe,
                unsubscribe: message.resource_names_unsubscribe,
            },
            held: message.initial_resource_versions,
            node: message.node.map(ads::node),
        })
    }

    fn encode(response: &Response) -> Result<Frames, TooLarge> {
        let mut head = Head::new();
        put_string(1, &response.version.to_string(), &mut head.0);
        put_string(4, &response.asked, &mut head.0);
        put_string(5, &response.nonce.to_string(), &mut head.0);
        for name in &response.removed {
            put_string(6, name, &mut head.0);
        }
        ads::put_control_plane(7, &mut head);
        // A delta client tells resources apart by their versions, so it always gets them.
        ads::finish(head, &response.content, Flavour::Delta)
    }
}
