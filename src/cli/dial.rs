//! How a command reaches a server: TLS, and what it shows of itself. Both `get` and `status` take these options.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hyper::header::HeaderValue;
use hyper::http::uri::Authority;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::cli::output::{Failure, complain};
use crate::security::tls::client::{ClientFiles, ClientTls, OwnFiles, Trust};

/// TLS and credentials.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct DialArgs {
    /// Speak TLS, and believe the authorities of this machine; implied by the other options of TLS
    #[arg(long)]
    tls: bool,
    /// Believe the certificates in this file (PEM), authorities or the server's own, and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure_skip_verify")]
    ca: Option<PathBuf>,
    /// Client certificate to show (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Name that the server's certificate must have, if it is not the host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Send the first bearer token in this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Believe any server: whoever is on the way can read and change everything
    #[arg(long)]
    insecure_skip_verify: bool,
}

/// [`DialArgs`], read.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    tls: Option<ClientTls>,
    bearer: Bearer,
}

impl DialArgs {
    /// Reads the files.
    pub(crate) fn read(&self) -> Result<Dial, Failure> {
        let tls = if self.speaks_tls() { Some(self.load()?) } else { None };
        let bearer = Bearer(self.token_file.as_deref().map(token).transpose()?);
        if bearer.0.is_some() && tls.is_none() {
            complain("Warning: the token is sent without TLS: whoever listens on the way can use it");
        }
        Ok(Dial { tls, bearer })
    }

    fn speaks_tls(&self) -> bool {
        let implied = [self.ca.is_some(), self.cert.is_some(), self.server_name.is_some()];
        self.tls || self.insecure_skip_verify || implied.contains(&true)
    }

    fn load(&self) -> Result<ClientTls, Failure> {
        let trust = match &self.ca {
            Some(file) => Trust::File(file.clone()),
            None if self.insecure_skip_verify => {
                complain(
                    "Warning: --insecure-skip-verify believes any server. Whoever is on the way can read and change everything",
                );
                Trust::Anybody
            }
            None => Trust::System,
        };
        let own = self.cert.clone().zip(self.key.clone());
        let own = own.map(|(certificate, key)| OwnFiles { certificate, key });
        let files = ClientFiles { trust, own, server_name: self.server_name.clone() };
        ClientTls::load(&files).map_err(|e| Failure::Wrong(e.to_string()))
    }
}

impl Dial {
    /// Connects to the gRPC server at `server`, `HOST:PORT`.
    pub(crate) async fn channel(
        &self,
        server: &str,
        keepalive: (Duration, Duration),
    ) -> Result<Result<Channel, tonic::transport::Error>, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{server}"))
            .map_err(|e| Failure::Wrong(format!("--server {server:?} is no HOST:PORT: {e}")))?
            .http2_keep_alive_interval(keepalive.0)
            .keep_alive_timeout(keepalive.1);
        Ok(match &self.tls {
            Some(tls) => tls.channel(&endpoint).await,
            None => endpoint.connect().await,
        })
    }

    /// What is sent with every request.
    pub(crate) fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    /// TLS, if it is spoken.
    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// What could be mended if a server is not reached.
    pub(crate) fn advice(&self) -> &'static str {
        match self.tls {
            Some(_) => {
                ". Whom to believe is said with --ca and --server-name, what to show with --cert, --key and --token-file"
            }
            None => ". If it speaks TLS, say so: --ca FILE",
        }
    }
}

/// Reads the option that names a server.
pub(crate) fn host_port(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let rest = rest.split('/').next().unwrap_or_default();
    let address: Option<Authority> = rest.parse().ok().filter(|a: &Authority| a.port_u16().is_some());
    match (scheme, address) {
        (None, Some(_)) if rest == text => Ok(text.to_owned()),
        (Some("https"), Some(_)) => Err(format!("write {rest}, and --tls or --ca FILE")),
        (_, Some(_)) => Err(format!("write {rest}")),
        (_, None) => Err("a host and a port, such as 127.0.0.1:9901".into()),
    }
}

/// A bearer token, or none. Never shown.
#[derive(Clone)]
pub(crate) struct Bearer(Option<HeaderValue>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(…)")
    }
}

impl Bearer {
    /// The value of the header `authorization`.
    pub(crate) fn value(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            let value: MetadataValue<Ascii> = value
                .as_bytes()
                .try_into()
                .map_err(|_| Status::invalid_argument("the token is no word of visible characters"))?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// The first token in `file`, as it is sent.
fn token(file: &Path) -> Result<HeaderValue, Failure> {
    let wrong = |why: String| Failure::Wrong(format!("--token-file {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let token = lines.next().ok_or_else(|| wrong("holds no token".into()))?;
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| wrong("a token is one word of visible characters".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_host_and_port_alone() {
        for right in ["localhost:9901", "10.0.0.1:9901", "[::1]:9901"] {
            assert_eq!(host_port(right), Ok(right.to_owned()));
        }
        let said = |wrong| host_port(wrong).unwrap_err();
        assert_eq!(said("http://a:1"), "write a:1");
        assert_eq!(said("a:1/"), "write a:1");
        assert_eq!(said("https://a:1/x"), "write a:1, and --tls or --ca FILE");
        for wrong in ["", "a", "a:", "a:x", "a:99999", "::1", "http://"] {
            assert_eq!(said(wrong), "a host and a port, such as 127.0.0.1:9901", "{wrong}");
        }
    }
}
