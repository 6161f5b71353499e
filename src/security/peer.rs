//! What is known of whoever is at the other end: taken from the connection and from the head of the stream, never from
//! what a client says of itself later.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A name that a verified certificate carries. Never made of one that was not verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A URI, usually `spiffe://domain/ns/namespace/sa/account`.
    Uri(Arc<str>),
    /// A DNS name, as the certificate has it.
    Dns(Arc<str>),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(name) | Self::Dns(name) => f.write_str(name),
        }
    }
}

/// A bearer token, as it came. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes what stood behind `Bearer`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret, for who compares it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Whoever opened a stream.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it dials from.
    pub address: SocketAddr,
    /// Names of its verified certificate, sorted; empty without one.
    pub identities: Arc<[Identity]>,
    /// The bearer token of this stream, if it sent one.
    pub token: Option<Token>,
}

impl Peer {
    /// Somebody of whom nothing but the address is known.
    #[must_use]
    pub fn anonymous(address: SocketAddr) -> Self {
        Self { address, identities: Arc::default(), token: None }
    }
}
