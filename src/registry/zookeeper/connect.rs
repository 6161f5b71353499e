//! How a session comes to be: servers, who we are, whom we trust. Files and secrets are read anew for each session.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zookeeper_client as zk;

use crate::security::secret::Secret;

/// How ZooKeeper is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectSettings {
    /// `host:port` each; names are resolved whenever one is dialled.
    pub servers: Vec<String>,
    /// What every path is below; absent: the top.
    pub chroot: Option<String>,
    /// How long the servers keep the session while they hear nothing of us, within their own limits.
    pub session_timeout: Duration,
    /// Who we are.
    pub login: Login,
    /// Absent: plaintext.
    pub tls: Option<Tls>,
}

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Login {
    /// Nobody.
    #[default]
    Nobody,
    /// User and password in ZooKeeper's `digest` scheme, which access lists name.
    Digest(String, Secret),
    /// User and password by SASL (DIGEST-MD5), which servers may insist on.
    Sasl(String, Secret),
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who is trusted, and nobody else.
    pub ca: PathBuf,
    /// Our certificate chain and its key, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why there is no session. Secrets are not in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// A file that cannot be read.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        why: std::io::Error,
    },
    /// Certificates that make no sense.
    #[error("`tls`: {0}")]
    Tls(zk::Error),
    /// Nobody takes us.
    #[error("no session with {servers}: {why}; check `servers`, and whether they listen there{hint}")]
    Refused {
        /// Whom we dialled.
        servers: String,
        /// The last reason.
        why: zk::Error,
        /// What else may be wrong.
        hint: &'static str,
    },
}

async fn read(path: &Path) -> Result<String, ConnectError> {
    tokio::fs::read_to_string(path).await.map_err(|why| ConnectError::File { path: path.into(), why })
}

async fn reveal(secret: &Secret) -> Result<String, ConnectError> {
    match secret {
        Secret::Text(text) => Ok(text.reveal().to_owned()),
        Secret::File(path) => Ok(read(path).await?.trim().to_owned()),
    }
}

/// Connects.
pub(crate) async fn connect(settings: &ConnectSettings) -> Result<zk::Client, ConnectError> {
    let mut connector =
        zk::Client::connector().with_session_timeout(settings.session_timeout).with_readonly(true);
    match &settings.login {
        Login::Nobody => {}
        Login::Digest(user, password) => {
            let login = format!("{user}:{}", reveal(password).await?);
            connector = connector.with_auth("digest", login.as_bytes());
        }
        Login::Sasl(user, password) => {
            let options = zk::SaslOptions::digest_md5(user.clone(), reveal(password).await?);
            connector = connector.with_sasl(options);
        }
    }
    let servers = settings.servers.join(",");
    let cluster = format!("{servers}{}", settings.chroot.as_deref().unwrap_or_default());
    let (connected, hint) = match &settings.tls {
        Some(files) => {
            let options = tls(files).await?;
            (connector.with_tls(options).secure_connect(&cluster).await, ", with TLS that `caFile` trusts")
        }
        None => (connector.connect(&cluster).await, ""),
    };
    connected.map_err(|why| ConnectError::Refused { servers, why, hint })
}

async fn tls(files: &Tls) -> Result<zk::TlsOptions, ConnectError> {
    let mut options =
        zk::TlsOptions::new().with_pem_ca(&read(&files.ca).await?).map_err(ConnectError::Tls)?;
    if let Some((cert, key)) = &files.identity {
        options =
            options.with_pem_identity(&read(cert).await?, &read(key).await?).map_err(ConnectError::Tls)?;
    }
    Ok(options)
}
