//! Envoy's aggregated discovery service: the gRPC path of both xDS wires, and what they have in common.

use tonic::Status;

use crate::delivery::ads_delta::AdsDelta;
use crate::delivery::ads_sotw::AdsSotw;
use crate::delivery::body::{Frames, Head, TooLarge};
use crate::delivery::raw::Methods;
use crate::delivery::{Deps, HttpRequest, HttpResponse, open};
use crate::proto::core;
use crate::resource::collection::Collection;
use crate::resource::wire::{Flavour, put_header, put_string, render};
use crate::session::ProtocolError;
use crate::session::message::{Content, Node, Refusal, Target};

/// The service's full name.
pub(super) const NAME: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
/// Never answered: no release needs it, and its empty answer stops istiod 1.9 to 1.11.
const MESH_CONFIG: &str = "core/v1alpha1/MeshConfig";
/// Who answers, in every response.
const IDENTIFIER: &str = concat!("chandler/", env!("CARGO_PKG_VERSION"));

/// The service.
pub(super) struct Ads;

impl Methods for Ads {
    const NAME: &'static str = NAME;

    fn answer(method: &str, deps: &Deps, request: HttpRequest) -> HttpResponse {
        match method {
            "StreamAggregatedResources" => open::<AdsSotw>(deps, request),
            "DeltaAggregatedResources" => open::<AdsDelta>(deps, request),
            _ => Status::unimplemented("this service streams or deltas aggregated resources").into_http(),
        }
    }
}

/// What a type URL asks for.
pub(super) fn target(type_url: &str) -> Result<Target, ProtocolError> {
    if type_url.is_empty() {
        return Err(ProtocolError::Malformed(
            "a request without a type URL: an aggregated stream needs one".into(),
        ));
    }
    Ok(match Collection::of_type_url(type_url) {
        Some(collection) => Target::Known(collection),
        None if type_url == MESH_CONFIG => Target::Silent,
        None => Target::Unknown,
    })
}

/// Who asks.
pub(super) fn node(node: core::Node) -> Node {
    let generator = node.metadata.and_then(|mut m| m.fields.remove("GENERATOR")).and_then(|v| v.kind);
    let generator = match generator {
        Some(prost_types::value::Kind::StringValue(s)) => s,
        _ => String::new(),
    };
    Node { id: node.id, generator }
}

/// Why a response was refused.
pub(super) fn refusal(status: crate::proto::google::rpc::Status) -> Refusal {
    Refusal { code: status.code, message: status.message }
}

/// `control_plane`, which has another number in each response.
pub(super) fn put_control_plane(field: u32, head: &mut Head) {
    put_header(field, 2 + IDENTIFIER.len(), &mut head.0); // a key, a length below 128, the text
    put_string(1, IDENTIFIER, &mut head.0);
}

/// Closes the message with its resources, which stand in field 2 of both responses.
pub(super) fn finish(mut head: Head, content: &Content, flavour: Flavour) -> Result<Frames, TooLarge> {
    match content {
        Content::Whole(all) => head.followed_by(all.blocks().iter().map(|b| b.rendered(flavour))),
        Content::Picked(some) => {
            for resource in some {
                render(resource, flavour, &mut head.0);
            }
            head.followed_by(std::iter::empty())
        }
    }
}
