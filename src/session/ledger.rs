//! What was sent under one watch and what became of it.

use std::sync::Arc;

use crate::resource::encoded::Version;
use crate::resource::snapshot::CollectionSnapshot;
use crate::session::message::Nonce;
use crate::session::names::Names;

/// What a client has: as much as its mode needs to tell what differs.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Of the collection, or of what was selected of it.
    pub(super) version: Version,
    /// What differences are computed against; absent where every response is the whole state anyway, so that a client
    /// that lags keeps no old content alive.
    pub(super) content: Option<Arc<CollectionSnapshot>>,
}

/// A response that is neither acknowledged nor refused.
#[derive(Debug)]
struct Pending {
    nonce: Nonce,
    carried: Held,
    /// What it told because the client waited for it.
    told: Waiting,
}

/// What a client waits to be told, whatever it has: it may have dropped it since.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// All there is.
    pub(super) everything: bool,
    /// About each of these: how it is, or that it is gone.
    pub(super) names: Names,
}

/// What a request says about what was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    None,
    /// It is about a response that was replaced, settled or never sent.
    Stale,
    /// The client has it.
    Acknowledged(Nonce, Version),
    /// The client keeps what it had.
    Refused(Nonce, Version),
}

/// What was sent under one watch.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pending: Option<Pending>,
    held: Option<Held>,
    refused: Option<Version>,
}

impl Ledger {
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// About how much memory the names that it remembers take.
    pub(super) fn name_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.told.names.bytes())
    }

    /// What the client has acknowledged.
    pub(super) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// The version that the client last objected to.
    pub(super) fn refused(&self) -> Option<Version> {
        self.refused
    }

    pub(super) fn sent(&mut self, nonce: Nonce, carried: Held, told: Waiting) {
        self.pending = Some(Pending { nonce, carried, told });
    }

    /// What a request with `nonce` decides; what a refused response told is `untold` again.
    pub(super) fn judge(&mut self, nonce: &str, refused: bool, untold: &mut Waiting) -> Verdict {
        if nonce.is_empty() {
            return Verdict::None; // asks, and is about no response
        }
        let Some(pending) = self.pending.take_if(|p| p.nonce.to_string() == nonce) else {
            return Verdict::Stale;
        };
        let version = pending.carried.version;
        if refused {
            self.refused = Some(version);
            untold.everything |= pending.told.everything;
            untold.names.extend(pending.told.names);
            return Verdict::Refused(pending.nonce, version);
        }
        self.refused = None;
        self.held = Some(pending.carried);
        Verdict::Acknowledged(pending.nonce, version)
    }

    /// What differs from `content` concerns nobody: the client has that now.
    pub(super) fn advance(&mut self, version: Version, content: &Arc<CollectionSnapshot>) {
        self.held = Some(Held { version, content: Some(Arc::clone(content)) });
    }
}
