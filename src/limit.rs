//! How much one peer may take of what all share: values, rates and counts. It knows no stream and decides nothing about
//! content; whoever owns a stream or a socket asks it.
//!
//! Time is tokio's, so that a test can pause it. What is kept for each peer is bounded ([`MAX_PEERS`]) and forgotten as
//! soon as it says nothing that a peer never seen before would not get as well.

mod peers;
mod rate;
mod seats;
mod seldom;
mod throttle;

use std::time::Duration;

pub use self::peers::{MAX_PEERS, PeerKey, PerPeer};
pub use self::rate::Rate;
pub use self::seats::{Full, Seat, Seats};
pub use self::seldom::Seldom;
pub use self::throttle::{Charged, EXCESS, Throttle};

/// What peers may take. `None`: as much as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams that may be open, over all listeners.
    pub streams: usize,
    /// Of these, streams of one verified identity.
    pub streams_per_identity: Option<usize>,
    /// How fast one peer (an identity, or else an address) may open streams.
    pub stream_opens: Option<Rate>,
    /// How fast one stream may ask. Acknowledging what we sent is not asking.
    pub requests: Option<Rate>,
    /// How fast all streams of one peer together may ask.
    pub requests_per_peer: Option<Rate>,
    /// The largest message that is received, in bytes.
    pub message_size: usize,
    /// Names that nobody knows which a stream may watch.
    pub unknown_collections: usize,
    /// How long a client may take to read a piece (256 KiB at most) of what it is sent.
    pub read_timeout: Option<Duration>,
    /// How long an open stream may ask for nothing at all.
    pub first_request_timeout: Option<Duration>,
    /// How long an acknowledgement may take before the log wonders.
    pub acknowledge_warning: Option<Duration>,
}

impl Default for Limits {
    /// No control plane meets any of them, nor do 1,000 that come back at once from behind one address: each opens a stream
    /// or two and asks for 20 collections.
    fn default() -> Self {
        Self {
            streams: 10_000,
            streams_per_identity: None,
            stream_opens: Rate::new(200, 4000),
            requests: Rate::new(50, 200),
            requests_per_peer: Rate::new(2000, 50_000),
            // A delta client that comes back names all it holds: 10 MB for 100,000 resources.
            message_size: 16 << 20,
            // Every Istio so far asks for at most 16 kinds over xDS; newer ones bring a few that we do not know yet.
            unknown_collections: 64,
            read_timeout: Some(Duration::from_secs(120)),
            first_request_timeout: Some(Duration::from_secs(30)),
            acknowledge_warning: Some(Duration::from_secs(120)),
        }
    }
}
