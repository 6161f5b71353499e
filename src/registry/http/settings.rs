//! Where a registry is and how it is asked: plain data, as the configuration has it.
//!
//! Secrets are compared and used here and never shown: not by `Debug`, not in an address, not in an error.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use reqwest::Url;

pub use crate::security::secret::{Secret, SecretText};

/// Everything that a client of one registry needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Servers of one and the same cluster, in order of preference. Never empty.
    pub addresses: Vec<Address>,
    /// Who is trusted and who we are.
    pub tls: TlsFiles,
    /// What is shown to each of the addresses, and to no other host.
    pub credentials: Credentials,
    /// How long and how much.
    pub limits: Limits,
}

/// One server: scheme, host, port and a path under which its API lies.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    /// What stood before the `@`; goes before [`Settings::credentials`].
    basic: Option<(String, SecretText)>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL at all. The text is not repeated: it may hold a password.
    #[error("is no address ({0}): write for instance `http://127.0.0.1:8500`")]
    Unreadable(String),
    /// Neither http nor https.
    #[error("has the scheme `{0}`: write `http://` or `https://`")]
    Scheme(String),
    /// It says what only a request may.
    #[error("has a query or a fragment: write scheme, host, port and path only")]
    Extra,
}

impl Address {
    /// Reads `http://host:8500`, `https://user:password@host:8761/eureka`, or `host:8500`, which means http.
    ///
    /// # Errors
    /// It is none; the words follow the key's name and never repeat what was written.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let unreadable = |e: &dyn fmt::Display| AddressError::Unreadable(e.to_string());
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let mut url = Url::parse(&full).map_err(|e| unreadable(&e))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme(url.scheme().to_owned()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(AddressError::Extra);
        }
        let basic = (!url.username().is_empty() || url.password().is_some()).then(|| {
            (
                percent_decoded(url.username()),
                SecretText::new(percent_decoded(url.password().unwrap_or_default())),
            )
        });
        // They fail on addresses without a host only, and http has one.
        let stripped = url.set_username("").and_then(|()| url.set_password(None));
        stripped.map_err(|()| unreadable(&"it has no host"))?;
        Ok(Self { url, basic })
    }

    /// The address without what is secret in it.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// User and password that stood in it.
    #[must_use]
    pub(super) fn basic(&self) -> Option<(&str, &str)> {
        self.basic.as_ref().map(|(user, password)| (user.as_str(), password.reveal()))
    }

    /// The URL of `path` (`/v1/catalog/services`) under this address, with `query`. Each segment of `path` is taken as
    /// encoded already: see [`segment`].
    pub(super) fn join(&self, path: &str, query: &[(String, String)]) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `name` as one segment of a path: everything but letters, digits and `-._~` is percent-encoded.
#[must_use]
pub fn segment(name: &str) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    // These two would be taken for steps in the path, encoded or not.
    if matches!(name, "." | "..") { out.replace('.', "%252E") } else { out }
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let pair = (byte == b'%').then(|| (ahead.next(), ahead.next()));
        let hex =
            |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match pair.map(|(high, low)| (hex(high), hex(low))) {
            Some((Some(high), Some(low))) => {
                out.push(high * 16 + low);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Files for TLS, PEM each; read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// Who is trusted, and nobody else. Absent: whom the machine trusts.
    pub ca: Option<PathBuf>,
    /// Certificate chain and key that are shown to servers that ask for one.
    pub identity: Option<IdentityFiles>,
    /// The name that the servers' certificates must have. Absent: the host of the address.
    pub server_name: Option<String>,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What a registry is shown to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// `Authorization: Bearer …`.
    Bearer(Secret),
    /// A header of the registry's own.
    Header(HeaderName, Secret),
    /// `Authorization: Basic …`.
    Basic(String, Secret),
}

impl Credentials {
    /// Whether there is anything to show.
    #[must_use]
    pub fn are_some(&self) -> bool {
        *self != Self::None
    }
}

/// How long something may take, and how large an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the name to a connection.
    pub connect: Duration,
    /// Until the answer begins (a long poll's own wait comes on top), and between two pieces of it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_an_address_is_used_and_not_shown() {
        let address = Address::parse("https://me:p%40ss@eureka.example:8761/eureka/").unwrap();
        assert_eq!(address.basic(), Some(("me", "p@ss")));
        assert_eq!(
            format!("{address} {address:?}"),
            "https://eureka.example:8761/eureka https://eureka.example:8761/eureka"
        );
        for bad in
            ["ftp://u:secret@h", "http://u:secret@", "http://u:secret@h:99999/", "http://u:secret@h/?q", ""]
        {
            let words = Address::parse(bad).unwrap_err().to_string();
            assert!(!words.contains("secret"), "{words}");
        }
    }

    #[test]
    fn paths_are_joined_and_names_stay_one_segment() {
        let address = Address::parse("10.0.0.1:8500/proxy").unwrap();
        let path = format!("/v1/health/service/{}", segment("a/b c?ü"));
        let url = address.join(&path, &[("dc".into(), "a&b".into())]);
        assert_eq!(url.as_str(), "http://10.0.0.1:8500/proxy/v1/health/service/a%2Fb%20c%3F%C3%BC?dc=a%26b");
        let url = address.join(&format!("/v1/health/service/{}", segment("..")), &[]);
        assert_eq!(url.path(), "/proxy/v1/health/service/%252E%252E");
    }
}
