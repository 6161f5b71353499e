//! `zookeeper`: where it is, who we are there, and what lies in it.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::http::TlsFiles;
use super::{Kind, RegistryKind};
use crate::config::map::KindDefaults;
use crate::config::{secret, units};
use crate::convert::self_service::Conventions;
use crate::model::host::Host;
use crate::model::service::Protocol;
use crate::security::secret::Secret;
use crate::yaml::fields::Fields;
use crate::yaml::words::shown as shown_text;
use crate::yaml::{Fault, Node};

mod layout;

pub use self::layout::{DubboBy, LayoutConfig};

/// `zookeeper`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeperConfig {
    /// `host:port` each. Never empty.
    pub servers: Vec<String>,
    /// What every path is below; absent: the top.
    pub chroot: Option<String>,
    /// How long the servers keep our session while they hear nothing of us.
    pub session_timeout: Duration,
    /// Who we are.
    pub login: ZooKeeperLogin,
    /// Absent: plaintext.
    pub tls: Option<TlsFiles>,
    /// What lies in it. Never empty.
    pub layouts: Vec<LayoutConfig>,
}

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ZooKeeperLogin {
    /// Nobody.
    #[default]
    Nobody,
    /// ZooKeeper's scheme `digest`, which access lists name.
    Digest(String, Secret),
    /// SASL with DIGEST-MD5.
    Sasl(String, Secret),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auth {
    Digest,
    Sasl,
}

const AUTHS: [(&str, Auth); 2] = [("digest", Auth::Digest), ("sasl", Auth::Sasl)];

/// ZooKeeper's own port.
const PORT: u16 = 2181;
/// A server that is silent is left after two fifths of it; other clients take 30 s and longer.
const SESSION: Duration = Duration::from_secs(15);

/// Names of layouts differ in what they are made of, so that one template fits all: `{name}` is the application, the
/// interface or the service, `{domain}` is `dubbo` or `zookeeper`.
pub(super) const KIND: Kind = Kind {
    key: "zookeeper",
    defaults: KindDefaults {
        placeholders: &[
            "service",
            "name",
            "domain",
            "application",
            "interface",
            "group",
            "version",
            "namespace",
        ],
        hosts: &["{name}.{group?}.{version?}.{namespace?}.{domain}"],
        // Spring's. Dubbo's ports say theirs by their names, and Curator's services of others say that nobody knows.
        protocol: Protocol::Http,
        conventions: Conventions {
            protocol: &[],
            grpc_port: &["gRPC_port"],
            region: &["region"],
            zone: &["zone"],
        },
        ..KindDefaults::PLAIN
    },
    decode,
};

fn decode(mut f: Fields<'_, '_>, base: &Path) -> Option<RegistryKind> {
    let servers = servers(&mut f);
    let chroot = f.get("chroot", layout::path).filter(|path| path != "/");
    let session_timeout = f.or("sessionTimeout", SESSION, session_timeout);
    let login = login(&mut f, base);
    let tls = tls(&mut f, base);
    let layouts = layout::decode(&mut f);
    Some(RegistryKind::ZooKeeper(ZooKeeperConfig {
        servers: servers?,
        chroot,
        session_timeout,
        login,
        tls,
        layouts: layouts?,
    }))
}

fn servers(f: &mut Fields<'_, '_>) -> Option<Vec<String>> {
    let node = f.need("servers", Ok)?;
    let servers = f.findings().each(node, server)?;
    if node.list().is_some_and(<[Node]>::is_empty) {
        f.findings().push(node.fault("no server: write for instance `[zk1:2181, zk2:2181, zk3:2181]`"));
        return None;
    }
    Some(servers)
}

/// `host`, `host:port`, `[2001:db8::1]:port`.
fn server(node: &Node) -> Result<String, Fault> {
    let text = node.text()?;
    let wrong = |why: &str| {
        node.fault(format!("`{}` is no server ({why}): write for instance `zk1:2181`", shown_text(text)))
    };
    if text.contains(['/', ',']) {
        return Err(wrong("a list or a path: one server for each element, and the path in `chroot`"));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, port)) => {
            ip.parse::<Ipv6Addr>().map_err(|_| wrong("no IPv6 address between the brackets"))?;
            (format!("[{ip}]"), port.strip_prefix(':'))
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
            let address = host.parse::<std::net::IpAddr>().is_ok();
            if !address && Host::parse(host).map_or(true, |h| h.is_wildcard()) {
                return Err(wrong("no name and no address"));
            }
            (host.to_owned(), port)
        }
    };
    let port = port.map_or(Ok(PORT), str::parse).ok().filter(|p| *p != 0);
    Ok(format!("{host}:{}", port.ok_or_else(|| wrong("no port from 1 to 65535"))?))
}

