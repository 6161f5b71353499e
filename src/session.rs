//! The MCP and xDS conversation of one stream, without a stream and without a clock.
//!
//! Requests and snapshots go in, responses come out; whoever owns the stream decides when there is room for one. All
//! wires speak through it: what they call things is translated before and after, in `delivery`.
//!
//! It holds these rules, each of them a test:
//! - *Initial* means: not yet asked on this stream. The nonce of a first request means nothing.
//! - At most one response per watch is unacknowledged; what changes meanwhile waits, and only the newest is sent.
//! - A NACK clears what was pending, keeps what was acknowledged, and is not answered with the same version again.
//! - A collection that is not complete is answered with silence; a name that nobody knows, with emptiness.
//! - What a client may make it remember is bounded; beyond that the stream ends with a [`ProtocolError`].
//! - A legacy client is told what changed only by the answer to a request that asked for that, and never before it was
//!   told the whole, or has said what it holds.

mod generation;
mod istiod;
mod ledger;
pub mod message;
mod names;
mod subscription;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resource::encoded::Version;
use crate::resource::legacy::Pilot;
use crate::resource::snapshot::{CollectionSnapshot, Snapshot};
use crate::session::generation::Generation;
use crate::session::ledger::Verdict;
use crate::session::message::{Nonce, Refusal, Request, Response, Target};
use crate::session::watch::{Watch, Wholes};

/// Names that nobody knows which a stream may watch unless something else is said. Every Istio so far asks for at most 16
/// kinds; newer ones bring a few that we do not know yet.
pub const MAX_UNKNOWN: usize = 64;
/// Watches that a stream may have, known and unknown: every kind at every version that any Istio used, and the unknown.
pub const MAX_WATCHES: usize = 128;
/// Longer than any type URL or collection name.
pub const MAX_ASKED_BYTES: usize = 256;
/// Bytes of resource names that a stream may make us remember, over all watches: 200,000 names of 100 bytes.
pub const MAX_NAME_BYTES: usize = 32 << 20;

/// Why a conversation cannot go on. The stream ends; the text tells the peer what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A request that makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// A peer that asks for more than a stream may hold.
    #[error("{0}")]
    TooMuch(String),
}

/// What a request turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A first request, or one that changes what is asked for.
    Subscribed,
    /// The response `nonce` was applied.
    Acknowledged {
        /// Which response.
        nonce: Nonce,
        /// What it carried.
        version: Version,
    },
    /// The response `nonce` was not applied.
    Refused {
        /// Which response.
        nonce: Nonce,
        /// What it carried.
        version: Version,
        /// In the client's words.
        refusal: Refusal,
    },
    /// It concerns a response that another has replaced, or that was never sent. Nothing changed.
    Stale,
    /// It asks for what is never answered.
    Ignored,
}

/// The conversation on one stream.
#[derive(Debug, Default)]
pub struct Session {
    snapshot: Arc<Snapshot>,
    /// By the name that the client asked under: that name is answered.
    watches: BTreeMap<Arc<str>, Watch>,
    unknown: usize,
    max_unknown: MaxUnknown,
    /// What is served under a name that nobody knows.
    nothing: Arc<CollectionSnapshot>,
    generation: Generation,
    last_nonce: u64,
}

#[derive(Debug, Clone, Copy)]
struct MaxUnknown(usize);

impl Default for MaxUnknown {
    fn default() -> Self {
        Self(MAX_UNKNOWN)
    }
}

impl Session {
    /// One over xDS in which the client may watch so many names that nobody knows.
    #[must_use]
    pub fn bounded(max_unknown: usize) -> Self {
        Self { max_unknown: MaxUnknown(max_unknown), ..Self::default() }
    }

    /// The same over the legacy protocol, with a client of which nothing is known but that it is not older than `oldest`.
    #[must_use]
    pub fn legacy(max_unknown: usize, oldest: Pilot) -> Self {
        Self { generation: Generation::legacy(oldest), ..Self::bounded(max_unknown) }
    }

    /// Whether the client watches `asked` already.
    #[must_use]
    pub fn watches(&self, asked: &str) -> bool {
        self.watches.contains_key(asked)
    }

