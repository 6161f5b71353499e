//! What a Pilot can receive, which is 4 MiB in one message unless it is started with `--mcpMaxMsgSize`, while a whole
//! collection is one message.
//!
//! A message beyond that is never seen to be refused: the stream is cancelled, and a Pilot of 1.6 or newer comes back at
//! once, for ever. So sizes are shown and warned of before they get there, and who was cut off by such messages again and
//! again gets the next one later: everything else it gets at once. Nothing is withheld for good, since nobody says how
//! much he really takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::limit::PeerKey;
use crate::resource::collection::Collection;
use crate::session::Event;
use crate::session::message::{Mode, Nonce, Response, Target};

/// What a stock Pilot receives in one message, in bytes.
pub(super) const RECEIVED: usize = 4 << 20;
/// From here on it is near: four fifths.
const NEAR: usize = RECEIVED / 5 * 4;
/// A size that moves around a bound is one crossing: it has to fall below nine tenths of the bound to be below it.
const fn well_below(bound: usize) -> usize {
    bound / 10 * 9
}
/// The first time may be anything.
const TOLERATED: u32 = 1;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A Pilot that was restarted with a larger limit is ready a minute later at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What was so long ago says nothing of the peer any more.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Peers that are remembered at a time.
const MAX_PEERS: usize = 1024;

/// Shared by all streams.
#[derive(Debug, Default)]
pub(super) struct Oversize {
    levels: Mutex<[Level; Collection::COUNT]>,
    cut: Mutex<CutOff>,
}

/// How a collection's size stands to what is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Level {
    #[default]
    Fine,
    Near,
    Beyond,
}

impl Level {
    fn of(bytes: usize, before: Self) -> Self {
        let reaches = |level: Self, bound| bytes > if before >= level { well_below(bound) } else { bound };
        if reaches(Self::Beyond, RECEIVED) {
            Self::Beyond
        } else if reaches(Self::Near, NEAR) {
            Self::Near
        } else {
            Self::Fine
        }
    }
}

/// Who was cut off by messages that were too large, how often in a row, and when last.
#[derive(Debug, Default)]
struct CutOff {
    peers: BTreeMap<PeerKey, (u32, Instant)>,
}

impl CutOff {
    fn again(&mut self, peer: &PeerKey, now: Instant) {
        self.peers.retain(|_, (_, last)| now.duration_since(*last) < REMEMBERED);
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(peer) {
            let oldest = self.peers.iter().min_by_key(|(_, (_, last))| *last).map(|(peer, _)| peer.clone());
            oldest.and_then(|peer| self.peers.remove(&peer));
        }
        let (times, last) = self.peers.entry(peer.clone()).or_insert((0, now));
        *times += 1;
        *last = now;
    }

    fn over(&mut self, peer: &PeerKey) {
        self.peers.remove(peer);
    }

    /// How long `peer` waits for the next one.
    fn pause(&self, peer: &PeerKey, now: Instant) -> Option<Duration> {
        let (times, last) = self.peers.get(peer)?;
        let further = times.checked_sub(TOLERATED + 1)?;
        let recent = now.duration_since(*last) < REMEMBERED;
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(further));
        recent.then_some(pause.min(LONGEST_PAUSE))
    }
}

impl Oversize {
    /// A whole state of `bytes` goes out; says so once for each crossing of a bound.
    fn goes_out(&self, collection: Collection, bytes: usize) {
        let (before, now) = {
            let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(level) = levels.get_mut(collection.index()) else { return };
            (std::mem::replace(level, Level::of(bytes, *level)), *level)
        };
        let limit = RECEIVED;
        match now {
            Level::Beyond if before < now => tracing::warn!(
                %collection, bytes, limit,
                "a Pilot cannot receive this unless it is started with a larger --mcpMaxMsgSize: serve it less"
            ),
            Level::Near if before < now => tracing::warn!(
                %collection, bytes, limit,
                "a Pilot will not receive much more: start it with a larger --mcpMaxMsgSize, or serve it less"
            ),
            _ if now < before => tracing::info!(%collection, bytes, limit, "a Pilot can receive this again"),
            _ => {}
        }
    }

    fn cut(&self) -> MutexGuard<'_, CutOff> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one stream has to do with it.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Oversize>,
    peer: PeerKey,
    /// What this wire's clients receive, in bytes.
    receives: usize,
    /// What was too large and is not settled.
    unsettled: Option<Nonce>,
}

impl Load {
    pub(super) fn new(shared: Arc<Oversize>, peer: PeerKey, receives: usize) -> Self {
        Self { shared, peer, receives, unsettled: None }
    }

