//! Why a registry did not answer as it should; every text names the address and says what to do. Never holds a secret.

use std::time::Duration;

use http::StatusCode;

/// How much of an unexpected answer is repeated.
const QUOTED: usize = 200;

/// A request that failed, at the last address that was tried.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{address}: {fault}")]
pub struct HttpError {
    /// Server and path, without query.
    pub address: String,
    /// What went wrong there.
    pub fault: HttpFault,
}

/// What may go wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpFault {
    /// No connection.
    #[error("no connection ({0}): check the address, and that the server runs and may be reached from here")]
    Connect(String),
    /// No connection that can be trusted.
    #[error("TLS: {0}")]
    Tls(String),
    /// It hangs.
    #[error(
        "{what} took longer than {after:?}: the server hangs or is overloaded, or something between swallows packets"
    )]
    Slow {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// It spoke before it was asked, which a server does to who has too many connections.
    #[error("the server refuses further connections: allow it fewer in `connections`, or more at the server")]
    Refused,
    /// An answer that is no success.
    #[error("{status}{}{}", said(.text), advice(*.status))]
    Status {
        /// The code.
        status: StatusCode,
        /// The beginning of what the server said.
        text: String,
    },
    /// A web page in place of data.
    #[error("answers with a web page, not with data: is this the registry's API, or a login page or a proxy before it?{}", said(.0))]
    Html(String),
    /// An answer that makes no sense.
    #[error("answers with something unreadable ({0}): is this the registry's API?")]
    Unreadable(String),
    /// An answer that ended too early.
    #[error("the answer broke off ({0}): the server or something between closed the connection")]
    Truncated(String),
    /// An answer that does not end.
    #[error("the answer is larger than {0} bytes: allow more in `limits.body`, or narrow down what is read")]
    TooLarge(u64),
    /// Sent to and fro.
    #[error("redirects {0}: write the address to which it leads in the end")]
    Redirect(String),
    /// Our own files.
    #[error("{0}")]
    Credentials(String),
    /// The request itself cannot be made.
    #[error("the request could not be made ({0})")]
    Request(String),
}

impl HttpError {
    /// The status, if the server answered with one that is no success.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match &self.fault {
            HttpFault::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server said that we have no right to this.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// Whether the server has had enough of us.
    #[must_use]
    pub fn is_too_much(&self) -> bool {
        self.fault == HttpFault::Refused || self.status() == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// What the server said along with its status.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.fault {
            HttpFault::Status { text, .. } => text,
            _ => "",
        }
    }
}

impl HttpFault {
    /// Whether another server of the same cluster may well answer.
    pub(super) fn is_servers_own(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Refused | Self::Tls(_) | Self::Slow { .. } | Self::Truncated(_) => true,
            Self::Html(_) | Self::Redirect(_) | Self::Unreadable(_) => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::TooLarge(_) | Self::Credentials(_) | Self::Request(_) => false,
        }
    }
}

/// The beginning of `body`, in one line and harmless to show.
pub(super) fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..QUOTED * 4).unwrap_or(body)).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).take(QUOTED).collect();
    line
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => ": check the token or the password, and what it is allowed to read",
        404 => ": check the address and its path; is this the registry's API?",
        407 => ": the proxy wants credentials; they belong into the proxy's address in the environment",
        429 => ": the server limits requests or connections; ask fewer at once or raise its limit",
        500..=599 => ": the server has a problem of its own, its log says more",
        _ => "",
    }
}
