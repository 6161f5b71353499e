//! TLS at both ends: what is read from files, who is believed, and what a handshake proves.
//!
//! TLS 1.2 and 1.3 with rustls's own suites, and nothing to turn that down with. Nothing here listens or decides who may
//! read what. Sessions are never resumed: a stream lasts for days, and a resumed session would skip looking at the
//! client's certificate.

mod certificate;
pub mod client;
pub mod handshake;
pub mod server;
pub mod trust;
pub mod words;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Makes aws-lc-rs the provider of whoever asks for none by name (HTTP clients do). Called first by `app` and `cli`;
/// calling it again changes nothing.
pub fn install_provider() {
    // Refused only where there is one already.
    let _there = aws_lc_rs::default_provider().install_default();
}

/// Why TLS cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or wrong; names it and says what to do.
    #[error("{0}")]
    File(String),
    /// What the files hold does not make a TLS configuration.
    #[error("{0}")]
    Unusable(String),
}

/// What is spoken.
pub mod speaks {
    use rustls::SupportedProtocolVersion;
    use rustls::version::{TLS12, TLS13};

    /// gRPC, in ALPN's words.
    pub const H2: &[u8] = b"h2";
    /// The admin API, in ALPN's words.
    pub const HTTP1: &[u8] = b"http/1.1";
    /// Pilots of 1.1 to 1.3 know no 1.3; nothing that is in use needs less than 1.2.
    pub(super) const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
}

/// The provider of everything here, installed or not.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
