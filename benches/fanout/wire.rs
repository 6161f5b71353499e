//! What clients of either wire say, and how much of an answer they understand.

use bytes::Bytes;
use chandler::proto::core::Node;
use chandler::proto::discovery::{DiscoveryRequest, DiscoveryResponse};
use chandler::proto::mcp::{RequestResources, Resources, SinkNode};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

/// As istiod 1.18.7 names it; ours and go-control-plane take any.
pub(crate) const TYPE_URL: &str = "networking.istio.io/v1alpha3/ServiceEntry";
const COLLECTION: &str = "istio/networking/v1alpha3/serviceentries";
/// Within so many bytes of an answer of ours are its version and its nonce.
pub(crate) const HEAD: usize = 512;

/// How a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Xds,
    Mcp,
}

impl Wire {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Xds => "xds",
            Self::Mcp => "mcp",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        if name == "mcp" { Self::Mcp } else { Self::Xds }
    }

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Xds => "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
            Self::Mcp => "/istio.mcp.v1alpha1.ResourceSource/EstablishResourceStream",
        }
    }

    /// What an istiod asks of a config source and of another istiod, or a Pilot of a Galley.
    pub(crate) fn request(self) -> Vec<u8> {
        match self {
            Self::Xds => {
                let generator = Value { kind: Some(Kind::StringValue("api".into())) };
                let node = Node {
                    id: "sidecar~10.0.0.1~bench.istio-system~istio-system.svc.cluster.local".into(),
                    metadata: Some(Struct { fields: [("GENERATOR".to_owned(), generator)].into() }),
                    ..Node::default()
                };
                let type_url = TYPE_URL.to_owned();
                DiscoveryRequest { node: Some(node), type_url, ..DiscoveryRequest::default() }.encode_to_vec()
            }
            Self::Mcp => {
                let sink_node = Some(SinkNode { id: "bench".into(), ..SinkNode::default() });
                let collection = COLLECTION.to_owned();
                RequestResources { sink_node, collection, ..RequestResources::default() }.encode_to_vec()
            }
        }
    }

    /// The acknowledgement of an answer of ours that begins like this.
    pub(crate) fn acknowledge(self, head: &[u8]) -> Vec<u8> {
        let nonce = string(head, 5);
        match self {
            Self::Xds => DiscoveryRequest {
                version_info: string(head, 1),
                type_url: TYPE_URL.into(),
                response_nonce: nonce,
                ..DiscoveryRequest::default()
            }
            .encode_to_vec(),
            Self::Mcp => {
                let collection = COLLECTION.to_owned();
                RequestResources { collection, response_nonce: nonce, ..RequestResources::default() }
                    .encode_to_vec()
            }
        }
    }

    /// How many resources an answer has.
    pub(crate) fn resources(self, answer: Bytes) -> usize {
        match self {
            Self::Xds => DiscoveryResponse::decode(answer).unwrap().resources.len(),
            Self::Mcp => Resources::decode(answer).unwrap().resources.len(),
        }
    }
}

/// The string in that field, which stands before all resources.
fn string(mut head: &[u8], field: u32) -> String {
    loop {
        let (number, _) = prost::encoding::decode_key(&mut head).unwrap();
        let length = usize::try_from(prost::encoding::decode_varint(&mut head).unwrap()).unwrap();
        let (value, rest) = head.split_at(length);
        if number == field {
            return String::from_utf8(value.to_vec()).unwrap();
        }
        head = rest;
    }
}