    /// How long this client waits for more than it receives, if it does.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.shared.cut().pause(&self.peer, Instant::now())
    }

    /// What `pause` is for, in bytes.
    pub(super) fn receives(&self) -> usize {
        self.receives
    }

    pub(super) fn sent(&mut self, response: &Response, bytes: usize, metrics: &LegacyMetrics) {
        if self.receives == usize::MAX {
            return;
        }
        if let (Target::Known(collection), Mode::Full) = (response.target, response.mode) {
            metrics.sent(collection, bytes, response.left_out);
            self.shared.goes_out(collection, bytes);
        }
        if bytes > self.receives {
            self.unsettled = Some(response.nonce);
        }
    }

    pub(super) fn happened(&mut self, event: &Event) {
        if let Event::Acknowledged { nonce, .. } | Event::Refused { nonce, .. } = event
            && self.unsettled.take_if(|n| n == nonce).is_some()
        {
            self.shared.cut().over(&self.peer);
        }
    }

    /// The client went.
    pub(super) fn gone(&self) {
        if self.unsettled.is_some() {
            self.shared.cut().again(&self.peer, Instant::now());
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    collection: &'static str,
}

/// What is counted of the legacy wires alone.
#[derive(Debug, Default)]
pub(super) struct LegacyMetrics {
    bytes: Family<Kind, Gauge>,
    left_out: Family<Kind, Gauge>,
}

impl LegacyMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Bytes of the last whole state of a collection over legacy MCP, which is one message";
        registry.register("legacy_response_bytes", help, self.bytes.clone());
        let help = "What a Pilot receives in one message unless it is started with --mcpMaxMsgSize";
        let limit: Gauge = Gauge::default();
        limit.set(i64::try_from(RECEIVED).unwrap_or(i64::MAX));
        registry.register("legacy_response_limit_bytes", help, limit);
        let help = "Resources that were left out of it because the client's release would refuse them";
        registry.register("legacy_left_out_resources", help, self.left_out.clone());
    }

    fn sent(&self, collection: Collection, bytes: usize, left_out: usize) {
        let kind = Kind { collection: collection.plural() };
        self.bytes.get_or_create(&kind).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.left_out.get_or_create(&kind).set(i64::try_from(left_out).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::resource::encoded::Version;

    fn peer(n: u32) -> PeerKey {
        PeerKey::V4(Ipv4Addr::from_bits(n))
    }

    #[test]
    fn a_size_that_moves_around_a_bound_crosses_it_once() {
        let sizes = [0, NEAR, NEAR + 1, NEAR - 1, NEAR + 1, RECEIVED, RECEIVED + 1, RECEIVED - 1, NEAR, 0];
        let mut level = Level::Fine;
        let levels = sizes.map(|bytes| {
            level = Level::of(bytes, level);
            level
        });
        use Level::{Beyond, Fine, Near};
        assert_eq!(levels, [Fine, Fine, Near, Near, Near, Near, Beyond, Beyond, Near, Fine]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_is_cut_off_again_and_again_waits_and_ever_longer() {
        let mut cut = CutOff::default();
        let (bad, good) = (peer(1), peer(2));
        let pauses: Vec<_> = (0..10)
            .map(|_| {
                cut.again(&bad, Instant::now());
                cut.pause(&bad, Instant::now()).map_or(0, |p| p.as_secs())
            })
            .collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(cut.pause(&good, Instant::now()), None);
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(cut.pause(&bad, Instant::now()), None, "long ago");
        cut.again(&bad, Instant::now());
        assert_eq!(cut.pause(&bad, Instant::now()), None, "the first time may be anything");
        cut.again(&bad, Instant::now());
        cut.over(&bad);
        assert_eq!(cut.pause(&bad, Instant::now()), None, "it took one");
    }

    #[tokio::test(start_paused = true)]
    async fn few_peers_are_remembered_and_the_latest_at_that() {
        let mut cut = CutOff::default();
        for n in 0..3000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            cut.again(&peer(n), Instant::now());
        }
        assert_eq!(cut.peers.len(), MAX_PEERS);
        assert!(cut.peers.contains_key(&peer(2999)) && !cut.peers.contains_key(&peer(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_counts_only_if_it_goes_with_too_much_unsettled() {
        let shared = Arc::new(Oversize::default());
        let load = || Load::new(Arc::clone(&shared), peer(1), RECEIVED);
        let metrics = LegacyMetrics::default();
        let response = |nonce| Response {
            asked: "x".into(),
            target: Target::Known(Collection::ServiceEntry),
            mode: Mode::Full,
            nonce: Nonce::of(nonce),
            version: Version::default(),
            versions: crate::session::message::Versions::Sent,
            content: crate::session::message::Content::Picked(Vec::new()),
            removed: Vec::new(),
            left_out: 0,
        };
        let go = |bytes, settle: Option<u64>| {
            let mut load = load();
            load.sent(&response(7), bytes, &metrics);
            if let Some(nonce) = settle {
                load.happened(&Event::Acknowledged { nonce: Nonce::of(nonce), version: Version::default() });
            }
            load.gone();
        };
        go(RECEIVED, None);
        go(RECEIVED, None);
        assert_eq!(load().pause(), None, "not too much");
        go(RECEIVED + 1, None);
        go(RECEIVED + 1, Some(6));
        assert_eq!(load().pause(), Some(FIRST_PAUSE));
        go(RECEIVED + 1, Some(7));
        assert_eq!(load().pause(), None);
    }
}
