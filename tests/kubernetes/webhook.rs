//! An admission webhook of a test's own, over TLS as an API server asks for it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use chandler::runtime::supervise::Owned;

use crate::support::Certificates;

/// One that refuses whatever it is asked about, always in the same way.
#[derive(Debug)]
pub(crate) struct Webhook {
    address: SocketAddr,
    certificates: Certificates,
    _server: Owned,
}

struct Tls {
    inner: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.inner.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

impl Webhook {
    /// `status`: how it refuses, as the API server has it.
    pub(crate) async fn start(status: Value) -> Self {
        let certificates = Certificates::create();
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let chain = CertificateDer::pem_file_iter(certificates.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates.path("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let listener = Tls { inner, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let router = axum::Router::new().fallback(refuse).with_state(status);
        let _server = Owned::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, certificates, _server }
    }

    /// Where it is asked, and whom to trust for that, as a configuration says it.
    pub(crate) fn client_config(&self) -> Value {
        let pem = std::fs::read(self.certificates.path("ca.pem")).unwrap();
        json!({"url": format!("https://{}/", self.address), "caBundle": base64(&pem)})
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, n| bits << 8 | usize::from(*three.get(n).unwrap_or(&0)));
        for n in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * n) & 63]);
            out.push(if n <= three.len() { digit } else { '=' });
        }
    }
    out
}

async fn refuse(State(status): State<Value>, axum::Json(review): axum::Json<Value>) -> axum::Json<Value> {
    let response = json!({"uid": review["request"]["uid"], "allowed": false, "status": status});
    axum::Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}