    /// Takes in a request.
    ///
    /// # Errors
    /// The client asks for more than a stream may hold; the session is not to be used any further.
    pub fn on_request(&mut self, request: Request) -> Result<Event, ProtocolError> {
        self.generation.on_request(&request);
        if request.target == Target::Silent {
            return Ok(Event::Ignored);
        }
        let first = !self.watches.contains_key(&request.asked);
        let legacy = self.generation.is_legacy();
        if first && legacy && !request.nonce.is_empty() {
            return Ok(Event::Stale); // about a collection that was never asked for
        }
        if first {
            self.admit(&request)?;
        }
        let wholes = if legacy { Wholes::Replace } else { Wholes::Add };
        let fresh = || Watch::new(&request, wholes);
        let watch = self.watches.entry(Arc::clone(&request.asked)).or_insert_with(fresh);
        let verdict =
            if first { Verdict::None } else { watch.judge(&request.nonce, request.refusal.is_some()) };
        if legacy && verdict == Verdict::Stale {
            return Ok(Event::Stale); // what it asks for concerns that response as well
        }
        let Request { nonce, refusal, mode, selection, held, .. } = request;
        let changed = watch.select(mode, selection, nonce.is_empty());
        if first {
            watch.claim(held);
        }
        let names: usize = self.watches.values().map(Watch::name_bytes).sum();
        if names > MAX_NAME_BYTES {
            return Err(ProtocolError::TooMuch(format!(
                "more than {MAX_NAME_BYTES} bytes of resource names on one stream: subscribe to \"*\" instead"
            )));
        }
        Ok(match verdict {
            Verdict::Acknowledged(nonce, version) => {
                self.generation.on_acknowledgement();
                Event::Acknowledged { nonce, version }
            }
            Verdict::Refused(nonce, version) => {
                Event::Refused { nonce, version, refusal: refusal.unwrap_or_default() }
            }
            Verdict::Stale if !changed => Event::Stale,
            Verdict::None | Verdict::Stale => Event::Subscribed,
        })
    }

    /// Takes in what is served from now on.
    pub fn on_snapshot(&mut self, next: Arc<Snapshot>) {
        for watch in self.watches.values_mut() {
            watch.on_snapshot(&self.snapshot, &next);
        }
        self.snapshot = next;
    }

    /// The next response that is due, counted as sent; `None` until a request or a snapshot makes one due.
    ///
    /// `largest` is in bytes: whole collections beyond it stay due, for a caller that has just sent one.
    pub fn next_response(&mut self, largest: usize) -> Option<Response> {
        for (asked, watch) in &mut self.watches {
            let content = match watch.target() {
                Target::Known(collection) => match self.snapshot.get(collection) {
                    Some(content) => content,
                    None => continue, // silence is safe, emptiness is not
                },
                Target::Empty | Target::Unknown | Target::Silent => &self.nothing,
            };
            let Some(view) = self.generation.view(content) else { continue };
            if let Some(answer) = watch.answer(&view, largest) {
                self.last_nonce += 1;
                let nonce = Nonce(self.last_nonce);
                watch.sent(nonce, &answer, &view);
                let asked = Arc::clone(asked);
                let left_out = content.len() - view.len();
                let versions = self.generation.versions();
                return Some(answer.into_response(asked, watch.target(), nonce, versions, left_out));
            }
        }
        None
    }

    /// Whether something is kept back until more is known of the client. It ends with an acknowledgement, or with
    /// [`Session::waited`].
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.watches.values().filter(|w| w.owes()).any(|w| match w.target() {
            Target::Known(c) => self.snapshot.get(c).is_some_and(|s| self.generation.view(s).is_none()),
            Target::Empty | Target::Unknown | Target::Silent => false,
        })
    }

    /// The client has had the time to ask for all that it asks for at once.
    pub fn waited(&mut self) {
        self.generation.waited();
    }

    fn admit(&mut self, request: &Request) -> Result<(), ProtocolError> {
        if request.asked.len() > MAX_ASKED_BYTES {
            let what =
                format!("a type URL of {} bytes: none is longer than {MAX_ASKED_BYTES}", request.asked.len());
            return Err(ProtocolError::Malformed(what));
        }
        if self.watches.len() >= MAX_WATCHES {
            return Err(ProtocolError::TooMuch(format!(
                "more than {MAX_WATCHES} types on one stream: open another"
            )));
        }
        if request.target == Target::Unknown {
            let MaxUnknown(most) = self.max_unknown;
            if self.unknown >= most {
                return Err(ProtocolError::TooMuch(format!(
                    "more than {most} unknown types on one stream: ask for Istio's own"
                )));
            }
            self.unknown += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod legacy_tests;
#[cfg(test)]
mod model_client;
#[cfg(test)]
mod model_pilot;
#[cfg(test)]
mod tests;