/// Servers grant 2 to 20 of their ticks, which are 2 s each where nobody changed that.
fn session_timeout(node: &Node) -> Result<Duration, Fault> {
    let got = units::duration(node)?;
    if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&got) {
        return Ok(got);
    }
    Err(node.fault("from 1s to 10m: shorter is lost in every pause, longer notices nothing"))
}

fn login(f: &mut Fields<'_, '_>, base: &Path) -> ZooKeeperLogin {
    let auth = f.get("auth", |n| n.choice(&AUTHS));
    let user = f.get("username", |n| match n.text()? {
        "" => Err(n.fault("must not be empty: leave the key out instead")),
        text if text.contains(':') => Err(n.fault("a user's name has no colon")),
        text => Ok(text.to_owned()),
    });
    let password = secret::take(f, secret::PASSWORD, base);
    let written =
        [f.entry("username").is_some(), f.entry("password").is_some() || f.entry("passwordFile").is_some()];
    match (user, password) {
        (Some(user), Some(password)) => match auth.unwrap_or(Auth::Digest) {
            Auth::Digest => ZooKeeperLogin::Digest(user, password),
            Auth::Sasl => ZooKeeperLogin::Sasl(user, password),
        },
        // Nothing is written, or what is has a fault of its own.
        _ if written == [true, true] || (written == [false, false] && f.entry("auth").is_none()) => {
            ZooKeeperLogin::Nobody
        }
        _ => {
            let words = "`username` and `password` (or `passwordFile`) go together, with or without `auth`: something is missing";
            f.findings().push(Fault::new(f.at(), words));
            ZooKeeperLogin::Nobody
        }
    }
}

/// For good: there is a better way to what that switch is used for.
const UNVERIFIED: &str = "`insecureSkipVerify` does not exist here: whoever stood between could put any instance into the mesh. \
    If the servers' authority is unknown, write its certificate into `caFile`; if their certificates have other names than their \
    addresses, write these names into `servers`";

/// The client trusts nobody by itself, so whom to trust has to be said.
fn tls(f: &mut Fields<'_, '_>, base: &Path) -> Option<TlsFiles> {
    let mut f = f.section("tls");
    f.never("insecureSkipVerify", UNVERIFIED);
    let mut file = |key| f.get(key, |n| secret::path(n, base));
    let (ca, cert, key) = (file("caFile"), file("certFile"), file("keyFile"));
    if f.is_void() {
        return None;
    }
    if ca.is_none() {
        f.findings().push(Fault::new(f.at(), "`caFile` is missing: who may sign the servers' certificates"));
    }
    if cert.is_some() != key.is_some() {
        f.findings().push(Fault::new(f.at(), "`certFile` and `keyFile` go together: one of them is missing"));
    }
    // The client looks for no other name than that of the host which it dials.
    Some(TlsFiles { ca, identity: cert.zip(key), server_name: None })
}

impl ZooKeeperConfig {
    pub(super) fn shown(&self) -> Value {
        let path = |p: &PathBuf| json!(p.display().to_string());
        let mut out = Map::new();
        out.insert("servers".into(), json!(self.servers));
        out.extend(self.chroot.iter().map(|c| ("chroot".into(), json!(c))));
        out.insert("sessionTimeout".into(), json!(units::show_duration(self.session_timeout)));
        let login = match &self.login {
            ZooKeeperLogin::Nobody => None,
            ZooKeeperLogin::Digest(user, password) => Some(("digest", user, password)),
            ZooKeeperLogin::Sasl(user, password) => Some(("sasl", user, password)),
        };
        if let Some((auth, user, password)) = login {
            out.extend([("auth".into(), json!(auth)), ("username".into(), json!(user))]);
            out.extend([secret::shown(secret::PASSWORD, password)]);
        }
        if let Some(tls) = &self.tls {
            let mut files = Map::new();
            files.extend(tls.ca.as_ref().map(|p| ("caFile".into(), path(p))));
            if let Some((cert, key)) = &tls.identity {
                files.extend([("certFile".into(), path(cert)), ("keyFile".into(), path(key))]);
            }
            out.insert("tls".into(), files.into());
        }
        out.insert("layouts".into(), self.layouts.iter().map(LayoutConfig::shown).collect());
        out.into()
    }
}

#[cfg(test)]
mod tests;
