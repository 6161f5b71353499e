//! What registries that speak HTTP have in common: where they are, who is trusted, and what we show to be let in.
//!
//! Plain data, as it was written: nobody dials here. The keys stand in the kind's own section, beside its others.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::ServerName;
use serde_json::{Map, Value, json};

use crate::config::{secret, units};
use crate::security::secret::Secret;
use crate::yaml::fields::Fields;
use crate::yaml::{Fault, Node};

/// How one registry is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// Who is trusted and who we are.
    pub tls: TlsFiles,
    /// What is shown to be let in.
    pub credentials: Credentials,
    /// How long and how much.
    pub limits: Limits,
}

/// How long something may take, and how large an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the name to a connection.
    pub connect: Duration,
    /// Until an answer begins (a long poll's own wait comes on top), and between two pieces of it.
    pub read: Duration,
    /// An answer, from its first byte to its last.
    pub whole: Duration,
    /// Bytes of an answer, unpacked.
    pub body: u64,
}

impl Default for Limits {
    /// A registry that answers at all does so in seconds; a large one needs tens of megabytes.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            whole: Duration::from_secs(120),
            body: 64 << 20,
        }
    }
}

/// Files for TLS, PEM each. Paths are resolved already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// Who is trusted, and nobody else. Absent: whom the machine trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate chain and its key, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the servers' certificates must have. Absent: the host of the address.
    pub server_name: Option<String>,
}

/// What is shown to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A token; each kind of registry knows in which header.
    Token(Secret),
    /// A user and a password.
    Basic(String, Secret),
}

/// One server: `http://host:8500`, `https://user:password@host:8761/eureka`, or `host:8500`, which means http.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress(String);

impl ServerAddress {
    /// As it was written, with the password if there is one.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Without user and password.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("http", &self.0));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(f, "{scheme}://{host}{path}")
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a server's address. Faults do not repeat it: there may be a password in it.
///
/// # Errors
/// It is none.
pub fn address(node: &Node) -> Result<ServerAddress, Fault> {
    let wrong = |why: &str| {
        node.fault(format!("no address of a server ({why}): write for instance `http://127.0.0.1:8500`"))
    };
    let text = node.text()?;
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: http::Uri = full.parse().map_err(|_| wrong("not readable"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(wrong("the scheme is neither http nor https")),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("no host"));
    }
    let after_host = uri.authority().map_or("", |a| a.as_str().rsplit([']', '@']).next().unwrap_or_default());
    if after_host.contains(':') && uri.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong("the port is none"));
    }
    if uri.query().is_some() || full.contains('#') {
        return Err(wrong("a query or a fragment"));
    }
    Ok(ServerAddress(text.to_owned()))
}

impl Connection {
    /// Reads `tls`, `limits`, `token` and `username` with their twins from a kind's section.
    pub fn decode(f: &mut Fields<'_, '_>, base: &Path) -> Self {
        let tls = tls(f.section("tls"), base);
        let token = secret::take(f, secret::TOKEN, base);
        let username = f.get("username", |n| match n.text()? {
            "" => Err(n.fault("must not be empty: leave the key out instead")),
            text => Ok(text.to_owned()),
        });
        let password = secret::take(f, secret::PASSWORD, base);
        let fault = |words: &str| f.findings().push(Fault::new(f.at(), words));
        let credentials = match (token, username, password) {
            (None, None, None) => Credentials::None,
            (Some(token), None, None) => Credentials::Token(token),
            (None, Some(user), Some(password)) => Credentials::Basic(user, password),
            (Some(_), _, _) => {
                fault("a token and a user with a password: write one of them");
                Credentials::None
            }
            (None, _, _) => {
                fault("`username` and `password` (or `passwordFile`) go together: one of them is missing");
                Credentials::None
            }
        };
        Self { tls, credentials, limits: limits(f.section("limits")) }
    }

    /// Puts the keys as they are written into a kind's section; secrets are not among them, their files are.
    pub fn show_into(&self, section: &mut Map<String, Value>) {
        let path = |p: &Path| json!(p.display().to_string());
        let mut tls = Map::new();
        tls.extend(self.tls.ca.as_deref().map(|p| ("caFile".into(), path(p))));
        if let Some((cert, key)) = &self.tls.identity {
            tls.extend([("certFile".into(), path(cert)), ("keyFile".into(), path(key))]);
        }
        tls.extend(self.tls.server_name.as_ref().map(|name| ("serverName".into(), json!(name))));
        if !tls.is_empty() {
            section.insert("tls".into(), tls.into());
        }
        section.insert("limits".into(), self.limits.shown());
        match &self.credentials {
            Credentials::None => {}
            Credentials::Token(token) => section.extend([secret::shown(secret::TOKEN, token)]),
            Credentials::Basic(user, password) => {
                section.extend([("username".into(), json!(user)), secret::shown(secret::PASSWORD, password)]);
            }
        }
    }
}

impl Limits {
    fn shown(&self) -> Value {
        json!({
            "connect": units::show_duration(self.connect),
            "read": units::show_duration(self.read),
            "whole": units::show_duration(self.whole),
            "body": units::show_size(self.body),
        })
    }
}

