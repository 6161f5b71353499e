//! The door through which a fuzzer holds a conversation: bytes as they arrive, through decoders, session and encoders.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::delivery::ads_delta::AdsDelta;
use crate::delivery::ads_sotw::AdsSotw;
use crate::delivery::mcp::Mcp;
use crate::delivery::{Protocol, StreamSettings};
use crate::model::labels::Labels;
use crate::proto::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use crate::proto::mcp::Resources;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
use crate::resource::legacy::{Fitness, Pilot, Takers};
use crate::resource::snapshot::{Changes, CollectionSnapshot, Snapshot};

/// The first byte chooses the wire: 0x80 the legacy one, else its lowest bit. Then steps: a byte below 0xf0 is the length
/// of a request that follows, one from there on is another snapshot, and the end of a wait.
pub fn conversation(bytes: &[u8]) {
    match bytes.split_first() {
        Some((wire, steps)) if wire & 0x80 != 0 => talk::<Mcp>(steps, |b| Resources::decode(b).map(harmless)),
        Some((wire, steps)) if wire & 1 == 0 => {
            talk::<AdsSotw>(steps, |b| DiscoveryResponse::decode(b).map(|r| r.nonce));
        }
        Some((_, steps)) => talk::<AdsDelta>(steps, |b| DeltaDiscoveryResponse::decode(b).map(|r| r.nonce)),
        None => {}
    }
}

/// The nonce of what no Pilot is hurt by.
fn harmless(r: Resources) -> String {
    for resource in &r.resources {
        let named = resource.metadata.as_ref().is_some_and(|m| {
            m.name.matches('/').count() == 1 && !m.version.is_empty() && m.create_time.is_some()
        });
        assert!(named, "a Pilot crashes without, or overlooks changes");
        assert!(
            resource.body.as_ref().is_some_and(|b| b.type_url.contains('/')),
            "a Pilot refuses all of it"
        );
    }
    assert!(r.incremental || r.removed_resources.is_empty());
    r.nonce
}

fn talk<P: Protocol>(mut steps: &[u8], decode: impl Fn(Bytes) -> Result<String, prost::DecodeError>) {
    let mut session = P::session(&StreamSettings::default());
    let mut snapshot = Snapshot::default();
    while let Some((step, rest)) = steps.split_first() {
        if *step < 0xf0 {
            let (message, rest) = rest.split_at(rest.len().min(usize::from(*step)));
            steps = rest;
            let Ok(message) = P::In::decode(message) else { continue };
            let Ok(request) = P::decode(message) else { continue };
            if session.on_request(request).is_err() {
                return; // the stream ends
            }
        } else {
            steps = rest;
            snapshot = next(snapshot, *step);
            session.on_snapshot(Arc::new(snapshot.clone()));
            session.waited();
        }
        for _ in 0..64 {
            let Some(response) = session.next_response(usize::MAX) else { break };
            let Ok(frames) = P::encode(&response) else { break };
            let nonce = decode(frames.to_message());
            assert_eq!(nonce.ok(), Some(response.nonce.to_string()), "what we send can be read");
        }
    }
}

/// A few resources that come, change and go.
fn next(snapshot: Snapshot, step: u8) -> Snapshot {
    let resource = |n: u8| {
        let id =
            ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new("n", &n.to_string()) };
        let body = Bytes::copy_from_slice(&[step; 3]);
        let new = if n == 0 { Takers::From(Pilot::V1_5) } else { Takers::ALL };
        let sealed = Encoded::new(id, Labels::EMPTY, Labels::EMPTY, body, TopologyHash::default());
        Arc::new(sealed.fit(Fitness::of(new)))
    };
    let changes: Changes =
        (0..4).map(|n| (resource(n).id.name.clone(), (step >> n & 1 == 1).then(|| resource(n)))).collect();
    let empty = CollectionSnapshot::default();
    let content = snapshot.get(Collection::ServiceEntry).map_or(&empty, |c| c).apply(&changes);
    snapshot.with(Collection::ServiceEntry, Arc::new(content))
}
