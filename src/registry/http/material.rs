//! Files for TLS and secrets: read before the first request, looked at again every few seconds, used as one set.
//!
//! A set that makes no sense never replaces one that does: it is named in the log once, and the last good one stays.
//! Connections that are open already stay as they are; new ones are made with the new set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::error::HttpFault;
use super::files::{Files, certificates, chain_and_key, read};
use super::settings::{Address, Credentials, Limits, Secret, Settings, TlsFiles};
use crate::security::tls::trust::{Verifier, server_name};

/// Whoever changes a file waits this long at most until it is used; a look costs a few small reads.
const LOOK: Duration = Duration::from_secs(5);
/// A dead connection under a long poll is noticed after about twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Connections that nobody uses at the moment count at the server like any other.
const MOST_IDLE: usize = 32;
/// Connections that nobody uses: Consul and Eureka close theirs later than this.
const IDLE: Duration = Duration::from_secs(45);

/// What the files say, ready for use.
pub(super) struct Material {
    tls: Arc<ClientConfig>,
    auth: Option<Header>,
    secrets: Vec<String>,
    connect: Duration,
    identity: bool,
    /// What it was made of.
    files: Files,
    lanes: Mutex<BTreeMap<u16, reqwest::Client>>,
}

/// A header as it goes out.
type Header = (HeaderName, HeaderValue);

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

/// Keeps the material of one client up to date.
#[derive(Debug)]
pub(super) struct Keeper {
    recipe: Recipe,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Material>>,
    looked: Option<Instant>,
    /// What was last said to be wrong.
    problem: Option<String>,
}

#[derive(Debug, Clone)]
struct Recipe {
    addresses: Vec<Address>,
    tls: TlsFiles,
    credentials: Credentials,
    limits: Limits,
}

