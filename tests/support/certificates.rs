//! A certificate authority of a test's own, and what it has signed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;

use super::pilot::ClientTls;
use super::process::scratch;

/// The name in the server's certificate; Pilot is told to ask for it.
pub const SERVER_NAME: &str = "mcp.example.internal";

/// Who the client is.
pub const CLIENT_IDENTITY: &str = "spiffe://cluster.local/ns/istio-system/sa/istio-pilot";

/// The files of an authority, a server and a client.
pub struct Certificates {
    files: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificates({})", self.files.path().display())
    }
}

impl Certificates {
    /// `ca.pem`, and `server` and `client` with `.pem` and `.key`.
    pub fn create() -> Self {
        let files = scratch("certificates");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).expect("it signs itself");
        write(&files.path().join("ca.pem"), &ca.pem());
        let all = Self { files, issuer: Issuer::new(params, key) };
        let dns = SanType::DnsName(SERVER_NAME.try_into().expect("a name"));
        all.sign("server", vec![dns, SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))]);
        all.sign("client", vec![SanType::URI(CLIENT_IDENTITY.try_into().expect("a URI"))]);
        all
    }

    /// A further pair.
    pub fn sign(&self, name: &str, names: Vec<SanType>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        write(&self.path(&format!("{name}.pem")), &certificate.pem());
        write(&self.path(&format!("{name}.key")), &key.serialize_pem());
    }

    /// One of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The same as an argument.
    pub fn argument(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The `tls` and `access` of a listener that lets this client in, and nobody else.
    pub fn listener(&self) -> String {
        format!(
            "tls: {{certFile: {}, keyFile: {}, clientCaFile: {}, clientCertificates: required}}, \
             access: [{{from: {{spiffe: '{CLIENT_IDENTITY}'}}, collections: ['*']}}]",
            self.argument("server.pem"),
            self.argument("server.key"),
            self.argument("ca.pem")
        )
    }

    /// How a Pilot dials with it.
    pub fn client(&self) -> ClientTls {
        ClientTls {
            certificate: self.path("client.pem"),
            key: self.path("client.key"),
            ca: self.path("ca.pem"),
            name: SERVER_NAME.to_owned(),
        }
    }
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file");
}
