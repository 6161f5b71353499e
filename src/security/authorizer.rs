//! May this peer come in, and may it read this collection? Pure over facts of the connection.

use std::fmt;
use std::sync::Arc;

use crate::resource::collection::Collection;
use crate::security::peer::Peer;

/// Why a peer is refused; the text goes to the peer, so it says what to do and gives nothing away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing that it showed is known here: no certificate, no token, a foreign address.
    #[error("{0}")]
    Unauthenticated(Arc<str>),
    /// It is known, and may not do this.
    #[error("{0}")]
    Forbidden(Arc<str>),
}

/// Decides for one listener. What it reads from files it keeps up to date by itself; asking never waits.
pub trait Authorizer: Send + Sync + fmt::Debug {
    /// Asked when a stream opens.
    ///
    /// # Errors
    /// The peer may read nothing at all.
    fn admit(&self, peer: &Peer) -> Result<(), Denied>;

    /// Asked at the first request for each collection, and again before anything of it is sent.
    ///
    /// # Errors
    /// The peer may not read `collection`.
    fn authorize(&self, peer: &Peer, collection: Collection) -> Result<(), Denied>;
}

/// Lets everybody read everything: `access: open`, and loopback where nothing is said.
#[derive(Debug, Clone, Copy)]
pub struct Anyone;

impl Authorizer for Anyone {
    fn admit(&self, _: &Peer) -> Result<(), Denied> {
        Ok(())
    }

    fn authorize(&self, _: &Peer, _: Collection) -> Result<(), Denied> {
        Ok(())
    }
}