impl Keeper {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { addresses, tls, credentials, limits } = settings.clone();
        Self { recipe: Recipe { addresses, tls, credentials, limits }, state: Mutex::default() }
    }

    /// What is to be used now.
    pub(super) async fn current(&self) -> Result<Arc<Material>, HttpFault> {
        let fresh = {
            let state = self.state();
            let recent = state.looked.is_some_and(|at| at.elapsed() < LOOK);
            state.current.clone().filter(|_| recent || !self.recipe.has_files())
        };
        match fresh {
            Some(material) => Ok(material),
            None => self.reread().await,
        }
    }

    /// The same after a look at the files.
    pub(super) async fn reread(&self) -> Result<Arc<Material>, HttpFault> {
        let (recipe, known) = (self.recipe.clone(), self.state().current.clone());
        // Reading blocks, and so does making a configuration.
        let made = tokio::task::spawn_blocking(move || recipe.make(known.as_ref())).await;
        let made = made.unwrap_or_else(|e| Err(format!("reading the files ended unexpectedly: {e}")));
        let mut state = self.state();
        state.looked = Some(Instant::now());
        match (made, state.current.clone()) {
            (Ok(material), _) => {
                if state.problem.take().is_some() {
                    tracing::info!("the certificates and secrets of a registry make sense again");
                }
                state.current = Some(Arc::clone(&material));
                Ok(material)
            }
            (Err(why), Some(last)) => {
                if state.problem.as_deref() != Some(&why) {
                    tracing::warn!("{why}; what was read before stays in use");
                    state.problem = Some(why);
                }
                Ok(last)
            }
            (Err(why), None) => Err(HttpFault::Credentials(why)),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recipe {
    fn has_files(&self) -> bool {
        self.paths().next().is_some()
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let secret = match &self.credentials {
            Credentials::Bearer(s) | Credentials::Header(_, s) | Credentials::Basic(_, s) => Some(s),
            Credentials::None => None,
        };
        let secret = secret.and_then(|s| if let Secret::File(path) = s { Some(path) } else { None });
        let identity = self.tls.identity.iter().flat_map(|i| [&i.cert, &i.key]);
        self.tls.ca.iter().chain(identity).chain(secret).map(PathBuf::as_path)
    }

    fn make(&self, known: Option<&Arc<Material>>) -> Result<Arc<Material>, String> {
        let files = self.paths().map(|p| Ok((p.to_owned(), read(p)?))).collect::<Result<Files, String>>()?;
        if let Some(known) = known.filter(|k| k.files == files) {
            return Ok(Arc::clone(known));
        }
        let (auth, secrets) = self.auth(&files)?;
        let of_addresses = self.addresses.iter().filter_map(Address::basic).map(|(_, p)| p.to_owned());
        let secrets = secrets.into_iter().chain(of_addresses).filter(|s| !s.is_empty()).collect();
        let (tls, connect) = (Arc::new(self.tls(&files)?), self.limits.connect);
        let identity = self.tls.identity.is_some();
        Ok(Arc::new(Material { tls, auth, secrets, connect, identity, files, lanes: Mutex::default() }))
    }

    /// What is shown, and what is secret in it.
    fn auth(&self, files: &Files) -> Result<(Option<Header>, Option<String>), String> {
        let (name, secret, user) = match &self.credentials {
            Credentials::None => return Ok((None, None)),
            Credentials::Bearer(secret) => (header::AUTHORIZATION, secret, None),
            Credentials::Header(name, secret) => (name.clone(), secret, None),
            Credentials::Basic(user, secret) => (header::AUTHORIZATION, secret, Some(user)),
        };
        let (text, place) = match secret {
            Secret::Text(text) => (text.reveal().to_owned(), "the secret in the configuration".to_owned()),
            Secret::File(path) => {
                let bytes = files.get(path).map(Vec::as_slice).unwrap_or_default();
                let text =
                    std::str::from_utf8(bytes).map_err(|_| format!("{} is no text", path.display()))?;
                (text.trim().to_owned(), path.display().to_string())
            }
        };
        if text.is_empty() {
            return Err(format!("{place} is empty: write the token or the password into it"));
        }
        let value = match (&self.credentials, user) {
            (_, Some(user)) => basic(user, &text),
            (Credentials::Bearer(_), _) => format!("Bearer {text}"),
            _ => text.clone(),
        };
        let illegal = |_| format!("{place} holds characters that no header may have, such as a line break");
        let mut value = HeaderValue::try_from(value).map_err(illegal)?;
        value.set_sensitive(true);
        Ok((Some((name, value)), Some(text)))
    }

    fn tls(&self, files: &Files) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS cannot be set up: {e}"))?;
        let listed = self.tls.ca.as_ref().map(|path| certificates(path, files)).transpose()?;
        let builder = if listed.is_some() || self.addresses.iter().any(Address::is_tls) {
            let verifier = self.verifier(listed)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            // A machine without authorities is no reason not to speak plain HTTP.
            builder.with_root_certificates(RootCertStore::empty())
        };
        let mut config = match &self.tls.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = chain_and_key(identity, files)?;
                let pair = || format!("{} and {}", identity.cert.display(), identity.key.display());
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| format!("{} do not fit together: {e}", pair()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Every connection is verified: whoever stood between could put any instance into the mesh.
    fn verifier(&self, listed: Option<Vec<CertificateDer<'static>>>) -> Result<Verifier, String> {
        let verifier = match listed {
            Some(listed) => {
                Verifier::listed(listed).map_err(|e| format!("`tls.caFile` cannot be used: {e}"))?
            }
            None => Verifier::system().map_err(|e| format!("{e}, in `tls.caFile`"))?,
        };
        let Some(name) = &self.tls.server_name else { return Ok(verifier) };
        Ok(verifier.under(server_name(name).map_err(|e| format!("`tls.serverName`: {e}"))?))
    }
}

impl Material {
    /// The connections of one lane.
    pub(super) fn client(&self, lane: u16) -> Result<reqwest::Client, HttpFault> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = lanes.get(&lane) {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder();
        if lane > 0 {
            // Known to speak it by now. Many requests at once would each make a connection to find out.
            builder = builder.http2_prior_knowledge();
        }
        let made = builder
            .tls_backend_preconfigured((*self.tls).clone())
            // Redirects are followed by `exchange`, which knows where credentials may go.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.connect)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .tcp_nodelay(true)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_keepalive_interval(KEEP_ALIVE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .user_agent(concat!("chandler/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = made.map_err(|e| HttpFault::Request(e.to_string()))?;
        lanes.insert(lane, client.clone());
        Ok(client)
    }

    /// Whether we show a certificate.
    pub(super) fn has_identity(&self) -> bool {
        self.identity
    }

    /// What is shown to `address`: what stands in it goes first.
    pub(super) fn auth(&self, address: &Address) -> Option<Header> {
        let Some((user, password)) = address.basic() else { return self.auth.clone() };
        let mut value = HeaderValue::try_from(basic(user, password)).ok()?;
        value.set_sensitive(true);
        Some((header::AUTHORIZATION, value))
    }

    /// The same fault, should a server have repeated a secret to us.
    pub(super) fn redacted(&self, fault: HttpFault) -> HttpFault {
        let clean =
            |text: String| self.secrets.iter().fold(text, |t, secret| t.replace(secret.as_str(), "***"));
        match fault {
            HttpFault::Status { status, text } => HttpFault::Status { status, text: clean(text) },
            HttpFault::Html(text) => HttpFault::Html(clean(text)),
            HttpFault::Redirect(text) => HttpFault::Redirect(clean(text)),
            other => other,
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
