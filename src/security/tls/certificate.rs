//! What PEM files hold: chains with their keys, and authorities. Reads bytes; knows no clock but the one that says
//! whether a certificate has expired.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{provider, trust};
use crate::security::kept::{File, Held};
use crate::security::peer::Identity;

/// A certificate chain and its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The names of the leaf.
    pub(super) names: Arc<[Identity]>,
    /// When the first of the chain expires, in seconds since 1970.
    pub(super) expires: i64,
}

impl Held for Pair {
    fn expires(&self) -> Option<i64> {
        Some(self.expires)
    }

    fn worse_than(&self, old: &Self) -> Option<String> {
        let expired = |pair: &Self| pair.expires < now();
        (expired(self) && !expired(old)).then(|| "the new certificate has expired already".into())
    }
}

impl Pair {
    /// Reads a chain, leaf first, and the leaf's key.
    pub(super) fn read(certificate: &File<'_>, key: &File<'_>) -> Result<Self, String> {
        let chain = certificates(certificate)?;
        let at = certificate.path.display();
        let leaf = chain.first().ok_or_else(|| format!("{at}: holds no certificate"))?;
        let names = identities(leaf).map_err(|why| format!("{at}: {why}"))?;
        let ends = chain.iter().map(expiry).collect::<Result<Vec<_>, _>>();
        let ends = ends.map_err(|why| format!("{at}: {why}"))?;
        let private = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|_| {
            format!(
                "{}: holds no private key: it should have a block that begins with -----BEGIN PRIVATE KEY-----, not \
                 encrypted",
                key.path.display()
            )
        })?;
        let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => {
                format!(
                    "{} is not the key of the first certificate in {at}: replace both",
                    key.path.display()
                )
            }
            e => format!("{at} and {} cannot be used: {e}", key.path.display()),
        })?;
        let expires = ends.into_iter().min().unwrap_or_default();
        Ok(Self { certified: Arc::new(certified), names, expires })
    }

    /// Whether it is of no use any more.
    pub(super) fn has_expired(&self) -> bool {
        self.expires < now()
    }
}

/// Authorities that are believed.
#[derive(Debug)]
pub(super) struct Roots {
    /// As they stand in the file.
    pub(super) listed: Arc<[CertificateDer<'static>]>,
    pub(super) store: Arc<RootCertStore>,
    /// When the last of them expires: until then somebody can be believed.
    expires: i64,
}

impl Held for Roots {
    fn expires(&self) -> Option<i64> {
        Some(self.expires)
    }
}

impl Roots {
    /// Reads the certificates of authorities; at least one, and all of them right.
    pub(super) fn read(file: &File<'_>) -> Result<Self, String> {
        let listed = certificates(file)?;
        let wrong = |why: String| format!("{}: {why}", file.path.display());
        let ends = listed.iter().map(expiry).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let store = trust::store_of(&listed)
            .map_err(|e| wrong(format!("holds a certificate that cannot be read: {e}")))?;
        let expires = ends.into_iter().max().unwrap_or_default();
        Ok(Self { listed: listed.into(), store: Arc::new(store), expires })
    }
}

/// Every certificate of a PEM file; at least one.
fn certificates(file: &File<'_>) -> Result<Vec<CertificateDer<'static>>, String> {
    let at = file.path.display();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match read {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(format!(
            "{at}: holds no certificate: it should have a block that begins with -----BEGIN CERTIFICATE-----"
        )),
        Err(e) => Err(format!("{at}: is no PEM file: {e}")),
    }
}

/// The names of `leaf`, sorted. Says nothing about who vouches for them.
pub(super) fn identities(leaf: &CertificateDer<'_>) -> Result<Arc<[Identity]>, String> {
    let certificate =
        EndEntityCert::try_from(leaf).map_err(|e| format!("a certificate cannot be read: {e}"))?;
    let uris = certificate.valid_uri_names().map(|name| Identity::Uri(name.into()));
    let hosts = certificate.valid_dns_names().map(|name| Identity::Dns(name.into()));
    let mut names: Vec<Identity> = uris.chain(hosts).collect();
    names.sort();
    names.dedup();
    Ok(names.into())
}

/// When `certificate` expires, in seconds since 1970.
fn expiry(certificate: &CertificateDer<'_>) -> Result<i64, String> {
    let read = X509Certificate::from_der(certificate);
    let (_, read) = read.map_err(|e| format!("holds a certificate that cannot be read: {e}"))?;
    Ok(read.validity().not_after.timestamp())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