fn limits(mut f: Fields<'_, '_>) -> Limits {
    let d = Limits::default();
    Limits {
        connect: f.or("connect", d.connect, units::positive_duration),
        read: f.or("read", d.read, units::positive_duration),
        whole: f.or("whole", d.whole, units::positive_duration),
        body: f.or("body", d.body, |n| units::size(n, 1 << 16, 4 << 30)),
    }
}

/// For good: there are better ways to what that switch is used for.
const UNVERIFIED: &str = "`insecureSkipVerify` does not exist here: whoever stood between could put any instance into the mesh. \
    If the server's authority is unknown, write its certificate, self-signed or not, into `caFile`; if its certificate has \
    another name than its address, write that into `serverName`";

fn tls(mut f: Fields<'_, '_>, base: &Path) -> TlsFiles {
    f.never("insecureSkipVerify", UNVERIFIED);
    let mut file = |key| f.get(key, |n| secret::path(n, base));
    let (ca, cert, key) = (file("caFile"), file("certFile"), file("keyFile"));
    if cert.is_some() != key.is_some() {
        f.findings().push(Fault::new(f.at(), "`certFile` and `keyFile` go together: one of them is missing"));
    }
    let server_name = f.get("serverName", server_name);
    TlsFiles { ca, identity: cert.zip(key), server_name }
}

fn server_name(node: &Node) -> Result<String, Fault> {
    let wanted = || node.expected("a host name or an IP address, as a certificate has it");
    let text = node.text().map_err(|_| wanted())?;
    ServerName::try_from(text).map(|_| text.to_owned()).map_err(|_| wanted())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::secret::SecretText;
    use crate::yaml::fields::Findings;
    use crate::yaml::parse;

    fn decode(text: &str) -> Result<Connection, Vec<String>> {
        let (parsed, findings) = (parse(text, 1 << 20), Findings::default());
        let mut f = Fields::of(&parsed.documents[0], &findings);
        let connection = Connection::decode(&mut f, Path::new("/etc/chandler"));
        drop(f);
        let faults: Vec<String> = findings.into_faults().iter().map(ToString::to_string).collect();
        if faults.is_empty() { Ok(connection) } else { Err(faults) }
    }

    fn shown(connection: &Connection) -> String {
        let mut section = Map::new();
        connection.show_into(&mut section);
        assert!(section.remove("limits").is_some());
        Value::from(section).to_string()
    }

    #[test]
    fn a_secret_is_written_or_named_and_never_shown() {
        let text =
            "{token: s3cret, tls: {caFile: ca.pem, certFile: /c.pem, keyFile: k.pem, serverName: a.b}}";
        let got = decode(text).unwrap();
        assert_eq!(got.credentials, Credentials::Token(Secret::Text(SecretText::new("s3cret"))));
        let tls = r#""tls":{"caFile":"/etc/chandler/ca.pem","certFile":"/c.pem","keyFile":"/etc/chandler/k.pem","serverName":"a.b"}"#;
        assert_eq!(shown(&got), format!(r#"{{{tls},"token":"***"}}"#));
        let got = decode("{username: me, passwordFile: pw}").unwrap();
        assert_eq!(got.credentials, Credentials::Basic("me".into(), Secret::File("/etc/chandler/pw".into())));
        assert_eq!(shown(&got), r#"{"passwordFile":"/etc/chandler/pw","username":"me"}"#);
        assert_eq!(decode("{}").unwrap(), Connection::default());
    }

    #[test]
    fn what_does_not_go_together_is_refused_without_a_word_of_the_secret() {
        for (text, words) in [
            ("{token: s3cret, tokenFile: t}", "`token` and `tokenFile` say the same"),
            ("{token: s3cret, username: u, password: s3cret}", "write one of them"),
            ("{username: u}", "go together"),
            ("{password: s3cret}", "go together"),
            ("{token: [s3cret]}", "expected text"),
            (
                "{token: 's3cret${CHANDLER_NO_SUCH_VARIABLE}'}",
                "the environment has no `CHANDLER_NO_SUCH_VARIABLE`",
            ),
            ("{tls: {certFile: c}}", "`certFile` and `keyFile` go together"),
            ("{tls: {serverName: 'a b'}}", "a host name or an IP address"),
            ("{tls: {insecureSkipVerify: true}}", "write its certificate, self-signed or not, into `caFile`"),
        ] {
            let faults = decode(text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(words), "{text}: {faults:?}");
            assert!(!faults[0].contains("s3cret"), "{faults:?}");
        }
    }

    #[test]
    fn an_address_shows_no_password() {
        let read = |text: &str| {
            address(parse(&format!("- {text}"), 100).documents[0].list().unwrap().first().unwrap())
        };
        for (text, want) in [
            ("https://me:pw@h:8761/eureka", "https://h:8761/eureka"),
            ("10.0.0.1:8500", "http://10.0.0.1:8500"),
            ("'http://[::1]:8500'", "http://[::1]:8500"),
        ] {
            let address = read(text).unwrap();
            assert_eq!(address.to_string(), want);
            assert_eq!(format!("{address:?}"), want);
        }
        for bad in
            ["ftp://u:pw@h", "'http://'", "http://u:pw@h/?q", "'http://u:p w@h'", "http://u:pw@h:99999", "''"]
        {
            let fault = read(bad).unwrap_err().to_string();
            assert!(!fault.contains("pw"), "{fault}");
        }
    }
}
