//! A rate for each peer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use tokio::time::Instant;

use crate::limit::rate::{self, Rate, TokioClock};
use crate::security::peer::{Identity, Peer};

/// Peers of whom something is remembered at a time, for each rate: about 10 MB.
pub const MAX_PEERS: usize = 1 << 16;
/// Looking through all of them takes milliseconds, so it is done no more often than this when there are too many.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What counts as one peer: an identity that it has proven, else where it dials from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerKey {
    /// The first of its names.
    Identity(Identity),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The upper half of an IPv6 address: the lower one is free to choose for who sits in the network.
    V6(u64),
}

impl PeerKey {
    /// Of a peer.
    #[must_use]
    pub fn of(peer: &Peer) -> Self {
        if let Some(identity) = peer.identities.first() {
            return Self::Identity(identity.clone());
        }
        match peer.address.ip().to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// One rate, for each peer by itself.
pub struct PerPeer {
    rate: Rate,
    clock: TokioClock,
    limiter: RateLimiter<PeerKey, DashMapStateStore<PeerKey>, TokioClock, NoOpMiddleware<Duration>>,
    swept: Mutex<Option<Instant>>,
}

impl fmt::Debug for PerPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerPeer").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl PerPeer {
    /// Nobody has taken anything yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let clock = TokioClock::start();
        let limiter = RateLimiter::dashmap_with_clock(rate.quota(), clock.clone());
        Self { rate, clock, limiter, swept: Mutex::default() }
    }

    /// The rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one for `peer`.
    ///
    /// While more than [`MAX_PEERS`] are busy at once, nobody is held to the rate: whoever dials from so many addresses is
    /// not slowed by it anyway, and the others shall not pay for him.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, peer: &PeerKey) -> Result<(), Duration> {
        if self.limiter.len() >= MAX_PEERS && !self.make_room() {
            return Ok(());
        }
        self.limiter.check_key(peer).map_err(|not_yet| rate::wait(&not_yet, &self.clock))
    }

    /// Forgets all who would get as much if they were new. To be called now and then.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// Of how many peers something is remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.limiter.len()
    }

    /// Whether nothing is remembered of anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limiter.is_empty()
    }

    fn make_room(&self) -> bool {
        let now = Instant::now();
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_PAUSE) {
                return false;
            }
            *swept = Some(now);
        }
        self.sweep();
        self.limiter.len() < MAX_PEERS
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn from(address: &str) -> PeerKey {
        PeerKey::of(&Peer::anonymous(SocketAddr::new(address.parse().unwrap(), 4711)))
    }

    #[test]
    fn a_peer_is_its_identity_or_else_its_address() {
        let mut peer = Peer::anonymous("10.0.0.1:1".parse().unwrap());
        assert_eq!(PeerKey::of(&peer), from("10.0.0.1"), "whatever the port");
        assert_eq!(from("::ffff:10.0.0.1"), from("10.0.0.1"));
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"), "one network");
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        let name = Identity::Uri("spiffe://a/ns/b/sa/c".into());
        peer.identities = [name.clone()].into();
        assert_eq!(PeerKey::of(&peer), PeerKey::Identity(name));
    }

    #[tokio::test(start_paused = true)]
    async fn peers_do_not_pay_for_each_other() {
        let peers = PerPeer::new(Rate::new(1, 2).unwrap());
        let (a, b) = (from("10.0.0.1"), from("10.0.0.2"));
        assert_eq!((peers.take(&a), peers.take(&a)), (Ok(()), Ok(())));
        assert_eq!(peers.take(&a), Err(Duration::from_secs(1)));
        assert_eq!(peers.take(&b), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_forgotten_once_it_could_as_well_be_new() {
        let peers = PerPeer::new(Rate::new(1, 2).unwrap());
        peers.take(&from("10.0.0.1")).unwrap();
        peers.sweep();
        assert_eq!(peers.len(), 1);
        tokio::time::advance(Duration::from_secs(3)).await;
        peers.sweep();
        assert!(peers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_of_peers_is_bounded() {
        let peers = PerPeer::new(Rate::new(1, 1).unwrap());
        let all = (0..u32::try_from(MAX_PEERS).unwrap() + 100).map(|n| PeerKey::V4(Ipv4Addr::from_bits(n)));
        assert!(all.clone().all(|peer| peers.take(&peer).is_ok()));
        assert_eq!(peers.len(), MAX_PEERS);
        let first = PeerKey::V4(Ipv4Addr::from_bits(0));
        assert_eq!(peers.take(&first), Ok(()), "nobody is held to a rate that cannot be kept");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!((peers.take(&first), peers.len()), (Ok(()), 1), "there is room again");
        assert!(peers.take(&first).is_err());
    }
}
