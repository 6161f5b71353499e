//! Certificates made for one test.

use std::path::{Path, PathBuf};

use chandler::security::tls::client::{ClientFiles, ClientTls, OwnFiles, Trust};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate with `names` (URIs contain `://`), good until the first of January of `until`.
    pub(crate) fn issue(&self, names: &[&str], until: i32) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names
            .iter()
            .map(|name| {
                let text = Ia5String::try_from(*name).unwrap();
                if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) }
            })
            .collect();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

impl Issued {
    /// Writes `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> OwnFiles {
        let certificate = write(dir, &format!("{name}.crt"), &self.certificate);
        OwnFiles { certificate, key: write(dir, &format!("{name}.key"), &self.key) }
    }
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A client that believes `ca` and shows `own`.
pub(crate) fn client(ca: &Path, own: Option<OwnFiles>) -> ClientTls {
    ClientTls::load(&ClientFiles { trust: Trust::File(ca.into()), own, server_name: None }).unwrap()
}

/// Far enough away.
pub(crate) const GOOD: i32 = 2099;
/// Long ago.
pub(crate) const EXPIRED: i32 = 2001;
