//! What people see of one stream: its row in the status, its metrics, its lines in the log. It decides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::delivery::metrics::DeliveryMetrics;
use crate::runtime::status::{Status, WatchStatus};
use crate::session::Event;
use crate::session::message::{Node, Nonce, Response, Target};

/// Of what a client says, so much is shown, in characters.
const SHOWN: usize = 256;

/// One open stream; its row lives as long as this.
#[derive(Debug)]
pub(super) struct Client {
    id: u64,
    peer: Option<SocketAddr>,
    wire: &'static str,
    node: Option<String>,
    status: Arc<Status>,
    metrics: Arc<DeliveryMetrics>,
    /// When each response that is not settled went out; at most one for each watch.
    sent: BTreeMap<Nonce, Instant>,
    closed: bool,
}

impl Client {
    pub(super) fn new(
        status: Arc<Status>,
        metrics: Arc<DeliveryMetrics>,
        peer: Option<SocketAddr>,
        wire: &'static str,
    ) -> Self {
        let id = status.add_client(peer, wire);
        Self { id, peer, wire, node: None, status, metrics, sent: BTreeMap::new(), closed: false }
    }

    /// A request came; the first one may say who asks.
    pub(super) fn requested(&mut self, node: Option<&Node>) {
        self.metrics.requested(self.wire);
        if self.node.is_none() {
            let name = node.map(|n| shown(&n.id)).unwrap_or_default();
            tracing::info!(
                client = self.id,
                peer = self.peer(),
                wire = self.wire,
                node = name,
                "stream opened"
            );
            self.status.client(self.id, |c| c.node.clone_from(&name));
            self.node = Some(name);
        }
    }

    /// What the request turned out to be.
    pub(super) fn happened(&mut self, asked: &str, target: Target, event: Event) {
        match event {
            Event::Subscribed => self.watch(asked, target, |_| {}),
            Event::Acknowledged { nonce, version } => {
                if let Some(at) = self.sent.remove(&nonce) {
                    self.metrics.acknowledged(target, at.elapsed().as_secs_f64());
                }
                tracing::debug!(client = self.id, asked, %version, "acknowledged");
                self.watch(asked, target, |w| {
                    w.acknowledged = Some(version);
                    w.acknowledged_at = Some(SystemTime::now());
                });
            }
            Event::Refused { nonce, version, refusal } => {
                self.sent.remove(&nonce);
                self.metrics.refused(target);
                let text = shown(&refusal.message);
                let (peer, node) = (self.peer(), self.node.as_deref().unwrap_or_default());
                tracing::warn!(client = self.id, peer, node, asked, %version, code = refusal.code, "refused: {text}");
                self.watch(asked, target, |w| w.nack = Some(text));
            }
            Event::Stale => {
                tracing::debug!(client = self.id, asked, "about a response that was settled or never sent")
            }
            Event::Ignored => {}
        }
    }

    /// A response was handed to the connection.
    pub(super) fn sent(&mut self, response: &Response, bytes: usize) {
        let Response { asked, target, nonce, version, .. } = response;
        self.metrics.pushed(self.wire, *target, bytes);
        self.sent.insert(*nonce, Instant::now());
        tracing::debug!(client = self.id, asked = &**asked, %version, bytes, "sent");
        self.watch(asked, *target, |w| {
            w.sent = Some(*version);
            w.nack = None;
        });
    }

    /// The stream has ended, and why.
    pub(super) fn closed(&mut self, why: &str) {
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
                    Target::Unknown | Target::Silent => None,
                };
                client.watches.insert(asked.to_owned(), WatchStatus { collection, ..WatchStatus::default() });
            }
            if let Some(watch) = client.watches.get_mut(asked) {
                change(watch);
            }
        });
    }

    fn peer(&self) -> String {
        self.peer.map(|p| p.to_string()).unwrap_or_default()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.closed {
            self.closed("cut off");
        }
        self.status.remove_client(self.id);
    }
}

/// A client's own words, fit for a line of a log.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
