//! What stands in files: certificates, keys, secrets. Errors name the file and never repeat what stands in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::IdentityFiles;

/// Larger than any chain of certificates.
const LARGEST: u64 = 1 << 20;

/// Contents by path.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let words = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(LARGEST).read_to_end(&mut bytes)).map_err(words)?;
    Ok(bytes)
}

pub(super) fn certificates(path: &Path, files: &Files) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = files.get(path).map(Vec::as_slice).unwrap_or_default();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let certs = read.map_err(|e| format!("{} is no PEM file of certificates: {e}", path.display()))?;
    if certs.is_empty() {
        return Err(format!("{} holds no certificate: it must be PEM (BEGIN CERTIFICATE)", path.display()));
    }
    Ok(certs)
}

pub(super) fn chain_and_key(
    identity: &IdentityFiles,
    files: &Files,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let bytes = files.get(&identity.key).map(Vec::as_slice).unwrap_or_default();
    // The error would not repeat the key, but it is not worth the risk.
    let key = PrivateKeyDer::from_pem_slice(bytes);
    let key = key.map_err(|_| format!("{} holds no private key: it must be PEM", identity.key.display()))?;
    Ok((certificates(&identity.cert, files)?, key))
}
