//! A client for registries that speak HTTP: what every one of them needs, and nothing that only one does.
//!
//! One question, one round: the addresses are asked in turn, beginning with the one that answered last, until one
//! answers. Time-outs on everything, a limit on what is read, certificates and secrets from files that are read again
//! when they change, proxies from the environment (`HTTPS_PROXY`, `NO_PROXY`), gzip, HTTP/2 over TLS.
//! It refuses to try again by itself (that is the supervisor's), to follow a redirect in circles or away from TLS, to
//! show credentials to a host that is not configured, and to repeat a secret in an error.
//!
//! A [`Client`] outlives the lives of its registry: the factory owns it, lives clone it.
//!
//! | module | what |
//! | --- | --- |
//! | `settings` | where and how, as the configuration has it |
//! | `material` | certificates and secrets, read again when their files change |
//! | `files` | what stands in these |
//! | `exchange` | one request at one address |
//! | `error` | what may go wrong, with words |

mod error;
mod exchange;
mod files;
mod material;
pub mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

pub use self::error::{HttpError, HttpFault};
use self::material::{Keeper, Material};
pub use self::settings::{Settings, segment};

/// A question.
#[derive(Debug, Clone, Default)]
pub struct Get {
    /// The path under the address, encoded: put names into it with [`segment`].
    pub path: String,
    /// What follows the `?`, not encoded.
    pub query: Vec<(String, String)>,
    /// What is accepted; absent: JSON.
    pub accept: Option<&'static str>,
    /// Further headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// How much longer than usual the answer may be in coming: a long poll's wait.
    pub patience: Duration,
    /// Which pool of connections carries it. One HTTP/2 connection carries some hundred requests at a time, the rest
    /// wait: whoever keeps more open spreads them. Only lane 0 speaks whatever the server does; the others are for
    /// servers that have answered there over HTTP/2.
    pub lane: u16,
}

impl Get {
    /// A question without further words.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// The same with `key=value`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query.push((key.to_owned(), value.into()));
        self
    }
}

/// An answer with a status of success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 2xx.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of it, unpacked.
    pub body: Bytes,
    /// Server and path, without query: for messages.
    pub address: Arc<str>,
    /// Which of the configured addresses answered.
    pub server: usize,
    /// Whether the connection carries many requests at a time (HTTP/2).
    pub multiplexed: bool,
}

impl Answer {
    /// The first value of a header, if it is a text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// It is none, or another one than expected.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|e| self.unreadable(&e.to_string()))
    }

    /// The error for a body that makes no sense, for this reason.
    #[must_use]
    pub fn unreadable(&self, why: &str) -> HttpError {
        let text = format!("{why}; it begins with `{}`", error::quoted(&self.body));
        HttpError { address: self.address.to_string(), fault: HttpFault::Unreadable(text) }
    }
}

/// Asks the servers of one registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    keeper: Keeper,
    /// The address that answered last: asked first.
    preferred: AtomicUsize,
}

impl Client {
    /// A client that asks nothing yet and opens no file.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let keeper = Keeper::new(&settings);
        Self { inner: Arc::new(Inner { settings, keeper, preferred: AtomicUsize::new(0) }) }
    }

    /// What it was made of.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Whether every address is asked over TLS, hence over HTTP/2 where the server speaks it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.inner.settings.addresses.iter().all(settings::Address::is_tls)
    }

    /// Asks every address in turn until one answers; only what may be better elsewhere goes on to the next.
    ///
    /// # Errors
    /// The last address's reason.
    pub async fn get(&self, get: &Get) -> Result<Answer, HttpError> {
        let first = self.inner.preferred.load(Ordering::Relaxed);
        let count = self.inner.settings.addresses.len().max(1);
        let mut tried = 0;
        loop {
            let server = (first + tried) % count;
            match self.get_from(server, get).await {
                Ok(answer) => {
                    self.inner.preferred.store(server, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(e) if tried + 1 < count && e.fault.is_servers_own() => {
                    tracing::debug!("{e}; the next address is asked");
                    tried += 1;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Asks one address: the `server`th of the configured ones, counted round. Credentials that are refused are read
    /// again, and if they have changed the question is asked once more.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn get_from(&self, server: usize, get: &Get) -> Result<Answer, HttpError> {
        let inner = &self.inner;
        let server = server % inner.settings.addresses.len().max(1);
        let Some(address) = inner.settings.addresses.get(server) else {
            let fault = HttpFault::Request("no address is configured".into());
            return Err(HttpError { address: String::new(), fault });
        };
        let at = |fault| HttpError { address: format!("{address}{}", get.path), fault };
        let limits = &inner.settings.limits;
        let ask = async |material: &Material| {
            let asked = exchange::Exchange { address, server, limits, material, get }.run().await;
            asked.map_err(|fault| at(material.redacted(fault)))
        };
        let material = inner.keeper.current().await.map_err(at)?;
        let asked = ask(&material).await;
        if !asked.as_ref().is_err_and(|e| e.is_denied() || matches!(e.fault, HttpFault::Tls(_))) {
            return asked;
        }
        let fresh = inner.keeper.reread().await.map_err(at)?;
        if Arc::ptr_eq(&fresh, &material) { asked } else { ask(&fresh).await }
    }
}

#[cfg(test)]
mod tests;
