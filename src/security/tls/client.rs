//! TLS where we dial: whom we believe, and what we show of ourselves.
//!
//! The files are compared at each connection, so that a renewed certificate is used from the next one on; while they are
//! wrong the last good ones are. Makes connections; when to make them, and what is said there, is the caller's matter.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::certificate::{Pair, Roots};
use super::trust::{Verifier, server_name};
use super::{TlsError, provider, speaks};
use crate::security::kept::{Kept, Look};

/// Whom we believe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// The authorities of this machine.
    #[default]
    System,
    /// The certificates in this file and whom they, as authorities, have signed; nobody else.
    File(PathBuf),
    /// Anybody: whoever sits on the way can read and change everything.
    Anybody,
}

/// A certificate of ours and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFiles {
    /// The chain, leaf first, as PEM.
    pub certificate: PathBuf,
    /// The leaf's key, as PEM.
    pub key: PathBuf,
}

/// What TLS needs where we dial.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientFiles {
    /// Whom we believe.
    pub trust: Trust,
    /// What we show where a client certificate is asked for; none: we show nothing.
    pub own: Option<OwnFiles>,
    /// The name that the server's certificate must have; none: the host that is dialled.
    pub server_name: Option<String>,
}

/// TLS where we dial. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    believed: Believed,
    own: Option<Arc<Kept<Pair>>>,
    server_name: Option<ServerName<'static>>,
}

/// [`Trust`], read.
#[derive(Clone)]
enum Believed {
    /// Those that stay the same.
    Always(Verifier),
    /// Those in a file.
    File(Arc<Kept<Roots>>),
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files. Waits for the disk.
    ///
    /// # Errors
    /// One of them is missing or wrong, or the name is none.
    pub fn load(files: &ClientFiles) -> Result<Self, TlsError> {
        let server_name = files.server_name.as_deref().map(server_name).transpose()?;
        let believed = match &files.trust {
            Trust::File(path) => Believed::File(needed(roots_of(path.clone()))?),
            Trust::System => Believed::Always(Verifier::system()?),
            Trust::Anybody => Believed::Always(Verifier::anybody()),
        };
        let own = files.own.clone().map(|own| needed(pair_of(own.certificate, own.key))).transpose()?;
        Ok(Self { believed, own, server_name })
    }

    /// Connects `endpoint`, whose address is `https://HOST:PORT`, for gRPC; its own time-out for connecting holds for
    /// the handshake as well. Connections after the first one use the files as they are then.
    ///
    /// # Errors
    /// There is no connection, or the server is not to be believed; [`std::error::Error::source`] says which.
    pub async fn channel(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        let tls = self.clone();
        let connector = tower::service_fn(move |uri: Uri| {
            let tls = tls.clone();
            async move {
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let port = uri.port_u16().unwrap_or(443);
                let socket = TcpStream::connect((host.as_str(), port)).await?;
                socket.set_nodelay(true)?;
                tls.connect(socket, &host, &[speaks::H2]).await.map(TokioIo::new)
            }
        });
        endpoint.connect_with_connector(connector).await
    }

    /// Shakes hands over `socket`, which was opened to `host`. `protocols`: what we would speak then, best first.
    ///
    /// # Errors
    /// The server does not speak TLS, is not to be believed or does not believe us.
    pub async fn connect(
        &self,
        socket: TcpStream,
        host: &str,
        protocols: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        let tls = self.clone();
        let config = tokio::task::spawn_blocking(move || tls.config()).await.map_err(io::Error::other)?;
        let mut config = config.map_err(io::Error::other)?;
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    /// What the files say now. Waits for the disk.
    fn config(&self) -> Result<ClientConfig, TlsError> {
        let verifier = match &self.believed {
            Believed::Always(verifier) => verifier.clone(),
            Believed::File(kept) => {
                kept.look();
                let roots = kept.get().ok_or_else(|| TlsError::File(kept.problem().unwrap_or_default()))?;
                Verifier::listed_in(Arc::clone(&roots.store), Arc::clone(&roots.listed))?
            }
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(speaks::VERSIONS)
            .map_err(|e| TlsError::Unusable(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let own = self.own.as_ref().and_then(|own| {
            own.look();
            own.get()
        });
        Ok(match own {
            Some(pair) => {
                let certified = Arc::clone(&pair.certified);
                config.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
            }
            None => config.with_no_client_auth(),
        })
    }
}

/// The chain and the key of these files.
pub(super) fn pair_of(certificate: PathBuf, key: PathBuf) -> Kept<Pair> {
    Kept::of("the certificate with its key", vec![certificate, key], |files| match files {
        [certificate, key] => Pair::read(certificate, key),
        _ => Err("a certificate and a key are two files".into()),
    })
}

/// The authorities of this file.
pub(super) fn roots_of(file: PathBuf) -> Kept<Roots> {
    Kept::of("the file of certificate authorities", vec![file], |files| match files {
        [file] => Roots::read(file),
        _ => Err("authorities are one file".into()),
    })
}

fn needed<T: crate::security::kept::Held>(kept: Kept<T>) -> Result<Arc<Kept<T>>, TlsError> {
    match kept.problem() {
        Some(why) => Err(TlsError::File(why)),
        None => Ok(Arc::new(kept)),
    }
}
