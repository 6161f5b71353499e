//! Whom we believe on the other side of TLS, and under which name.
//!
//! Every connection is verified: there is no switch that turns this off. Where a server is reached by an address that its
//! certificate does not name, as Consul's `server.dc1.consul` often is, the name to look for can be said.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Believes certificates that the authorities in `roots` have signed; without any, those that this machine believes.
/// `name`: the one that a certificate must have, where it is not the host that is dialled.
///
/// # Errors
/// There is no authority, or `name` is none; in words for the owner of the configuration.
pub(super) fn verifier(
    roots: Option<RootCertStore>,
    name: Option<&str>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let inner: Arc<dyn ServerCertVerifier> = match roots {
        Some(roots) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| format!("`tls.caFile` cannot be used: {e}"))?,
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider).map_err(|e| {
            format!("this machine's own certificate authorities cannot be read ({e}): name the registry's in `tls.caFile`")
        })?),
    };
    let Some(name) = name else { return Ok(inner) };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| "`tls.serverName` is no name that a certificate could have".to_owned())?;
    Ok(Arc::new(Named { name, inner }))
}

/// Looks for one name, whatever host was dialled.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    inner: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
