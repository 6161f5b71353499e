//! TLS where we listen: our certificate, and whose certificates we believe.
//!
//! All three files are kept up to date by themselves (`kept`): the pair as one, the authorities apart, so that trouble
//! with one leaves the other current. What changes holds for handshakes to come. Key files are read and nothing else.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::{Pair, Roots, identities};
use super::client::{pair_of, roots_of};
use super::handshake::HandshakeError;
use super::{TlsError, provider, speaks};
use crate::security::farewell;
use crate::security::kept::{Held, Keeper, Kept};
use crate::security::peer::Identity;

/// Whether a client must have a certificate. One that it shows must be right either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// It may come without: rules decide what it may read then.
    #[default]
    Optional,
    /// Without one there is no connection.
    Required,
}

/// Client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The authorities that vouch for them, as PEM.
    pub ca: PathBuf,
    /// Whether there must be one.
    pub demand: Demand,
}

/// What TLS needs where we listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The chain, leaf first, as PEM.
    pub certificate: PathBuf,
    /// The leaf's key, as PEM.
    pub key: PathBuf,
    /// Whether clients are asked for theirs; none: they are not.
    pub clients: Option<ClientCertificates>,
}

/// What people are told of a listener's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The names of the certificate in force.
    pub names: Arc<[Identity]>,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
    /// Whether clients are asked for certificates.
    pub clients: Option<Demand>,
}

/// TLS of one listener, always with the newest files that are right.
pub struct ServerTls {
    protocol: &'static [u8],
    pair: Arc<Kept<Pair>>,
    clients: Option<(Arc<Kept<Roots>>, Demand)>,
    made: Mutex<Option<Made>>,
}

/// A configuration and what it was made of.
struct Made {
    pair: Arc<Pair>,
    roots: Option<Arc<Roots>>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("pair", &self.pair).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files, which `keeper` looks after from then on. `protocol`: what is spoken inside, in ALPN's words.
    /// Waits for the disk.
    ///
    /// # Errors
    /// One of them is missing or wrong.
    pub fn load(
        files: &ServerFiles,
        protocol: &'static [u8],
        keeper: &Keeper,
    ) -> Result<Arc<Self>, TlsError> {
        let pair = needed(pair_of(files.certificate.clone(), files.key.clone()), keeper)?;
        if pair.get().is_some_and(|pair| pair.has_expired()) {
            let file = files.certificate.display();
            tracing::error!(%file, "the certificate has expired, clients that look will not come: renew it");
        }
        let clients = match &files.clients {
            Some(clients) => Some((needed(roots_of(clients.ca.clone()), keeper)?, clients.demand)),
            None => None,
        };
        let tls = Self { protocol, pair, clients, made: Mutex::default() };
        tls.config()?;
        Ok(Arc::new(tls))
    }

    /// What people are told.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let pair = self.pair.get();
        Summary {
            names: pair.as_ref().map(|p| Arc::clone(&p.names)).unwrap_or_default(),
            expires: pair.map(|p| p.expires).unwrap_or_default(),
            clients: self.clients.as_ref().map(|(_, demand)| *demand),
        }
    }

    /// Shakes hands. Returns the stream and the names of the client's certificate: verified, or there are none.
    /// Takes as long as the client likes.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Arc<[Identity]>), HandshakeError> {
        let config = self.config().map_err(|e| HandshakeError::Ours(e.to_string()))?;
        let stream = match TlsAcceptor::from(config).accept(socket).into_fallible().await {
            Ok(stream) => stream,
            Err((error, socket)) => {
                // The alert that says why has been sent; it is to be read, too.
                farewell::close(socket, &[]).await;
                return Err(of_io(&error));
            }
        };
        // Only where authorities are known are certificates asked for, and then an unverified one ends the handshake.
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = match shown {
            Some(leaf) if self.clients.is_some() => {
                identities(leaf).map_err(HandshakeError::BadCertificate)?
            }
            _ => Arc::default(),
        };
        Ok((stream, names))
    }

    /// The configuration of the files that are in force.
    fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let pair = self.pair.get().ok_or_else(|| missing(&self.pair))?;
        let roots = match &self.clients {
            Some((kept, _)) => Some(kept.get().ok_or_else(|| missing(kept))?),
            None => None,
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.is_of(&pair, roots.as_ref())) {
            return Ok(Arc::clone(&made.config));
        }
        let config = Arc::new(self.make(&pair, roots.as_deref())?);
        *made = Some(Made { pair, roots, config: Arc::clone(&config) });
        Ok(config)
    }

    fn make(&self, pair: &Pair, roots: Option<&Roots>) -> Result<ServerConfig, TlsError> {
        let unusable = |e: &dyn fmt::Display| TlsError::Unusable(format!("TLS cannot be set up: {e}"));
        let verifier = match (roots, &self.clients) {
            (Some(roots), Some((_, demand))) => verifier(roots, *demand).map_err(|e| unusable(&e))?,
            _ => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(speaks::VERSIONS)
            .map_err(|e| unusable(&e))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&pair.certified))));
        config.alpn_protocols = vec![self.protocol.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl Made {
    fn is_of(&self, pair: &Arc<Pair>, roots: Option<&Arc<Roots>>) -> bool {
        let same = match (&self.roots, roots) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, None) => true,
            _ => false,
        };
        same && Arc::ptr_eq(&self.pair, pair)
    }
}

fn verifier(
    roots: &Roots,
    demand: Demand,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::server::VerifierBuilderError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.store), provider());
    match demand {
        Demand::Required => builder.build(),
        Demand::Optional => builder.allow_unauthenticated().build(),
    }
}

fn needed<T: Held>(kept: Kept<T>, keeper: &Keeper) -> Result<Arc<Kept<T>>, TlsError> {
    match kept.problem() {
        Some(why) => Err(TlsError::File(why)),
        None => Ok(keeper.keep(kept)),
    }
}

fn missing<T: Held>(kept: &Kept<T>) -> TlsError {
    TlsError::File(kept.problem().unwrap_or_default())
}

fn of_io(error: &io::Error) -> HandshakeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => HandshakeError::of(tls),
        None => HandshakeError::Gone,
    }
}
