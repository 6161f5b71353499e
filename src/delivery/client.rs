//! What people see of one stream: its row in the status, its metrics, its lines in the log. It decides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};
use tonic::Code;

use crate::delivery::metrics::{DeliveryMetrics, Limit};
use crate::resource::legacy;
use crate::runtime::status::{Status, WatchStatus};
use crate::security::peer::Peer;
use crate::session::Event;
use crate::session::message::{Node, Nonce, Response, Target};

/// Of what a client says, so much is shown, in characters.
const SHOWN: usize = 256;
/// Said to who watches the log of a Pilot that does not become ready.
const NOT_SERVED: &str = "there will never be anything in this collection, and a Pilot 1.4 waits for it: take \
                          subscribedResources: [SERVICE_REGISTRY] out of its configSources, services come as ServiceEntries";

/// One open stream; its row lives as long as this.
#[derive(Debug)]
pub(super) struct Client {
    id: u64,
    peer: SocketAddr,
    /// The first of its verified names.
    identity: Option<String>,
    wire: &'static str,
    node: Option<String>,
    status: Arc<Status>,
    metrics: Arc<DeliveryMetrics>,
    /// Responses that are not settled; at most one for each watch.
    sent: BTreeMap<Nonce, Sent>,
    /// How many resources it did not get, by the name that it asked under.
    left_out: BTreeMap<Arc<str>, usize>,
    closed: bool,
}

/// A response that is neither acknowledged nor refused.
#[derive(Debug)]
struct Sent {
    at: Instant,
    asked: Arc<str>,
    /// Whether the log has wondered about it.
    late: bool,
}

impl Client {
    pub(super) fn new(
        status: Arc<Status>,
        metrics: Arc<DeliveryMetrics>,
        peer: &Peer,
        wire: &'static str,
    ) -> Self {
        let identities: Vec<String> = peer.identities.iter().map(|name| shown(&name.to_string())).collect();
        let identity = identities.first().cloned();
        let id = status.add_client(Some(peer.address), identities, wire);
        metrics.opened();
        Self {
            id,
            peer: peer.address,
            identity,
            wire,
            node: None,
            status,
            metrics,
            sent: BTreeMap::new(),
            left_out: BTreeMap::new(),
            closed: false,
        }
    }

    /// A request came; the first one may say who asks.
    pub(super) fn requested(&mut self, node: Option<&Node>) {
        self.metrics.requested(self.wire);
        if self.node.is_none() {
            let name = node.map(|n| shown(&n.id)).unwrap_or_default();
            let (peer, wire, identity) = (self.peer(), self.wire, self.identity.as_deref());
            tracing::info!(client = self.id, peer, identity, wire, node = name, "stream opened");
            self.status.client(self.id, |c| c.node.clone_from(&name));
            self.node = Some(name);
        }
    }

    /// What the request turned out to be.
    pub(super) fn happened(&mut self, asked: &str, target: Target, event: Event) {
        match event {
            Event::Subscribed => {
                if legacy::is_synthetic(asked) {
                    tracing::warn!(client = self.id, peer = self.peer(), asked, "{NOT_SERVED}");
                }
                self.watch(asked, target, |_| {});
            }
            Event::Acknowledged { nonce, version } => {
                if let Some(sent) = self.sent.remove(&nonce) {
                    self.metrics.acknowledged(target, sent.at.elapsed().as_secs_f64());
                }
                tracing::debug!(client = self.id, asked, %version, "acknowledged");
                self.watch(asked, target, |w| {
                    w.acknowledged = Some(version);
                    w.acknowledged_at = Some(SystemTime::now());
                });
            }
            Event::Refused { nonce, version, refusal } => {
                self.sent.remove(&nonce);
                self.metrics.refused(target, refusal.code);
                let text = shown(&refusal.message);
                let (peer, node) = (self.peer(), self.node.as_deref().unwrap_or_default());
                tracing::warn!(client = self.id, peer, node, asked, %version, code = refusal.code, "refused: {text}");
                let code = tonic::Code::from_i32(refusal.code);
                let why = format!("{text} (code {}, {code:?})", refusal.code);
                self.watch(asked, target, |w| w.nack = Some(why));
            }
            Event::Stale => {
                tracing::debug!(client = self.id, asked, "about a response that was settled or never sent")
            }
            Event::Ignored => {}
        }
    }

    /// A response was handed to the connection.
    pub(super) fn sent(&mut self, response: &Response, bytes: usize) {
        let Response { asked, target, nonce, version, left_out, .. } = response;
        self.metrics.pushed(self.wire, *target, bytes);
        let sent = Sent { at: Instant::now(), asked: Arc::clone(asked), late: false };
        self.sent.insert(*nonce, sent);
        tracing::debug!(client = self.id, asked = &**asked, %version, bytes, "sent");
        if self.left_out.insert(Arc::clone(asked), *left_out).unwrap_or(0) != *left_out {
            let (peer, asked) = (self.peer(), &**asked);
            tracing::info!(
                client = self.id,
                peer,
                asked,
                left_out,
                "its release would refuse some resources"
            );
        }
        self.watch(asked, *target, |w| {
            w.sent = Some(*version);
            w.nack = None;
        });
    }

    /// Returns when a response has been waiting for `limit` to be acknowledged, having said so; each once. Never, without a
    /// limit. It decides nothing: an acknowledgement may come as late as it likes.
    pub(super) async fn late(&mut self, limit: Option<Duration>) {
        let oldest = self.sent.iter_mut().filter(|(_, s)| !s.late).min_by_key(|(_, s)| s.at);
        let (Some(limit), Some((_, sent))) = (limit, oldest) else { return std::future::pending().await };
        sleep_until(sent.at + limit).await;
        sent.late = true;
        let asked = Arc::clone(&sent.asked);
        self.metrics.reached(Limit::AcknowledgeWarning);
        let (peer, node) = (self.peer(), self.node.as_deref().unwrap_or_default());
        tracing::warn!(client = self.id, peer, node, asked = &*asked, after = ?limit, "not acknowledged yet: is the client stuck?");
    }

    /// The stream has ended, and why; with a code if what was sent last did not arrive.
    pub(super) fn closed(mut self, why: &str, not_sent: Option<Code>) {
        if let Some(code) = not_sent {
            self.metrics.not_sent(code);
        }
        self.say_closed(why);
    }

    fn say_closed(&mut self, why: &str) {
        self.closed = true;
        let (peer, why) = (self.peer(), shown(why));
        match &self.node {
            Some(node) => {
                tracing::info!(client = self.id, peer, wire = self.wire, node, why, "stream closed")
            }
            None => {
                tracing::debug!(client = self.id, peer, wire = self.wire, why, "closed before any request")
            }
        }
    }

    fn watch(&self, asked: &str, target: Target, change: impl FnOnce(&mut WatchStatus)) {
        self.status.client(self.id, |client| {
            if !client.watches.contains_key(asked) {
                let collection = match target {
                    Target::Known(collection) => Some(collection.plural().to_owned()),
                    Target::Empty | Target::Unknown | Target::Silent => None,
                };
                client.watches.insert(asked.to_owned(), WatchStatus { collection, ..WatchStatus::default() });
            }
            if let Some(watch) = client.watches.get_mut(asked) {
                change(watch);
            }
        });
    }

    fn peer(&self) -> String {
        self.peer.to_string()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.closed {
            self.say_closed("cut off");
        }
        self.metrics.closed();
        self.status.remove_client(self.id);
    }
}

/// A client's own words, fit for a line of a log.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
