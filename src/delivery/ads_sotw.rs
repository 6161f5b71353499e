//! `StreamAggregatedResources`: every response is the whole state. All that a stock istiod speaks.

use crate::delivery::Protocol;
use crate::delivery::ads;
use crate::delivery::body::{Frames, Head, TooLarge};
use crate::proto::discovery::DiscoveryRequest;
use crate::resource::wire::{Flavour, put_string};
use crate::session::ProtocolError;
use crate::session::message::{Mode, Request, Response, Selection, Versions};

/// The wire `xds`.
#[derive(Debug)]
pub(super) struct AdsSotw;

impl Protocol for AdsSotw {
    type In = DiscoveryRequest;
    const WIRE: &'static str = "xds";

    /// `version_info` is not read: the nonce says which response is meant, and istiod leaves it empty when it comes back.
    fn decode(message: DiscoveryRequest) -> Result<Request, ProtocolError> {
        Ok(Request {
            target: ads::target(&message.type_url)?,
            asked: message.type_url.into(),
            mode: Mode::Full,
            nonce: message.response_nonce,
            refusal: message.error_detail.map(ads::refusal),
            selection: Selection::Replace(message.resource_names),
            held: Default::default(),
            node: message.node.map(ads::node),
        })
    }

    fn encode(response: &Response) -> Result<Frames, TooLarge> {
        let mut head = Head::new();
        put_string(1, &response.version.to_string(), &mut head.0);
        put_string(4, &response.asked, &mut head.0);
        put_string(5, &response.nonce.to_string(), &mut head.0);
        ads::put_control_plane(6, &mut head);
        let flavour = match response.versions {
            Versions::Sent => Flavour::Xds,
            Versions::Withheld => Flavour::XdsUnversioned,
        };
        ads::finish(head, &response.content, flavour)
    }
}
