//! Whom we believe on the other side where we dial, and under which name: for control planes, registries and our own
//! commands alike.
//!
//! A certificate that stands in the list of those that are believed is believed itself, self-signed or not, as long as it
//! is valid and has the name; so nobody has to turn verification off for the sake of a server that signed its own. Where a
//! server is reached by an address that its certificate does not name, as Consul's `server.dc1.consul` often is, the name
//! to look for can be said. Opens no connection and reads no configured file.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{TlsError, provider};

/// Verifies whoever answers where we dial. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Verifier {
    whom: Whom,
    /// The name that a certificate must have, where it is not the host that is dialled.
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug, Clone)]
enum Whom {
    /// Whom these authorities have signed.
    Signed(Arc<WebPkiServerVerifier>),
    /// The same, and who shows a certificate of the list.
    Listed(Arc<[CertificateDer<'static>]>, Arc<WebPkiServerVerifier>),
    /// Everybody; the handshake itself must be right nevertheless.
    Anybody,
}

impl Verifier {
    /// Believes whom this machine believes. Waits for the disk.
    ///
    /// # Errors
    /// This machine believes nobody.
    pub fn system() -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        // What this machine has and rustls cannot read is not believed, and that is all.
        let _ignored = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(TlsError::File(
                "this machine has no certificate authorities: name a file of them".into(),
            ));
        }
        Ok(Self::believing(Whom::Signed(signed_by(Arc::new(store))?)))
    }

    /// Believes the certificates `listed`, and those that they, as authorities, have signed.
    ///
    /// # Errors
    /// There is none, or one that cannot be an authority.
    pub fn listed(listed: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        let store = store_of(&listed).map_err(|e| TlsError::Unusable(e.to_string()))?;
        Self::listed_in(Arc::new(store), listed.into())
    }

    /// The same, where `listed` stands in `store` already.
    pub(super) fn listed_in(
        store: Arc<RootCertStore>,
        listed: Arc<[CertificateDer<'static>]>,
    ) -> Result<Self, TlsError> {
        Ok(Self::believing(Whom::Listed(listed, signed_by(store)?)))
    }

    /// Believes everybody: whoever sits on the way can read and change everything.
    pub(super) fn anybody() -> Self {
        Self::believing(Whom::Anybody)
    }

    /// Looks for `name`, whatever host is dialled.
    #[must_use]
    pub fn under(self, name: ServerName<'static>) -> Self {
        Self { name: Some(name), ..self }
    }

    fn believing(whom: Whom) -> Self {
        Self { whom, name: None, provider: provider() }
    }
}

/// A name that a certificate can have.
///
/// # Errors
/// It is none.
pub fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        TlsError::Unusable(format!(
            "{name:?} is no name that a certificate could have: a host name or an IP address"
        ))
    })
}

/// `certificates` as authorities.
pub(super) fn store_of(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, rustls::Error> {
    let mut store = RootCertStore::empty();
    certificates.iter().try_for_each(|certificate| store.add(certificate.clone()))?;
    Ok(store)
}

fn signed_by(store: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(store, provider()).build();
    verifier.map_err(|e| TlsError::Unusable(e.to_string()))
}

/// Whether a certificate of the list itself may be used under this name now.
fn may_be_used(cert: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    verify_server_name(&ParsedCertificate::try_from(cert)?, name)?;
    let wrong = |e: CertificateError| Err(rustls::Error::InvalidCertificate(e));
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(cert) else {
        return wrong(CertificateError::BadEncoding);
    };
    let (validity, now) = (parsed.validity(), i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if now < validity.not_before.timestamp() {
        return wrong(CertificateError::NotValidYet);
    }
    if now > validity.not_after.timestamp() {
        return wrong(CertificateError::Expired);
    }
    Ok(())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.name.as_ref().unwrap_or(dialled);
        let signed = match &self.whom {
            Whom::Anybody => return Ok(ServerCertVerified::assertion()),
            Whom::Listed(listed, _) if listed.iter().any(|cert| **cert == **end_entity) => {
                return may_be_used(end_entity, name, now).map(|()| ServerCertVerified::assertion());
            }
            Whom::Listed(_, signed) | Whom::Signed(signed) => signed,
        };
        signed.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
