//! How fast one stream is read.
//!
//! A request is charged after it was taken in; while there is nothing to pay with, the next one is not read. So nothing is
//! lost, the client is told by HTTP/2's own flow control, and an acknowledgement, which is free, waits no longer than the
//! request before it. A wait always ends by time alone, whatever the client does: nothing can deadlock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::limit::peers::{PeerKey, PerPeer};
use crate::limit::rate::{Bucket, Rate};

/// A stream whose every request has had to wait for so long is too fast for good.
pub const EXCESS: Duration = Duration::from_secs(30);
/// Streams of one peer wait for the same allowance, and only one of them gets it; the others need not wake up for each.
const PEER_PAUSE: Duration = Duration::from_millis(50);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// Paid.
    Paid,
    /// The next one has to wait, by the rate of this stream.
    Stream,
    /// The next one has to wait, by the rate of all streams of the peer. It never ends a stream: which of them is to blame
    /// cannot be told, and each has its own rate.
    Peer,
    /// The stream is too fast for good, and should end.
    Excess,
}

/// The rates that hold for one stream.
#[derive(Debug)]
pub struct Throttle {
    own: Option<Bucket>,
    peers: Option<(Arc<PerPeer>, PeerKey)>,
    /// What the last request has not paid yet.
    owes_own: bool,
    owes_peer: bool,
    until: Option<Instant>,
    /// Since when every request has had to wait.
    since: Option<Instant>,
}

impl Throttle {
    /// For a stream of `peer` that may ask at `rate`, and all of them together at that of `peers`.
    #[must_use]
    pub fn new(rate: Option<Rate>, peers: Option<Arc<PerPeer>>, peer: PeerKey) -> Self {
        let (own, peers) = (rate.map(Bucket::new), peers.map(|p| (p, peer)));
        Self { own, peers, owes_own: false, owes_peer: false, until: None, since: None }
    }

    /// A request was taken in that is not free.
    pub fn charge(&mut self) -> Charged {
        (self.owes_own, self.owes_peer) = (self.own.is_some(), self.peers.is_some());
        let charged = self.settle();
        if charged != Charged::Stream {
            self.since = None;
            return charged;
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) > EXCESS { Charged::Excess } else { charged }
    }

    /// Whether nothing is to be read.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.until.is_some()
    }

    /// Returns when something may be read again; never, while it may.
    pub async fn over(&mut self) {
        let Some(mut until) = self.until else { return std::future::pending().await };
        loop {
            sleep_until(until).await;
            self.settle();
            match self.until {
                Some(later) => until = later,
                None => return,
            }
        }
    }

    /// Pays what is owed as far as that is possible now.
    fn settle(&mut self) -> Charged {
        self.until = None;
        if let Some(own) = self.own.as_ref().filter(|_| self.owes_own) {
            if let Err(wait) = own.take() {
                self.until = Some(Instant::now() + wait);
                return Charged::Stream;
            }
            self.owes_own = false;
        }
        if let Some((peers, peer)) = self.peers.as_ref().filter(|_| self.owes_peer) {
            if let Err(wait) = peers.take(peer) {
                self.until = Some(Instant::now() + wait.max(PEER_PAUSE));
                return Charged::Peer;
            }
            self.owes_peer = false;
        }
        Charged::Paid
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: PeerKey = PeerKey::V4(Ipv4Addr::LOCALHOST);

    fn alone(per_second: u32, burst: u32) -> Throttle {
        Throttle::new(Rate::new(per_second, burst), None, PEER)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_too_fast_is_read_at_its_rate() {
        let (mut throttle, start) = (alone(10, 5), Instant::now());
        for _ in 0..25 {
            if throttle.charge() == Charged::Stream {
                assert!(throttle.is_waiting());
                throttle.over().await;
            }
            assert!(!throttle.is_waiting());
        }
        assert_eq!(start.elapsed().as_millis() / 100, 20, "5 at once, and 20 at 10 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_outlives_whoever_gave_up_waiting() {
        let mut throttle = alone(1, 1);
        assert_eq!((throttle.charge(), throttle.charge()), (Charged::Paid, Charged::Stream));
        for _ in 0..3 {
            // As in the loop of a stream, when something else happens first.
            assert!(tokio::time::timeout(Duration::from_millis(300), throttle.over()).await.is_err());
        }
        let start = Instant::now();
        throttle.over().await;
        assert_eq!(start.elapsed().as_millis() / 10, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_excess_that_lasts_is_told_to_end() {
        let (mut throttle, start) = (alone(10, 5), Instant::now());
        loop {
            match throttle.charge() {
                Charged::Excess => break,
                _ if throttle.is_waiting() => throttle.over().await,
                _ => {}
            }
        }
        let took = start.elapsed();
        assert!(took > EXCESS && took < EXCESS + Duration::from_secs(1), "{took:?}");

        let (mut throttle, start) = (alone(10, 5), Instant::now());
        while start.elapsed() < 10 * EXCESS {
            // Ten at once and a second of nothing: too fast for a moment, again and again, and not for good.
            for _ in 0..10 {
                assert_ne!(throttle.charge(), Charged::Excess);
                if throttle.is_waiting() {
                    throttle.over().await;
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn streams_of_a_peer_share_its_rate_and_none_is_told_to_end() {
        let peers = Arc::new(PerPeer::new(Rate::new(10, 10).unwrap()));
        let one = || Throttle::new(Rate::new(1000, 1000), Some(Arc::clone(&peers)), PEER);
        let (start, mut streams) = (Instant::now(), tokio::task::JoinSet::new());
        for _ in 0..100 {
            let mut throttle = one();
            streams.spawn(async move {
                for _ in 0..10 {
                    assert_ne!(throttle.charge(), Charged::Excess);
                    if throttle.is_waiting() {
                        throttle.over().await;
                    }
                }
            });
        }
        while let Some(done) = streams.join_next().await {
            done.unwrap();
        }
        let took = start.elapsed().as_secs();
        assert!((99..110).contains(&took), "1,000 requests at 10 a second: {took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_no_wait() {
        let mut throttle = Throttle::new(None, None, PEER);
        assert!((0..10_000).all(|_| throttle.charge() == Charged::Paid));
    }
}
