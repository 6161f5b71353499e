//! Whom we believe on the other side of TLS, and under which name.
//!
//! Every connection is verified: there is no switch that turns this off, for whoever stood between could put any instance
//! into the mesh. What such switches are for has its own way here: a server's own certificate, self-signed or not, is
//! believed where it stands in the file itself; and where a server is reached by an address that its certificate does not
//! name, as Consul's `server.dc1.consul` often is, the name to look for can be said.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Believes the certificates `listed` and those that they, as authorities, have signed; without any, those that this
/// machine believes. `name`: the one that a certificate must have, where it is not the host that is dialled.
///
/// # Errors
/// There is no authority, or `name` is none; in words for the owner of the configuration.
pub(super) fn verifier(
    listed: Option<Vec<CertificateDer<'static>>>,
    name: Option<&str>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let inner: Arc<dyn ServerCertVerifier> = match listed {
        Some(listed) => listed_verifier(listed, provider)?,
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider).map_err(|e| {
            format!("this machine's own certificate authorities cannot be read ({e}): name the registry's in `tls.caFile`")
        })?),
    };
    let Some(name) = name else { return Ok(inner) };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| "`tls.serverName` is no name that a certificate could have".to_owned())?;
    Ok(Arc::new(Named { name, inner }))
}

fn listed_verifier(
    listed: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let unusable = |e: &dyn std::fmt::Display| format!("`tls.caFile` cannot be used: {e}");
    let mut roots = RootCertStore::empty();
    for cert in &listed {
        roots.add(cert.clone()).map_err(|e| unusable(&e))?;
    }
    let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(Arc::new(Listed { listed, signed: signed.map_err(|e| unusable(&e))? }))
}

/// Believes whoever shows a certificate of the list, as long as it is valid and has the name, and whom these have signed.
#[derive(Debug)]
struct Listed {
    listed: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl Listed {
    /// Whether a certificate of the list itself may be used under this name now.
    fn own(cert: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), rustls::Error> {
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
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.listed.iter().any(|cert| **cert == **end_entity) {
            return Self::own(end_entity, name, now).map(|()| ServerCertVerified::assertion());
        }
        self.signed.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
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
